"""A client that sends and receives bytes, and servers for tests."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import peregrine

# Seconds that only a failure reaches, even on a slow and busy machine.
PATIENCE = 60


class Answer:
    def __init__(self, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.line = lines[0]
        self.status = int(lines[0].split()[1])
        self.fields = [tuple(line.split(": ", 1)) for line in lines[1:]]
        self.body = body

    def field(self, name):
        """The value of a field, values of several joined; None without one."""
        values = [value.strip() for other, value in self.fields if other.lower() == name.lower()]
        return ", ".join(values) if values else None


class Client:
    """One connection."""

    def __init__(self, address):
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        self.socket = socket.socket(family)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        self.unread = b""

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        got = self.socket.recv(65536)
        self.unread += got
        return bool(got)

    def take(self, count):
        while len(self.unread) < count:
            if not self.more():
                raise EOFError(f"closed after {self.unread!r}")
        taken, self.unread = self.unread[:count], self.unread[count:]
        return taken

    def until(self, end):
        while end not in self.unread:
            if not self.more():
                raise EOFError(f"closed after {self.unread!r}")
        taken, _, self.unread = self.unread.partition(end)
        return taken

    def answer(self, is_head=False):
        """The next response, its body decoded. EOFError if the connection ends in it."""
        answer = Answer(self.until(b"\r\n\r\n"), b"")
        length = answer.field("content-length")
        if is_head or answer.status in (204, 304):
            pass
        elif answer.field("transfer-encoding") == "chunked":
            while True:
                size = int(self.until(b"\r\n"), 16)
                answer.body += self.take(size)
                self.take(2)
                if size == 0:
                    break
        elif length is not None:
            answer.body = self.take(int(length))
        return answer

    def get(self, path="/", fields="", method="GET", body=b""):
        if body:
            fields += f"Content-Length: {len(body)}\r\n"
        self.send(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode("latin-1") + body)
        return self.answer(is_head=method == "HEAD")

    def is_closed(self):
        """Waits for the end of the connection."""
        try:
            while self.more():
                pass
        except ConnectionResetError:
            pass
        return True

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(address, path="/", **more):
    with Client(address) as client:
        return client.get(path, **more)


@contextlib.contextmanager
def serving(app, interface="native", **options):
    """A server in this process."""
    with peregrine.start(app, interface=interface, port=0, **options) as running:
        yield running


def eventually(condition):
    """Waits until the condition is true."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(f"it never came true: {condition}")
        time.sleep(0.01)


class Process:
    """A server that is a process: `python -m peregrine ARGUMENTS`, or another command with `{port}` in it."""

    def __init__(self, *arguments, cwd=None, env=None):
        command = [sys.executable, "-m", "peregrine", *arguments, "--port", "0"]
        self.log = b""
        environment = dict(os.environ, PYTHONUNBUFFERED="1", **(env or {}))
        self.process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.log += line

    @property
    def address(self):
        def is_listening():
            if self.process.poll() is not None:
                self.reader.join(PATIENCE)
                raise AssertionError(f"ended with {self.process.returncode}: {self.log.decode()}")
            return b"listening on " in self.log

        eventually(is_listening)
        host, port = re.search(rb"listening on https?://([\d.]+):(\d+)", self.log).groups()
        return host.decode(), int(port)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        code = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return code

    def stop(self):
        self.signal()
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        self.process.stdout.close()
