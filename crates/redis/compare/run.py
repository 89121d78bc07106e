"""Fan-out over Redis on three nodes, beside socket.io with its Redis adapter: deliveries for each second of CPU time, and times.

    cargo build --release -p peregrine-redis --example relay_node
    (cd crates/redis/compare && npm install)
    python3 crates/redis/compare/run.py [SUBSCRIBERS OF A NODE] [MESSAGES] [MESSAGES PER SECOND] [ROUNDS]

One publisher sends messages of 100 bytes to the first node; each of the WebSockets on the three nodes gets each of them. Both
servers are started anew for each round, and the rounds alternate. CPU time (user and system) is that of the three nodes, from the
first message until the last one has arrived; connecting is not counted. The clients are in this program and use the same machine,
so the times from publishing to arrival are for comparison only. They are those of 50 WebSockets of each node, which are read at once.
All others are read at the end, so that this program holds up the nodes less: what arrives fits into their sockets.
"""

import base64, os, re, resource, select, signal, socket, statistics, subprocess, sys, time, http.client

HERE = os.path.dirname(os.path.abspath(__file__))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "../../../target"))
SUBSCRIBERS, MESSAGES, RATE, ROUNDS = [float(n) if "." in n else int(n) for n in sys.argv[1:5]] + [1000, 200, 20, 3][len(sys.argv) - 1:]
PATIENCE = 300
READ_AT_ONCE = 50
MARK = re.compile(rb"@(\d+)@")
SERVERS = {
    "peregrine": [f"{TARGET}/release/examples/relay_node", "--port", "{port}", "--redis", "127.0.0.1:{redis}"],
    "socket.io": ["node", f"{HERE}/socket_io.mjs", "{port}", "{redis}"],
}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def listens(port):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on {port}")


def cpu(pids):
    """Seconds of all threads, in nanoseconds exactly. A thread that has ended is not counted; none does here."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            total += int(open(f"/proc/{pid}/task/{task}/schedstat").read().split()[0])
    return total / 1e9


def in_kernel(pids):
    """The part of the time so far that was spent in the kernel, and all of it, in ticks of the clock."""
    times = [open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13] for pid in pids]
    return sum(int(system) for _, system in times), sum(int(user) + int(system) for user, system in times)


class Client:
    """A WebSocket that is read only. With socket.io, its first two packets are exchanged."""

    # Earlier messages are not counted.
    since = 0

    def __init__(self, port, is_socket_io):
        self.got, self.last, self.rest = 0, 0, b""
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        path = "/socket.io/?EIO=4&transport=websocket" if is_socket_io else "/ws"
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        seen = self.until(b"\r\n\r\n")
        assert seen.startswith(b"HTTP/1.1 101"), seen
        if is_socket_io:
            self.until(b"0{", seen)
            self.send(b"40")
            self.until(b"40{")

    def until(self, what, seen=b""):
        while what not in seen:
            part = self.socket.recv(4096)
            assert part, "the connection has ended"
            seen += part
        return seen

    def send(self, text):
        self.socket.send(bytes([0x81, 0x80 | len(text)]) + bytes(4) + text)

    def read(self, now, times):
        data = self.socket.recv(1 << 16)
        assert data, "the connection has ended"
        data = self.rest + data
        end = 0
        for mark in MARK.finditer(data):
            self.last = int(mark[1])
            if self.last >= Client.since:
                self.got += 1
                times.append(now - self.last)
            end = mark.end()
        # A mark may be cut in two.
        self.rest = data[end:][-300:]

    def has(self, stamp, else_do=None):
        """Reads until this message, or a later one, has come. It does something if it takes longer than a second."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        end = time.monotonic() + PATIENCE
        while self.last < stamp:
            if poll.poll(1000):
                self.read(0, [])
            elif else_do:
                else_do()
            assert time.monotonic() < end, "no message"


def measure(name, redis):
    ports = [free_port() for _ in range(3)]
    nodes = []
    try:
        for port in ports:
            command = [part.format(port=port, redis=redis) for part in SERVERS[name]]
            nodes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=HERE))
        for port in ports:
            listens(port)
        return load(name, ports, [node.pid for node in nodes])
    finally:
        for node in nodes:
            node.kill()
            node.wait()


def load(name, ports, pids):
    at_once, others, poll = {}, [], select.epoll()
    Client.since = 0
    for port in ports:
        for n in range(SUBSCRIBERS):
            client = Client(port, name == "socket.io")
            if n < READ_AT_ONCE:
                at_once[client.socket.fileno()] = client
                poll.register(client.socket, select.EPOLLIN)
            else:
                others.append(client)
    publisher = http.client.HTTPConnection("127.0.0.1", ports[0])

    def publish():
        now = time.monotonic_ns()
        stamp = f"@{now}@"
        publisher.request("POST", "/publish", stamp + "x" * (100 - len(stamp)))
        response = publisher.getresponse()
        response.read()
        assert response.status == 200
        return now

    def read(until):
        while (left := until - time.monotonic()) > 0 and not is_complete():
            for number, _ in poll.poll(left):
                at_once[number].read(time.monotonic_ns(), times)

    # The subscriptions of all nodes have arrived when a client of each has got a message.
    times, deadline = [], time.monotonic() + PATIENCE
    is_complete = lambda: all(client.got for client in at_once.values())
    while not is_complete():
        assert time.monotonic() < deadline, "no message"
        last = publish()
        read(time.monotonic() + 1)
    clients = [*at_once.values(), *others]
    # One that was subscribed after the others may have missed it.
    for client in clients:
        client.has(last, publish)
    last = publish()
    for client in clients:
        client.has(last)
        client.got = 0
    is_complete = lambda: False
    times, total = [], MESSAGES * len(at_once)
    Client.since = time.monotonic_ns()
    before, next_at, kernel = cpu(pids), time.monotonic(), in_kernel(pids)
    for _ in range(MESSAGES):
        last = publish()
        next_at += 1 / RATE
        read(next_at)
    is_complete = lambda: len(times) >= total
    read(time.monotonic() + PATIENCE)
    for client in clients:
        client.has(last)
    spent = cpu(pids) - before
    system, both = (after - begun for after, begun in zip(in_kernel(pids), kernel))
    assert len(times) == total and all(client.got == MESSAGES for client in clients), (len(times), total)
    times.sort()
    total = MESSAGES * len(clients)
    return total / spent, times[len(times) // 2] / 1e6, times[len(times) * 99 // 100] / 1e6, 100 * system / max(both, 1)


def show(name, per_cpu, half, slow, kernel):
    print(f"{name:10} {per_cpu:12,.0f} deliveries for a CPU second ({kernel:.0f} % in the kernel), p50 {half:8.1f} ms, "
          f"p99 {slow:8.1f} ms", flush=True)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
redis = free_port()
broker = subprocess.Popen(["redis-server", "--port", str(redis), "--save", ""], stdout=subprocess.DEVNULL)
results = {name: [] for name in SERVERS}
try:
    listens(redis)
    print(f"3 nodes with {SUBSCRIBERS} WebSockets each, {MESSAGES} messages of 100 bytes, {RATE} in a second", flush=True)
    for _ in range(ROUNDS):
        for name in SERVERS:
            results[name].append(measure(name, redis))
            show(name, *results[name][-1])
finally:
    broker.send_signal(signal.SIGTERM)
    broker.wait()
medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in results.items()}
print("medians")
for name, row in medians.items():
    show(name, *row)
print(f"peregrine / socket.io: {medians['peregrine'][0] / medians['socket.io'][0]:.1f}")
