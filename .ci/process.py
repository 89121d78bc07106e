"""What scripts ask of processes and ports."""

import contextlib
import random
import socket
import subprocess
import time


given = set()


def free_port():
    """A port that nothing uses, and that Linux gives to no outgoing connection, so that it is free until a server listens on it.
    Each time another one."""
    while True:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in given:
                given.add(port)
                return port


def wait_for_end(pid):
    """Waits until a process has ended, so that its port is free. The shell that started it may not have noticed."""
    until = time.monotonic() + 120
    while subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, text=True).stdout.strip()[:1] not in ("", "Z"):
        assert time.monotonic() < until, "the server still runs"
        time.sleep(0.05)
