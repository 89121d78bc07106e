"""The client of .ci/machines: three nodes of a chat on hosts of their own, a broker, HAProxy, and pages that number what they say.

It runs on the host of the balancer: `machines.py CHAT HAPROXY_CONFIG FOLDER BALANCER_HOST BROKER_HOST NODE_HOST...`."""

import asyncio, base64, os, random, subprocess, sys, time, traceback, urllib.error, urllib.request

chat, settings, folder, balancer_host, broker_host, *node_hosts = sys.argv[1:]
PATIENCE = 120  # seconds that nothing takes unless it fails
FRONT, BROKER = "10.79.1.1", "10.79.2.1"
LEASE = 2000  # milliseconds
# Numbers of a speaker that have not come back. Those of all speakers are fewer than the messages that Redis keeps.
WINDOW = 20
processes, tasks, begun = [], [], time.monotonic()


def fail(what):
    print(f"FAILED machines: {what}", flush=True)
    for process in processes:
        process.kill()
    for name in sorted(name for name in os.listdir(folder) if name.startswith("log-")):
        print(f"---- {name}:", open(os.path.join(folder, name)).read()[-1500:], sep="\n", flush=True)
    os._exit(1)  # without the words of tasks that are cancelled


def ok(what):
    print(f"ok machines: {what} ({time.monotonic() - begun:.0f} s)", flush=True)


async def until(what, is_so):
    end = asyncio.get_running_loop().time() + PATIENCE
    while not (result := is_so()):
        if asyncio.get_running_loop().time() > end:
            fail(f"not within {PATIENCE} s: {what() if callable(what) else what}")
        await asyncio.sleep(0.01)
    return result


def start(*command, host=None):
    on_host = ["ip", "netns", "exec", host] if host else []
    log = open(os.path.join(folder, f"log-{len(processes)}"), "w")
    processes.append(subprocess.Popen([*on_host, *command], stdout=log, stderr=log))
    return processes[-1]


async def get(address, path):
    def ask():
        # No proxy is asked.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://{address}{path}", timeout=PATIENCE) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""
        except OSError:
            return 0, ""
    return await asyncio.to_thread(ask)


async def answers(what, address, path, *wanted):
    end = asyncio.get_running_loop().time() + PATIENCE
    while (got := await get(address, path)) not in wanted and got[0] not in wanted:
        if asyncio.get_running_loop().time() > end:
            fail(f"{what}: {path} of {address} is {got}")
        await asyncio.sleep(0.05)


class Node:
    def __init__(self, n, options):
        self.name, self.host, self.options = "abc"[n], node_hosts[n], options
        self.ip = f"10.79.1.1{n + 1}"
        self.address = f"{self.ip}:8000"

    def start(self):
        self.process = start(chat, *self.options, "--addr", self.ip, "--port", "8000", "--lease-ms", str(LEASE), host=self.host)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def cable(self, switch, is_in):
        """Takes the cable to a switch out: no end says so, and no connection ends."""
        link = ["ip", "-n", switch, "link", "set", "to-" + self.host.rsplit("-", 1)[0]]
        subprocess.run([*link, *(["master", "bridge"] if is_in else ["nomaster"])], check=True)

    async def is_ready(self, wanted=True):
        await answers(f"node {self.name}", self.address, "/health/readyz", 200 if wanted else 503)
        await answers(f"node {self.name}", self.address, "/health/livez", 200)


