"""The client of .ci/nats: three nodes, real nats-servers, and a relay of TCP between them that can refuse, reset and stall."""

import asyncio, base64, json, os, re, signal, subprocess, sys, tempfile, time, urllib.request
from process import free_port

node_program, certs = sys.argv[1:3]
PATIENCE = 120  # seconds that nothing takes unless it fails
PING = 4000  # milliseconds: less than that, and a busy machine looks like a broker that has gone
folder = tempfile.mkdtemp(dir=sys.argv[3])
processes = []


def fail(what):
    for name in sorted(os.listdir(folder)):
        if name.endswith(".log"):
            print(f"---- {name}:", open(os.path.join(folder, name)).read()[-2000:], sep="\n")
    sys.exit(f"FAILED nats: {what}")


def ok(what):
    print(f"ok nats: {what}", flush=True)


async def until(what, is_so):
    end = time.monotonic() + PATIENCE
    while not (result := is_so()):
        if time.monotonic() > end:
            fail(f"not within {PATIENCE} s: {what}")
        await asyncio.sleep(0.01)
    return result


class Broker:
    """A nats-server, which keeps its port when it is started again."""

    def __init__(self, *options, config=""):
        self.port, self.monitor, self.options = free_port(), free_port(), list(options)
        if config:
            path = os.path.join(folder, f"{self.port}.conf")
            open(path, "w").write(config)
            self.options += ["-c", path]

    async def start(self):
        log = open(os.path.join(folder, f"{self.port}.log"), "a")
        command = ["nats-server", "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor), *self.options]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        processes.append(self.process)
        await until("nats-server listens", self.listens)
        return self

    def listens(self):
        import socket
        if self.process.poll() is not None:
            fail("nats-server has ended")
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self):
        self.process.kill()
        self.process.wait()


class Wire:
    """Carries bytes to a broker. `stall`: nothing is carried, and no connection ends: a machine that has gone."""

    def __init__(self, broker):
        self.broker, self.port, self.writers, self.tasks = broker, free_port(), [], []
        self.refusals, self.seen, self.server = 0, 0, None
        self.flows = asyncio.Event()
        self.flows.set()

    async def open(self):
        self.server = await asyncio.start_server(self.accept, "127.0.0.1", self.port)
        return self

    def close(self):
        """The port refuses connections, and those that are there end."""
        self.server.close()
        self.reset()

    def reset(self):
        for writer in self.writers:
            writer.transport.abort()
        self.writers = []

    def stall(self):
        self.flows.clear()

    def flow(self):
        self.reset()
        self.flows.set()

    def accept(self, reader, writer):
        # A task of its own: the end of the program cancels it without a word.
        self.tasks.append(asyncio.get_running_loop().create_task(self.serve(reader, writer)))

    async def serve(self, reader, writer):
        self.seen += 1
        if self.refusals > 0:
            self.refusals -= 1
            writer.transport.abort()
            return
        self.writers.append(writer)
        if not self.flows.is_set():
            return
        try:
            there = await asyncio.open_connection("127.0.0.1", self.broker.port)
        except OSError:
            writer.transport.abort()
            return
        self.writers.append(there[1])
        await asyncio.gather(self.carry(reader, there[1]), self.carry(there[0], writer))

    async def carry(self, reader, writer):
        try:
            while data := await reader.read(65536):
                await self.flows.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        writer.transport.abort()


