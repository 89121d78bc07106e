"""A server in this process, and `serve`."""

import atexit
import dataclasses
import os
import random
import signal
import socket
import sys
import threading

from . import keys, listening, log
from ._peregrine import FileWrapper, Server
from .options import Options


def _environ(options, listener):
    """What is the same in the WSGI environ of all requests."""
    name, port = listening.name_and_port(listener)
    return {
        "SERVER_NAME": name,
        "SERVER_PORT": port,
        "SERVER_SOFTWARE": "peregrine",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": options.threads > 1,
        "wsgi.multiprocess": options.workers > 1,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
    }


class Running:
    """A server that runs on threads of this process. `start` makes it."""

    def __init__(self, app, options, listener, *, websocket=None, body_plan=None, before_wait=None):
        self.url = listening.url(listener, options)
        self._path = options.uds
        self.address = listener.getsockname()
        settings = dataclasses.asdict(options)
        settings["ssl_key"] = keys.decrypted(options)
        settings["ssl_cert_reqs"] = options.ssl_cert_reqs or 0
        if options.limit_max_requests is not None:
            settings["limit_max_requests"] += random.randint(0, options.limit_max_requests_jitter)
        if body_plan is not None and options.threads == 1:
            # Functions that read bodies need threads.
            settings["threads"] = 8
        more = {"websocket": websocket, "body_plan": body_plan, "before_wait": before_wait}
        if options.interface == "wsgi":
            more["environ"] = _environ(options, listener)
        self._loop = None
        if options.interface == "asgi":
            from .asgi import LoopThread

            settings["threads"] = 1
            self._loop = LoopThread(app, options, listener)
            self._loop.start()
            more["bridge"] = self._loop.bridge
        family = "unix" if listener.family == socket.AF_UNIX else "tcp"
        self.notices, notify = socket.socketpair()
        try:
            self._server = Server(
                options.interface, app, [(family, listener.detach())], notify.detach(), settings, more
            )
        except BaseException:
            self.notices.close()
            if self._loop:
                self._loop.stop()
            raise
        if self._loop:
            self._loop.on_lost = self._server.stop_now
            if self._loop.is_lost:
                self._server.stop_now()
        self.hub = self._server.hub
        self._joined = None
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._server.run_pool_thread, name=f"peregrine-{n}", daemon=True)
            for n in range(self._server.pool_threads)
        ]
        for thread in self._threads:
            thread.start()
        # A server must not outlive the interpreter.
        atexit.register(self.close)

    def stop(self):
        """Begins to stop and returns at once. Requests that have arrived get their responses."""
        self._server.stop()

    def stop_now(self):
        """Stops at once. Open connections are aborted."""
        self._server.stop_now()

    def join(self):
        """Waits until the server has ended. Returns how many connections ended properly and how many were aborted."""
        with self._lock:
            if self._joined is None:
                self._joined = self._server.join()
                if self._loop:
                    self._loop.stop()
                atexit.unregister(self.close)
                self.notices.close()
                if self._path:
                    try:
                        os.unlink(self._path)
                    except OSError:
                        pass
            return self._joined

    def close(self):
        """Stops, and waits."""
        self.stop()
        return self.join()

    def is_lost(self):
        """Whether the application has ended the event loop that it runs on."""
        return self._loop is not None and self._loop.is_lost

    def is_stuck(self):
        """Whether threads of the pool still run a request. Call it after `join`."""
        threads = self._threads + ([self._loop.thread] if self._loop else [])
        for thread in threads:
            thread.join(0.1)
        return any(thread.is_alive() for thread in threads)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def start(app, *, websocket=None, body_plan=None, before_wait=None, **options):
    """Starts a server in this process and returns it as `Running`. `Options` has the options."""
    options = Options(**options)
    if options.workers > 1:
        raise ValueError("start is for one process: use serve")
    return Running(app, options, listening.listen(options), websocket=websocket, body_plan=body_plan, before_wait=before_wait)


def serve(app, address=None, *, websocket=None, body_plan=None, before_wait=None, **options):
    """Serves until SIGINT or SIGTERM. Call it on the main thread.

    `app` is `handle(req, res)`; with `interface="wsgi"` a WSGI application. `address` is such as `"127.0.0.1:8000"`,
    which is the default. `websocket` is an object with the hooks of WebSockets, `body_plan` a function that decides how
    bodies are read, `before_wait` a function that is called when a thread of the server has handled all that has come. `Options` has the other options. With `workers` above 1 the processes are forks of this one.
    """
    from .supervisor import Supervisor
    from .worker import GRACE, run_until_signal

    if address is not None:
        host, _, port = address.rpartition(":")
        options.update(host=host.strip("[]") or "127.0.0.1", port=int(port))
    options = Options(**options)
    log.set_up(options.log_level)
    listener = listening.listen(options)
    if options.workers > 1:
        supervisor = Supervisor(options, listener, lambda: app, websocket=websocket, body_plan=body_plan, before_wait=before_wait)
        supervisor.run()
        return
    running = run_until_signal(
        lambda: Running(app, options, listener, websocket=websocket, body_plan=body_plan, before_wait=before_wait),
        (signal.SIGINT, signal.SIGTERM),
        on_start=lambda running: log.logger.info("listening on %s", running.url),
        most=options.timeout_graceful_shutdown + GRACE,
    )
    if running.is_lost():
        raise RuntimeError("the event loop of the application has ended")
