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
import unittest

import peregrine

# Seconds that only a failure reaches, even on a slow and busy machine.
PATIENCE = 60
# From where programs find the package of the tests.
FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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


def websocket(address, path="/", **more):
    """A client of `websockets`, which waits longer than by default, and does not end the connection for a late PONG."""
    from websockets.sync.client import connect

    options = {"open_timeout": PATIENCE, "ping_interval": None, "proxy": None, **more}
    return connect("ws://%s:%d%s" % (*address, path), **options)


def eventually(condition):
    """Waits until the condition is true, and returns what it is."""
    until = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"it never came true: {condition}")
        time.sleep(0.01)
    return result


class Program:
    """A server that is a program, and what it prints. All its processes are in a group of their own, which is killed at the end."""

    LISTENING = rb"listening on https?://([\d.]+):(\d+)"
    started = []

    def __init__(self, *arguments, cwd=FOLDER, env=None, stdout=None, **more):
        """`python ARGUMENTS`. Without `stdout` the log has both outputs."""
        outputs = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if stdout is None else {"stdout": stdout, "stderr": subprocess.PIPE}
        environment = dict(os.environ, PYTHONUNBUFFERED="1", **(env or {}))
        self.arguments, self.log = arguments, b""
        self.process = subprocess.Popen([sys.executable, *arguments], cwd=cwd, env=environment, start_new_session=True, **outputs, **more)
        self.pipe = self.process.stderr or self.process.stdout
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.started.append(self)

    def _read(self):
        for line in self.pipe:
            self.log += line

    def says(self, pattern):
        """Waits until a line of the log has it, and returns the match."""

        def is_there():
            # The end first: what was printed before it has been read then.
            has_ended = not self.reader.is_alive()
            found = re.search(pattern, self.log)
            if has_ended and not found:
                raise AssertionError(f"ended with {self.process.wait(PATIENCE)}, without {pattern}: {self.log.decode()}")
            return found

        return eventually(is_there)

    @property
    def address(self):
        host, port = self.says(self.LISTENING).groups()
        return host.decode(), int(port)

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self):
        """Waits for the end of all its processes: the pipe is closed then. Returns the code of the first one."""
        self.reader.join(PATIENCE)
        if self.reader.is_alive():
            raise AssertionError(f"it goes on: {self.log.decode()}")
        return self.process.wait(PATIENCE)

    def stop(self):
        self.signal()
        return self.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.reader.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.wait()
        self.pipe.close()


class Process(Program):
    """`python -m peregrine ARGUMENTS`."""

    def __init__(self, *arguments, **more):
        super().__init__("-m", "peregrine", *arguments, "--port", "0", **more)


class Case(unittest.TestCase):
    """Shows what the programs of a test have printed, if it fails."""

    def run(self, result=None):
        Program.started[:] = [program for program in Program.started if program.reader.is_alive()]
        faults = [result.errors, result.failures]
        before = sum(map(len, faults))
        super().run(result)
        if sum(map(len, faults)) > before:
            for program in Program.started:
                print(f"\n---- {self.id()}: {program.arguments}\n{program.log.decode(errors='replace')}----", file=sys.stderr)
        return result
