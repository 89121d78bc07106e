"""Settings of a server, with their defaults. The README has the table of limits."""

import dataclasses
import typing

from . import keys


@dataclasses.dataclass
class Options:
    """Settings of a server. The command line has an option for each; durations are seconds."""

    interface: str = "native"
    """`native`, `wsgi` or `asgi`."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 is any free port."""
    uds: typing.Optional[str] = None
    """The path of a Unix socket, instead of host and port."""
    fd: typing.Optional[int] = None
    """A socket that listens already, instead of host and port."""
    backlog: int = 4096
    """Connections that wait to be accepted."""
    workers: int = 1
    """Processes. They share the socket."""
    threads: int = 1
    """1: each request runs on the event loop of its process, one at a time. More: a pool of so many threads, for code
    that blocks."""
    runtime_threads: int = 0
    """ASGI: threads of each process that serve connections; 0 is 1. The other interfaces have one, which has Python's lock."""
    root_path: str = ""
    """The path of the application: `SCRIPT_NAME` of WSGI, `root_path` of ASGI."""
    static_paths: typing.List[typing.Tuple[str, str]] = dataclasses.field(default_factory=list)
    """Pairs of a path and a folder, whose files are served without Python."""
    forwarded_allow_ips: typing.List[str] = dataclasses.field(default_factory=list)
    """Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    ssl_certfile: typing.Optional[str] = None
    """A file in PEM with the certificate and those above it: the server speaks HTTPS only, by TLS 1.3. Workers read it when they start."""
    ssl_keyfile: typing.Optional[str] = None
    """A file in PEM with the key of the certificate; without it the key is in `ssl_certfile`."""
    ssl_keyfile_password: typing.Optional[str] = None
    """The password of the key, which needs the package `cryptography`."""
    ssl_ca_certs: typing.Optional[str] = None
    """A file in PEM with the authorities of client certificates."""
    ssl_cert_reqs: typing.Optional[int] = None
    """`ssl.CERT_NONE`, `ssl.CERT_OPTIONAL` or `ssl.CERT_REQUIRED` of clients; the last two need `ssl_ca_certs`, and are verified with it."""
    access_log: bool = False
    log_level: str = "info"
    lifespan: str = "auto"
    """Lifespan of ASGI: `auto`, `on` or `off`."""
    loop: str = "auto"
    """Loop of ASGI: `auto` (uvloop if it is installed), `asyncio` or `uvloop`."""

    limit_connections: int = 65536
    limit_concurrency: int = 1024
    """Requests that wait for a thread or for the application; 503 above."""
    limit_max_body: int = 16 << 20
    """Bytes of a request body that is kept in memory; 413 above."""
    limit_max_requests: typing.Optional[int] = None
    """Requests after which a worker is replaced."""
    limit_max_requests_jitter: int = 0
    """At most so many more, at random for each worker."""
    workers_max_rss: typing.Optional[int] = None
    """MiB of memory in RAM above which a worker is replaced, looked at each second; of the command line only, and on Linux."""
    timeout_keep_alive: float = 75
    timeout_graceful_shutdown: float = 10
    timeout_response: float = 300
    """Without a byte of a response."""
    ws_max_size: int = 1 << 20
    ws_ping_interval: float = 60
    ws_ping_timeout: float = 20
    ws_any_origin: bool = False
    """Pages of any site may open WebSockets; else only those of the same host."""

    def __post_init__(self):
        numbers = ("port", "runtime_threads", "workers", "threads", "limit_concurrency", "limit_max_body", "limit_connections",
                   "limit_max_requests_jitter")
        for name in numbers:
            least = 1 if name in ("workers", "threads") else 0
            if getattr(self, name) < least:
                raise ValueError(f"{name} is less than {least}")
        if self.limit_max_requests is not None and self.limit_max_requests < 1:
            raise ValueError("limit_max_requests is less than 1")
        if self.workers_max_rss is not None and self.workers_max_rss < 1:
            raise ValueError("workers_max_rss is less than 1")
        if self.interface not in ("native", "wsgi", "asgi"):
            raise ValueError(f"no interface {self.interface!r}")
        for name in ("ssl_keyfile", "ssl_keyfile_password", "ssl_ca_certs", "ssl_cert_reqs"):
            if getattr(self, name) and not self.ssl_certfile:
                raise ValueError(f"{name} without ssl_certfile")
        if self.ssl_cert_reqs not in (None, 0, 1, 2):
            raise ValueError("ssl_cert_reqs is not 0, 1 or 2: ssl.CERT_NONE, CERT_OPTIONAL or CERT_REQUIRED")
        if self.ssl_ca_certs and self.ssl_cert_reqs is None:
            # A program that thinks that clients are verified must not be wrong.
            raise ValueError("ssl_ca_certs without ssl_cert_reqs: 1 asks for a certificate of clients, 2 requires one")
        if self.ssl_cert_reqs and not self.ssl_ca_certs:
            raise ValueError("ssl_cert_reqs without ssl_ca_certs")
        if self.ssl_certfile and self.uds is not None:
            raise ValueError("a Unix socket has no TLS")
        for path in (self.ssl_certfile, self.ssl_keyfile, self.ssl_ca_certs):
            if path:
                # A file that is missing is an error at once, and not one of each worker.
                with open(path, "rb"):
                    pass
        keys.decrypted(self)
        if self.root_path and not self.root_path.startswith("/"):
            raise ValueError("root_path does not begin with a slash")
        self.root_path = self.root_path.rstrip("/")
        if self.interface != "asgi" or self.runtime_threads == 0:
            self.runtime_threads = 1
