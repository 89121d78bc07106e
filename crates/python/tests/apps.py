"""Applications of the tests of processes."""

import os
import sys
import threading
import time


def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/exit":
        os._exit(7)
    if path == "/fork":
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    if path == "/child":
        import subprocess

        subprocess.run([sys.executable, "-c", "pass"], check=True)
    if path == "/slow":
        time.sleep(0.5)
    if path == "/stuck":
        print("the application is stuck", flush=True)
        threading.Event().wait()
    if path == "/stream":
        start_response("200 OK", [])
        return (b"x" * 1000 for _ in iter(lambda: time.sleep(0.001), 1))
    if path == "/pieces":
        start_response("200 OK", [])
        return (b"x" * 1000 for _ in range(3))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def native(req, res):
    res.text(str(os.getpid()))


def factory():
    return wsgi


class Nested:
    app = staticmethod(wsgi)
