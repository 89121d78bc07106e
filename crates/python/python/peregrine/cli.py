"""The program `peregrine`."""

import argparse
import importlib
import os
import signal
import sys

from . import listening, log
from .options import Options
from .supervisor import Supervisor


def load(name, is_factory=False):
    """Imports `module:attribute`; without an attribute it is `app` or `application`."""
    module_name, _, path = name.partition(":")
    module = importlib.import_module(module_name)
    if path:
        found = module
        for part in path.split("."):
            found = getattr(found, part)
    else:
        found = getattr(module, "app", None) or getattr(module, "application")
    return found() if is_factory else found


def _pair(text):
    path, separator, folder = text.partition("=")
    if not separator or not path.startswith("/"):
        raise argparse.ArgumentTypeError("PATH=FOLDER, such as /static=public")
    return path, folder


def parser():
    default, default_runtime = Options(), 0
    parser = argparse.ArgumentParser(prog="peregrine", description="Serves Python applications.")
    add = parser.add_argument
    add("app", metavar="MODULE:NAME", help="the application; of classes and modules `a.b` is possible, too")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--interface", choices=("native", "wsgi", "asgi"), default=default.interface)
    for name in ("wsgi", "asgi"):
        group.add_argument(f"--{name}", dest="interface", action="store_const", const=name)
    add("--factory", action="store_true", help="NAME is a function that makes the application")
    add("--app-dir", default="", metavar="FOLDER", help="where modules are looked for first (the current folder)")
    add("--host", default=default.host)
    add("--port", type=int, default=default.port, help="0 is any free port")
    add("--uds", metavar="PATH", help="a Unix socket, instead of host and port")
    add("--fd", type=int, help="a socket that listens already, instead of host and port")
    add("--backlog", type=int, default=default.backlog)
    add("--workers", type=int, default=default.workers, help="processes")
    add("--threads", "--blocking-threads", type=int, default=default.threads,
        help="threads of each process for code that blocks; 1: requests run on the event loop")
    add("--runtime-threads", type=int, default=default_runtime, help="ASGI: threads of each process that serve connections (1)")
    add("--root-path", default=default.root_path)
    add("--static", dest="static_paths", type=_pair, action="append", default=[], metavar="PATH=FOLDER",
        help="files that are served without Python")
    add("--forwarded-allow-ips", type=lambda text: text.split(","), default=[], metavar="NETWORKS",
        help="proxies whose X-Forwarded-For and X-Forwarded-Proto are believed")
    add("--ssl-certfile", "--ssl-certificate", metavar="FILE", help="the certificate, in PEM: HTTPS by TLS 1.3")
    add("--ssl-keyfile", metavar="FILE", help="its key, in PEM; else it is in the file of the certificate")
    add("--ssl-keyfile-password", metavar="PASSWORD", help="of the key; needs the package cryptography")
    add("--ssl-ca-certs", "--ssl-ca", metavar="FILE", help="the authorities of client certificates, in PEM")
    add("--ssl-cert-reqs", type=int, choices=(0, 1, 2), help="certificates of clients: 0 none, 1 asked for, 2 required")
    add("--ssl-client-verify", dest="ssl_cert_reqs", action="store_const", const=2, help="the same as --ssl-cert-reqs 2")
    add("--access-log", action=argparse.BooleanOptionalAction, default=default.access_log)
    add("--log-level", default=default.log_level, choices=("critical", "error", "warning", "info", "debug"))
    add("--lifespan", default=default.lifespan, choices=("auto", "on", "off"))
    add("--loop", default=default.loop, choices=("auto", "asyncio", "uvloop"))
    add("--reload", action="store_true", help="start again when a Python file changes; for development")
    add("--reload-dir", action="append", default=[], metavar="FOLDER")
    for name in ("limit_connections", "limit_concurrency", "limit_max_body", "ws_max_size"):
        add("--" + name.replace("_", "-"), type=int, default=getattr(default, name), metavar="N")
    add("--limit-max-requests", "--max-requests", type=int, metavar="N", help="requests after which a worker is replaced")
    add("--limit-max-requests-jitter", "--max-requests-jitter", type=int, default=0, metavar="N")
    add("--workers-max-rss", type=int, metavar="MIB", help="memory above which a worker is replaced (Linux)")
    for name in ("timeout_keep_alive", "timeout_graceful_shutdown", "timeout_response", "ws_ping_interval", "ws_ping_timeout"):
        add("--" + name.replace("_", "-"), type=float, default=getattr(default, name), metavar="SECONDS")
    add("--ws-any-origin", action="store_true", help="pages of any site may open WebSockets")
    return parser


def main(arguments=None):
    # Until the first process handles it, Ctrl-C ends the program at once. Python raises an exception, which an import may ignore.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    args = vars(parser().parse_args(arguments))
    name, is_factory = args.pop("app"), args.pop("factory")
    is_reloading, folders = args.pop("reload"), args.pop("reload_dir")
    sys.path.insert(0, os.path.abspath(args.pop("app_dir")))
    try:
        options = Options(**args)
        log.set_up(options.log_level)
        listener = listening.listen(options)
    except (OSError, ValueError) as error:
        sys.exit(f"peregrine: {error}")
    folders = (folders or [os.curdir]) if is_reloading else ()
    supervisor = Supervisor(options, listener, lambda: load(name, is_factory), reload_dirs=folders)
    sys.exit(supervisor.run())
