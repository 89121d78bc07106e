"""CPU time for each request, beside other servers: one process each, on one core. Needs `wrk` and `taskset`.

    python compare/run.py [ROUNDS] [SECONDS]

Every server that is installed is started anew for each measurement; the rounds are interleaved, and medians are printed, in
microseconds of CPU time of the server (user and system) for each request, with the requests that a second of CPU serves.
"""

import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = [sys.executable, "-W", "ignore", "-m"]
SERVERS = {
    "peregrine native": [sys.executable, "apps.py", "peregrine", "{port}"],
    "peregrine WSGI": [*PYTHON, "peregrine", "apps:wsgi", "--wsgi", "--port", "{port}"],
    "FastWSGI": [sys.executable, "-W", "ignore", "apps.py", "fastwsgi", "{port}"],
    "granian WSGI": [*PYTHON, "granian", "--interface", "wsgi", "--port", "{port}", "--no-ws", "--blocking-threads", "1", "apps:wsgi"],
    "gunicorn gthread": [*PYTHON, "gunicorn", "-b", "127.0.0.1:{port}", "-k", "gthread", "--threads", "2", "apps:wsgi"],
    "socketify WSGI": [*PYTHON, "socketify", "apps:wsgi", "--wsgi", "--port", "{port}", "--disable-listen-log"],
    "peregrine ASGI": [*PYTHON, "peregrine", "apps:asgi", "--asgi", "--port", "{port}"],
    "granian ASGI": [*PYTHON, "granian", "--interface", "asgi", "--port", "{port}", "--loop", "uvloop", "apps:asgi"],
    "uvicorn ASGI": [*PYTHON, "uvicorn", "apps:asgi", "--port", "{port}", "--http", "httptools", "--loop", "uvloop", "--no-access-log", "--log-level", "warning"],
    "socketify ASGI": [*PYTHON, "socketify", "apps:asgi", "--asgi", "--port", "{port}", "--disable-listen-log", "--ws", "apps:asgi"],
}
WITH_WEBSOCKETS = ("peregrine native", "peregrine ASGI", "granian ASGI", "uvicorn ASGI")
LUA = 'wrk.method="POST" wrk.body=\'{"message":"hello","numbers":[1,2,3]}\' wrk.headers["Content-Type"]="application/json"'


def free_port():
    """A port that Linux gives to no outgoing connection, so that it is free until a server listens on it."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            pass


def tree(pid):
    """The process and all below it."""
    pids = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as file:
            for child in file.read().split():
                pids += tree(int(child))
    return pids


def cpu(pid):
    total = 0
    for one in tree(pid):
        with open(f"/proc/{one}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def wrk(port, path, seconds, script):
    command = ["taskset", "-c", "1", "wrk", "-t1", "-c32", f"-d{seconds}s", f"http://127.0.0.1:{port}{path}"]
    if path == "/json":
        command[4:4] = ["-s", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise RuntimeError(output)
    return int(output.split(" requests in ")[0].split()[-1])


def echo(port, seconds):
    """Messages that 16 WebSockets get back, one at a time each. The client is on the other core."""
    os.sched_setaffinity(0, {1})
    frame = b"\x81\x90\0\0\0\0" + b"0123456789abcdef"
    clients = []
    for _ in range(16):
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert b" 101 " in head, head
        clients.append(client)
    count, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for client in clients:
            client.send(frame)
        for client in clients:
            got = 0
            while got < 18:
                got += len(client.recv(18 - got))
            # A server may send it in two writes, but no message has other bytes.
        count += len(clients)
        # Below the 1,000 messages a second that peregrine allows each connection.
        time.sleep(0.002)
    for client in clients:
        client.close()
    return count


def measure(name, path, seconds, script):
    port = free_port()
    command = ["taskset", "-c", "0", *[part.replace("{port}", str(port)) for part in SERVERS[name]]]
    server = subprocess.Popen(command, cwd=HERE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if server.poll() is not None or time.monotonic() > until:
                    return None
                time.sleep(0.05)
        if path != "/ws":
            wrk(port, path, 1, script)
        before = cpu(server.pid)
        count = echo(port, seconds) if path == "/ws" else wrk(port, path, seconds, script)
        return (cpu(server.pid) - before) / count * 1e6
    except (RuntimeError, AssertionError, OSError, subprocess.CalledProcessError):
        return None
    finally:
        pids = tree(server.pid) if server.poll() is None else []
        if pids:
            server.send_signal(signal.SIGTERM)
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            server.wait()


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    paths = ("/hello", "/10k", "/json", "/ws")
    found = {(name, path): [] for name in SERVERS for path in paths}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA)
        script.flush()
        for _ in range(rounds):
            for path in paths:
                for name in SERVERS:
                    if path == "/ws" and name not in WITH_WEBSOCKETS:
                        continue
                    time_of_one = measure(name, path, seconds, script.name)
                    if time_of_one:
                        found[name, path].append(time_of_one)
    print("| server | hello | 10 KiB | JSON echo | WebSocket echo |\n|---|---|---|---|---|")
    for name in SERVERS:
        cells = []
        for path in paths:
            times = found[name, path]
            median = statistics.median(times) if times else None
            cells.append(f"{median:.1f} ({1e6 / median:,.0f})" if median else "-")
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