class Node:
    def __init__(self, name, url, *options):
        self.name, self.url, self.options, self.number = name, url, options, 0

    async def start(self):
        command = [node_program, "127.0.0.1:0", self.url, "--ping", str(PING), *self.options]
        log = open(os.path.join(folder, f"node-{self.name}.log"), "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        processes.append(self.process)
        line = await asyncio.wait_for(asyncio.to_thread(self.process.stdout.readline), PATIENCE)
        if not line:
            fail(f"node {self.name} has ended")
        self.port = int(line.rsplit(":", 1)[1])
        return self

    async def ask(self, path, body=None):
        def ask():
            request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=body)
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                    return response.status, response.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
        return await asyncio.to_thread(ask)

    async def is_ready(self, wanted):
        end = time.monotonic() + PATIENCE
        while (await self.ask("/readyz"))[0] != (200 if wanted else 503):
            if time.monotonic() > end:
                fail(f"{self.name} is not {'ready' if wanted else 'unready'}")
            await asyncio.sleep(0.01)
        if (await self.ask("/livez"))[0] != 200:
            fail(f"{self.name} does not live")

    async def counter(self, name):
        _, page = await self.ask("/metrics")
        return int(re.search(rf"^peregrine_relay_messages_{name}_total (\d+)$", page, re.M)[1])

    async def publish(self, topic, text):
        return (await self.ask(f"/publish/{topic}", text.encode()))[0]

    async def burst(self, topic, count):
        """Publishes the next numbers of this node. Returns how many were taken."""
        start = self.number + 1
        self.number += count
        base = "abc".index(self.name) * 10**9
        _, taken = await self.ask(f"/burst/{topic}?from={base + start}&count={count}", b"")
        return int(taken)

    def memory(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


class Client:
    """A WebSocket, or a page of events."""

    def __init__(self, node, topic):
        self.node, self.topic, self.got = node, topic, []

    async def open(self, events=False):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.node.port, limit=1 << 20)
        if events:
            self.writer.write(f"GET /events/{self.topic} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            await self.reader.readuntil(b"\r\n\r\n")
            self.task = asyncio.create_task(self.read_events())
            return self
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(f"GET /ws/{self.topic} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                          f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            fail(f"no WebSocket: {head}")
        self.task = asyncio.create_task(self.read())
        return self

    async def read_events(self):
        while line := await self.reader.readline():
            if line.startswith(b"data: "):
                self.got.append(line[6:].decode().strip())

    async def read(self):
        try:
            await self.read_messages()
        except (asyncio.IncompleteReadError, OSError):
            pass  # the node was killed, or the client has closed

    async def read_messages(self):
        while True:
            first, length = await self.reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            payload = await self.reader.readexactly(length)
            if first == 0x81:
                self.got.append(payload.split(b" ")[0].decode())
            elif first == 0x89:
                self.writer.write(bytes([0x8A, 0x80 | length]) + bytes(4) + payload)
            elif first == 0x88:
                return

    async def has(self, text):
        """Waits for a text, which comes once."""
        await until(f"{self.node.name} {self.topic} gets {text}, not {self.got[-3:]}", lambda: text in self.got)
        if self.got.count(text) != 1:
            fail(f"{text} came {self.got.count(text)} times to {self.node.name}")


async def reaches(nodes, clients, text):
    """What one node publishes reaches each client once. A subscription that is new may need a moment."""
    await nodes[0].publish("room", text)
    for client in clients:
        await client.has(text)


async def absent_at_start(wire, nodes):
    for node in nodes:
        await node.is_ready(False)
    clients = [await Client(node, "room").open() for node in nodes]
    clients += [await Client(node, "room").open(events=True) for node in nodes]
    for node, client, page in zip(nodes, clients, clients[3:]):
        if await node.publish("room", f"alone-{node.name}") != 200:
            fail("the message was not queued")
        await client.has(f"alone-{node.name}")
        await page.has(f"alone-{node.name}")
    ok("without a broker each node serves its own clients, lives, and is not ready")
    return clients


async def comes_up(broker, wire, nodes, clients):
    await broker.start()
    wire.refusals = 5
    seen = wire.seen
    await wire.open()
    for node in nodes:
        await node.is_ready(True)
    if wire.seen - seen < 8:
        fail("nothing was refused")
    await reaches(nodes, clients, "first")
    ok("after several refused attempts all are connected, with all topics")


async def killed(broker, nodes, clients):
    broker.kill()
    for node in nodes:
        await node.is_ready(False)
    await nodes[1].publish("room", "meanwhile")
    await clients[1].has("meanwhile")
    await broker.start()
    for node in nodes:
        await node.is_ready(True)
    await reaches(nodes, clients, "after-restart")
    ok("a broker that is killed and started again: topics are subscribed again by themselves")


async def black_hole(wire, nodes, clients):
    begun = time.monotonic()
    wire.stall()
    for node in nodes:
        await node.is_ready(False)
    passed = time.monotonic() - begun
    await nodes[2].publish("room", "in-the-dark")
    await clients[2].has("in-the-dark")
    wire.flow()
    for node in nodes:
        await node.is_ready(True)
    await reaches(nodes, clients, "after-the-dark")
    ok(f"a broker that is gone without a word is noticed, here in {passed:.1f} s with a PING each {PING / 1000} s")


async def subscribes_while_messages_flow(nodes):
    over = False
    first = await Client(nodes[1], "flow").open()

    async def publishes():
        while not over:
            # The next ones when these have arrived, so that no queue on the way is full.
            if await nodes[0].burst("flow", 50) != 50:
                fail("a queue is full")
            await first.has(str(nodes[0].number))
    await until_subscribed(nodes[0], first)
    flow = asyncio.create_task(publishes())
    clients = []
    for _ in range(20):
        for node in nodes[1:]:
            clients.append(await Client(node, "flow").open())
    for client in clients:
        await until("a message", lambda: client.got)
    over = True
    await flow
    await nodes[0].burst("flow", 1)
    for client in clients:
        await client.has(str(nodes[0].number))
        numbers = [int(n) for n in client.got]
        if numbers != list(range(numbers[0], nodes[0].number + 1)):
            steps = [(a, b) for a, b in zip(numbers, numbers[1:]) if b != a + 1]
            fail(f"a gap or a repetition after the first message: {steps}")
    for client in [first, *clients]:
        client.writer.close()
    ok("who subscribes while messages flow misses none after the first, and gets none twice")


async def until_subscribed(node, client):
    """Publishes on `node` until a number arrives, because a subscription of another node is on its way."""
    end = time.monotonic() + PATIENCE
    while not client.got:
        if time.monotonic() > end:
            fail("no subscription")
        await node.burst(client.topic, 1)
        await asyncio.sleep(0.02)
    await client.has(str(node.number))


async def reads_nothing(broker, nodes, clients):
    before, dropped = nodes[0].memory(), await nodes[0].counter("dropped")
    broker.process.send_signal(signal.SIGSTOP)
    taken, count = 0, 0
    while taken == count:
        count += 20_000
        taken += await nodes[0].burst("slow", 20_000)
    await nodes[0].burst("slow", 100_000)
    grown = nodes[0].memory() - before
    if grown > 40 << 20:
        fail(f"{grown >> 20} MiB more")
    if await nodes[0].counter("dropped") - dropped < 1:
        fail("what was dropped is not counted")
    await nodes[0].publish("room", "while-stopped")
    await clients[0].has("while-stopped")
    broker.process.send_signal(signal.SIGCONT)
    for node in nodes:
        await node.is_ready(True)
    await until_reached(nodes, clients, "goes-on")
    ok(f"a broker that reads nothing: publishers hear of it, and {grown >> 20} MiB of memory more, with a queue of 1 MiB")


async def until_reached(nodes, clients, name):
    """The nodes may be about to notice that their connection is late. Then it is new, and messages flow."""
    end, n = time.monotonic() + PATIENCE, 0
    while time.monotonic() < end:
        n += 1
        text = f"{name}-{n}"
        await nodes[0].publish("room", text)
        for _ in range(50):
            if all(text in client.got for client in clients):
                return
            await asyncio.sleep(0.02)
    fail(f"nothing arrives: {name}")


async def too_large(nodes, clients):
    connected = await nodes[0].counter("unconfirmed")
    if await nodes[0].publish("room", "x" * 200_000) != 202:
        fail("the publisher does not hear that a message is too large")
    await reaches(nodes, clients, "after-the-large-one")
    if await nodes[0].counter("unconfirmed") != connected:
        fail("the connection has ended")
    ok("a message that is larger than the broker takes is refused before it is sent")


async def node_killed(nodes, clients):
    nodes[1].process.kill()
    nodes[1].process.wait()
    alive = [client for client in clients if client.node is not nodes[1]]
    await reaches([nodes[0]], alive, "without-b")
    await nodes[1].start()
    await nodes[1].is_ready(True)
    back = await Client(nodes[1], "room").open()
    await until_reached(nodes, [back, *alive], "with-b")
    ok("a node that is killed hinders no other one, and comes back")
    return [back, *alive]


async def soak(broker, wire, nodes):
    """Numbers on all nodes while the broker is killed and connections are reset."""
    clients = [await Client(node, "soak").open() for node in nodes]
    for node in nodes:
        await node.is_ready(True)
    # Each has seen each node before the faults begin: gaps are counted from there.
    seen = set()
    while len(seen) < 9:
        for node in nodes:
            await node.burst("soak", 1)
        for client in clients:
            seen |= {(client.node.name, n[:-9] or "0") for n in client.got}
        await asyncio.sleep(0.02)
    firsts = [{node.name: min((int(n) for n in client.got if int(n) // 10**9 == "abc".index(node.name)), default=0)
               for node in nodes} for client in clients]
    lost = [await node.counter("lost") for node in nodes]
    over = False

    def is_behind(node):
        """The clients read too slowly: a node would close them for it."""
        own = next(client for client in clients if client.node is node)
        return node.number - own_number(own) > 2000

    def own_number(client):
        """The last number that has come from the node of a client."""
        base = "abc".index(client.node.name) * 10**9
        return next((int(n) - base for n in reversed(client.got) if 0 <= int(n) - base < 10**9), 0)

    async def publishes(node):
        while not over:
            while is_behind(node):
                await asyncio.sleep(0.005)
            await node.burst("soak", 20)
            await asyncio.sleep(0.005)  # a pace, not a wait: all of it is kept here
    flows = [asyncio.create_task(publishes(node)) for node in nodes]
    for fault in ["kill", "reset", "kill", "stall", "reset", "kill"]:
        # Numbers of other nodes arrive at each one before the next fault.
        counts = [len(client.got) for client in clients]
        for client, count in zip(clients, counts):
            await until("numbers flow", lambda: len(client.got) > count + 300)
        if fault == "reset":
            wire.reset()
        elif fault == "stall":
            wire.stall()
            await nodes[0].is_ready(False)
            wire.flow()
        else:
            broker.kill()
            for node in nodes:
                await node.is_ready(False)
            await broker.start()
        for node in nodes:
            await node.is_ready(True)
    over = True
    await asyncio.gather(*flows)
    # The last one of each node shows what is missing before it.
    for node in nodes:
        await node.is_ready(True)
    for node in nodes:
        await node.burst("soak", 1)
    lasts = {node.name: "abc".index(node.name) * 10**9 + node.number for node in nodes}
    missing_in_all, published = 0, sum(node.number for node in nodes)
    for client, first, before in zip(clients, firsts, lost):
        for last in lasts.values():
            await client.has(str(last))
        got = [int(n) for n in client.got]
        if len(set(got)) != len(got):
            fail("a number came twice")
        missing = 0
        for node in nodes:
            own = [n for n in got if n // 10**9 == "abc".index(node.name)]
            if own != sorted(own):
                fail("the numbers of a node are out of order")
            gap = lasts[node.name] - first[node.name] + 1 - len(own)
            if node is client.node and gap:
                fail(f"{gap} own messages are missing")
            missing += gap
        known = await client.node.counter("lost") - before
        if missing != known:
            fail(f"{missing} are missing on {client.node.name}, {known} are known")
        missing_in_all += missing
    ok(f"soak: {published} numbers on 3 nodes, 6 faults: none twice, own ones all there, the {missing_in_all} that are missing are counted")


async def cluster():
    routes = [free_port(), free_port()]
    def options(n):
        return ["--cluster_name", "c", "--cluster", f"nats://127.0.0.1:{routes[n]}",
                "--routes", f"nats://127.0.0.1:{routes[1 - n]}"]
    one, two = Broker(*options(0)), Broker(*options(1))
    for n, broker in enumerate([one, two]):
        broker.options += ["--client_advertise", f"127.0.0.1:{broker.port}"]
    await one.start()
    await two.start()
    nodes = [await Node(name, f"nats://127.0.0.1:{one.port}").start() for name in "ab"]
    clients = [await Client(node, "room").open() for node in nodes]
    for node in nodes:
        await node.is_ready(True)
    # Both servers are known when both have said so.
    await until_reached(nodes, clients, "one")
    await until("the servers know each other", lambda: knows(one, two))
    one.kill()
    for node in nodes:
        await node.is_ready(True)
    await until_reached(nodes, clients, "two")
    for node in nodes:
        node.process.kill()
    two.kill()
    ok("a server of a cluster is killed: the nodes know the other one from INFO")


def knows(one, other):
    import socket
    with socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE) as conn:
        info = json.loads(conn.makefile().readline().split(" ", 1)[1])
    return f"127.0.0.1:{other.port}" in info.get("connect_urls", [])


async def logins():
    seed = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
    public = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
    seed_file = os.path.join(folder, "seed")
    open(seed_file, "w").write(seed)
    tls = f'tls {{ cert_file: "{certs}/exact.pem", key_file: "{certs}/exact.key" }}'
    ca = ["--ca", f"{certs}/authority.pem"]
    cases = [
        ("a user", 'authorization { user: "ada", password: "a b" }', "nats://ada:a%20b@127.0.0.1", [], True),
        ("a wrong password", 'authorization { user: "ada", password: "a b" }', "nats://ada:x@127.0.0.1", [], False),
        ("a token", 'authorization { token: "t" }', "nats://t@127.0.0.1", [], True),
        ("an NKey", f'authorization {{ users: [ {{ nkey: {public} }} ] }}', "nats://127.0.0.1", ["--creds", seed_file], True),
        ("TLS", tls, "tls://localhost", ca, True),
        ("no TLS where it is required", tls, "nats://localhost", [], False),
        ("a certificate of another authority", tls, "tls://localhost", ["--ca", f"{certs}/other-authority.pem"], False),
        ("a certificate of another name", tls, "tls://127.0.0.1", ca, False),
        ("TLS where there is none", "", "tls://localhost", ca, False),
        ("the order of the broker", "", "nats://127.0.0.1", ["--order", "broker"], True),
    ]
    for name, config, url, options, is_good in cases:
        broker = await Broker(config=config or "debug: false").start()
        node = await Node("a", f"{url}:{broker.port}", *options).start()
        if is_good:
            await node.is_ready(True)
            client = await Client(node, "room").open()
            await until_reached([node], [client], "mine")
        else:
            # Several attempts, all of which fail.
            await until("attempts", lambda: attempts(broker) >= 3)
            await node.is_ready(False)
        node.process.kill()
        broker.kill()
        ok(f"login: {name}" + ("" if is_good else " is refused"))


def attempts(broker):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.monitor}/varz", timeout=PATIENCE) as page:
        return json.load(page)["total_connections"]


async def ends_well(nodes, clients):
    """SIGTERM right after a message: it is sent before the process ends."""
    others = [client for client in clients if client.node is not nodes[0]]
    await nodes[0].publish("room", "last-words")
    nodes[0].process.send_signal(signal.SIGTERM)
    if await asyncio.to_thread(nodes[0].process.wait, PATIENCE) != 0:
        fail("a node does not end well")
    for client in others:
        await client.has("last-words")
    ok("a node that stops sends what it has queued")


async def main():
    broker = Broker(config="max_payload: 100000\nwrite_deadline: \"2s\"\n")
    wire = Wire(broker)
    url = f"nats://127.0.0.1:{wire.port}"
    nodes = [await Node(name, url, "--queue", str(1 << 20), "--bytes", "900").start() for name in "abc"]
    clients = await absent_at_start(wire, nodes)
    await comes_up(broker, wire, nodes, clients)
    await killed(broker, nodes, clients)
    await black_hole(wire, nodes, clients)
    await subscribes_while_messages_flow(nodes)
    await too_large(nodes, clients)
    await reads_nothing(broker, nodes, clients)
    await soak(broker, wire, nodes)
    clients = await node_killed(nodes, clients)
    await ends_well(nodes, clients)
    await cluster()
    await logins()


try:
    asyncio.run(main())
finally:
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.kill()