class Client:
    """A page, by way of HAProxy. It comes back, from where it has stopped."""

    def __init__(self, name):
        self.name, self.node, self.after, self.opened, self.refused = name, None, "", 0, 0
        # Pairs of a name and a number, and None where it was told that messages may be missing.
        self.log, self.seen = [], {}
        # What it says: the numbers that have not come back, and those of connections that have ended.
        self.said, self.open, self.unsure = 0, set(), set()
        self.writer = None

    def start(self):
        tasks.append(asyncio.create_task(self.run()))
        return self

    async def run(self):
        while True:
            try:
                await self.connection()
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                self.node = None
                self.is_unsure()
                if self.writer:
                    self.writer.transport.abort()
            await asyncio.sleep(random.uniform(0.1, 0.3))  # as the page does

    async def connection(self):
        reader, self.writer = await asyncio.open_connection(FRONT, 8080)
        key = base64.b64encode(os.urandom(16)).decode()
        self.writer.write(f"GET /ws?name={self.name}&after={self.after} HTTP/1.1\r\nHost: {FRONT}\r\nUpgrade: websocket\r\n"
                          f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 101 "):
            self.refused += 1
            return
        self.node = head.split("x-node: ", 1)[1][0]
        self.opened += 1
        while True:
            first, length = await reader.readexactly(2)
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            payload = await reader.readexactly(length)
            if first == 0x81:
                self.hears(*payload.decode().split("\t", 2))
            elif first == 0x89:
                self.send(0x8A, payload)
            elif first == 0x88:
                return

    def is_unsure(self):
        """What has not come back may never come."""
        self.unsure |= self.open
        self.open = set()

    def send(self, kind, payload):
        self.writer.write(bytes([kind, 0x80 | len(payload)]) + bytes(4) + payload)

    def hears(self, position, kind, text):
        self.after = position or self.after
        if kind == "lost":
            self.log.append(None)
            self.is_unsure()
        elif kind == "message":
            name, number = text.split(": ")
            self.log.append((name, int(number)))
            self.seen[name] = int(number)
            if name == self.name:
                self.open.discard(int(number))

    def say(self):
        self.said += 1
        self.open.add(self.said)
        self.send(0x81, str(self.said).encode())

    async def says(self, count):
        """The next numbers. It waits while too many have not come back."""
        for _ in range(count):
            await until(f"{self.name} can speak", lambda: self.node and len(self.open) < WINDOW)
            self.say()
            await asyncio.sleep(0.005)  # a pace, not a wait

    def losses(self):
        return self.log.count(None)


class Machines:
    def __init__(self, *options):
        self.nodes = [Node(n, options) for n in range(3)]
        # Two on each node, of which one speaks.
        self.speakers = [Client(name) for name in ("ada", "bob", "cyd")]
        self.listeners = [Client(name) for name in ("eve", "fay", "gus")]
        self.clients = self.speakers + self.listeners

    async def start(self):
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            await node.is_ready()
        self.haproxy = start("haproxy", "-db", "-f", self.haproxy_config())
        await answers("HAProxy", f"{FRONT}:8080", "/", 200)
        for client in self.clients:
            client.start()
            await until(f"{client.name} is there", lambda: client.node)
        for group in (self.speakers, self.listeners):
            assert sorted(client.node for client in group) == ["a", "b", "c"], [client.node for client in group]

    def haproxy_config(self):
        """The file of the README with other addresses and a third node. Responses say which node it was."""
        lines = []
        for line in open(settings).read().splitlines():
            if line.startswith("    server a"):
                lines += [f"    server {node.name} {node.address}" for node in self.nodes]
                lines.append("    http-response set-header X-Node %s")
            elif not line.startswith("    server b"):
                lines.append(line.replace("127.0.0.1:8080", f"{FRONT}:8080"))
            if line == "defaults":
                # On a busy machine a node that lives may answer later than in the half second of `inter`.
                lines.append("    timeout check 10s")
        path = os.path.join(folder, "haproxy.cfg")
        open(path, "w").write("\n".join(lines) + "\n")
        return path

    def on(self, node):
        return [client for client in self.clients if client.node == node.name]

    def losses(self):
        return sum(client.losses() for client in self.clients)

    async def all_ready(self, wanted=True):
        for node in self.nodes:
            await node.is_ready(wanted)

    async def flow(self, count=50):
        """Each speaker says so many numbers, and then all clients have the last ones. The last one may be lost where a node has
        just been connected again, so further ones follow."""
        await asyncio.gather(*[speaker.says(count) for speaker in self.speakers])
        firsts = {speaker.name: speaker.said for speaker in self.speakers}
        missing = lambda: [(client.name, name) for client in self.clients for name, n in firsts.items() if client.seen.get(name, 0) < n]
        for speaker in self.speakers:
            while any(name == speaker.name for _, name in missing()):
                last = speaker.said
                await until(f"{speaker.name} can speak", lambda: speaker.node and len(speaker.open) < WINDOW)
                speaker.say()
                # Heard by all, or it is time for the next one.
                for _ in range(50):
                    if all(client.seen.get(speaker.name, 0) > last for client in self.clients):
                        break
                    await asyncio.sleep(0.02)
                if speaker.said > firsts[speaker.name] + 1000:
                    fail(f"does not arrive: {missing()}")

    async def who(self, node, *names):
        await answers("who is there", node.address, "/who", (200, ", ".join(sorted(names))))

    def judge(self):
        """Nothing twice, nothing in another order, and a gap only where the client was told, or where no client has the number and its
        speaker knows that a connection ended before the number came back. Returns how many are missing."""
        known = {name: {n for client in self.clients for entry in client.log if entry and entry[0] == name for n in [entry[1]]}
                 for name in (speaker.name for speaker in self.speakers)}
        unsaid = {speaker.name: speaker.unsure - known[speaker.name] for speaker in self.speakers}
        missing = 0
        for client in self.clients:
            last, was_told = {}, set()
            for entry in client.log:
                if not entry:
                    was_told = set(known)
                    continue
                name, number = entry
                if number <= last.get(name, 0):
                    fail(f"{client.name} hears {name} {number} behind {last[name]}")
                gap = set(range(last.get(name, number - 1) + 1, number)) - unsaid[name]
                if gap and name not in was_told:
                    fail(f"{client.name} was not told that it lacks {name} {sorted(gap)[:5]}")
                missing += len(gap)
                last[name] = number
                was_told.discard(name)
        return missing

    def stop(self):
        for task in tasks:
            task.cancel()
        for process in processes:
            process.kill()
            process.wait()
        processes.clear()
        tasks.clear()


def opened(machines):
    return sum(client.opened for client in machines.clients)


async def flowing(machines):
    """Numbers, until all clients have them, and they have begun."""
    before = machines.speakers[0].said
    flow = asyncio.create_task(machines.flow(60))
    await until("numbers flow", lambda: machines.speakers[0].said > before + 20)
    return flow


async def new_page(sees):
    """One that comes for a moment."""
    page = Client("new").start()
    task = tasks.pop()
    await until("a new page is there", lambda: page.node)
    result = await sees(page)
    task.cancel()
    return result


async def where(page):
    return page.node


async def broker_killed(machines, broker, again, name):
    """All nodes lose the broker. Pages stay, new ones come in, and all of it resumes."""
    before, flow = opened(machines), await flowing(machines)
    broker.kill()
    broker.wait()
    await machines.all_ready(False)

    async def sees(page):
        broker = again()
        await machines.all_ready()
        await flow
        await machines.flow()
        await until("the new page hears all", lambda: len(page.seen) == 3)
        return broker
    await answers("a new page", f"{FRONT}:8080", "/", 200)
    broker = await new_page(sees)
    if opened(machines) != before:
        fail("a page was closed")
    ok(f"{name} is killed and started again: nodes say that they are not ready, pages stay, new ones come in, delivery resumes")
    return broker


async def black_hole(machines, nodes, meanwhile):
    """Packets between some nodes and the broker are lost, and no connection ends."""
    before, flow = opened(machines), await flowing(machines)
    for node in nodes:
        node.cable(broker_host, False)
    for node in nodes:
        await node.is_ready(False)
    await meanwhile()
    for node in nodes:
        node.cable(broker_host, True)
    await machines.all_ready()
    await flow
    await machines.flow()
    if opened(machines) != before:
        fail("a page was closed")


async def node_killed(machines, node):
    """Its pages come back by the others, and it takes new ones when it is there again."""
    its, flow = machines.on(node), await flowing(machines)
    node.kill()
    await until("its pages are elsewhere", lambda: all(client.node not in (None, node.name) for client in its))
    await flow
    node.start()
    await node.is_ready()

    # HAProxy notices it, too.
    while await new_page(where) != node.name:
        pass
    await machines.flow()


async def machine_vanishes(machines, node):
    """Both of its cables are out. No connection ends by itself."""
    its = machines.on(node)
    for switch in (balancer_host, broker_host):
        node.cable(switch, False)
    await until("its pages are elsewhere", lambda: all(client.node not in (None, node.name) for client in its))
    await machines.flow()
    for switch in (balancer_host, broker_host):
        node.cable(switch, True)
    await node.is_ready()
    await machines.flow()


async def nothing():
    pass


async def over_redis():
    def again():
        return start("redis-server", "--port", "6379", "--bind", BROKER, "--protected-mode", "no", "--save", "", host=broker_host)
    redis = again()
    machines = Machines("--redis", f"{BROKER}:6379")
    await machines.start()
    a, b, c = machines.nodes
    everyone = [client.name for client in machines.clients]
    await machines.flow()
    for node in machines.nodes:
        await machines.who(node, *everyone)
    if machines.judge():
        fail("numbers are missing without a fault")
    ok("Redis: six pages on three hosts hear all numbers, and each host knows who is there")

    redis = await broker_killed(machines, redis, again, "Redis")
    if not all(client.losses() for client in machines.clients):
        fail("Redis has lost its data, and a page was not told")
    losses, missing = machines.losses(), machines.judge()

    await black_hole(machines, machines.nodes, nothing)
    ok("Redis: packets of all hosts are lost without a word: it is noticed, pages stay, and get all numbers afterwards")

    its = machines.on(c)

    async def meanwhile():
        alive = [client for client in machines.clients if client not in its]
        await machines.who(a, *[client.name for client in alive])
        await until("the others go on", lambda: all(client.seen[speaker.name] >= speaker.said
                    for client in alive for speaker in machines.speakers if speaker in alive))
        # HAProxy notices it, too. Six pages in turn would come to all three.
        while c.name in [await new_page(where) for _ in range(6)]:
            pass
    await black_hole(machines, [c], meanwhile)
    for node in machines.nodes:
        await machines.who(node, *everyone)
    ok("Redis: one host is cut off: its persons are gone and come back, the others go on, its pages miss nothing")

    await node_killed(machines, b)
    for node in machines.nodes:
        await machines.who(node, *everyone)
    ok("Redis: a node is killed: its pages go on by the others, and it takes new ones when it is back")
    await machine_vanishes(machines, a)
    for node in machines.nodes:
        await machines.who(node, *everyone)
    ok("Redis: a machine vanishes without a word: HAProxy notices it, and its pages go on by the others")
    if machines.losses() != losses or machines.judge() != missing:
        fail(f"numbers are missing, though Redis has kept them: {machines.judge() - missing}")
    said = sum(speaker.said for speaker in machines.speakers)
    ok(f"Redis: {said} numbers: none twice, none out of order, the {missing} that pages lack were told when Redis lost its data")
    machines.stop()


async def over_nats():
    def again():
        return start("nats-server", "-a", BROKER, "-p", "4222", host=broker_host)
    nats = again()
    machines = Machines("--nats", f"nats://{BROKER}:4222")
    await machines.start()
    await machines.flow()
    nats = await broker_killed(machines, nats, again, "NATS")

    async def meanwhile():
        for node in machines.nodes:
            speaker, listener = machines.on(node)
            await speaker.says(10)
            last = speaker.said
            await until("a node serves its own pages", lambda: listener.seen.get(speaker.name, 0) >= last)
    await black_hole(machines, machines.nodes, meanwhile)
    ok("NATS: packets of all hosts are lost without a word: it is noticed, and each serves its own pages meanwhile")
    await node_killed(machines, machines.nodes[1])
    ok("NATS: a node is killed: its pages go on by the others, and it takes new ones when it is back")
    missing, said = machines.judge(), sum(speaker.said for speaker in machines.speakers)
    ok(f"NATS: {said} numbers: none twice, none out of order, and pages were told of each of the {missing} that they lack")
    machines.stop()


async def main():
    # Some waits above have no limit of their own.
    for part in (over_redis, over_nats):
        try:
            await asyncio.wait_for(part(), 6 * PATIENCE)
        except Exception:
            traceback.print_exc()
            fail(f"{part.__name__} has not ended well")


try:
    asyncio.run(main())
finally:
    for process in processes:
        process.kill()
