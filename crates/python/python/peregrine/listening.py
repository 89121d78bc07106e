"""Sockets that listen."""

import os
import socket
import stat


def listen(options):
    """Returns the socket of the options. It is not inherited by programs that a worker starts."""
    if options.fd is not None:
        return socket.socket(fileno=os.dup(options.fd))
    if options.uds is not None:
        return _unix(options.uds, options.backlog)
    family, _, _, _, address = socket.getaddrinfo(
        options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(options.backlog)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot bind {options.host}:{options.port}: {error.strerror}") from None
    return listener


def _unix(path, backlog):
    """A Unix socket that only this user may connect to. A socket file that no process listens on is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode) and not _is_alive(path):
            os.unlink(path)
    except FileNotFoundError:
        pass
    # The file has its mode from the beginning.
    before = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot bind {path}: {error.strerror}") from None
    finally:
        os.umask(before)
    listener.listen(backlog)
    return listener


def _is_alive(path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except BlockingIOError:
            return True
        except OSError:
            return False
    return True


def url(listener, options):
    """The address of a listener, to be printed."""
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    scheme = "https" if options.ssl_certfile else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def name_and_port(listener):
    """SERVER_NAME and SERVER_PORT."""
    if listener.family == socket.AF_UNIX:
        return "localhost", "80"
    host, port = listener.getsockname()[:2]
    return ("localhost" if host in ("0.0.0.0", "::") else host), str(port)
