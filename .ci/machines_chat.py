"""The client of .ci/machines_chat: two nodes of a chat, HAProxy before them, and two pages in Chromium."""

import itertools, json, os, socket, subprocess, sys, time, urllib.error, urllib.request
from browser import caller, session
from process import free_port

driver, chat, settings, folder = sys.argv[1:]
PATIENCE = 120  # seconds that nothing takes unless it fails
processes = []


def until(what, is_so):
    end = time.monotonic() + PATIENCE
    while not (result := is_so()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return result


def start(*command):
    log = open(os.path.join(folder, f"log-{len(processes)}"), "w")
    processes.append(subprocess.Popen(command, stdout=log, stderr=log))
    return processes[-1]


def listens(port):
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


call = caller(driver, PATIENCE)


class Page:
    def __init__(self, name, url):
        args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}/{name}-{url[-4:]}"]
        options = {"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": args}}}}
        self.path, self.name = session(call, options), name
        call("POST", self.path + "/url", {"url": f"{url}?name={name}"})

    def run(self, script):
        return call("POST", self.path + "/execute/sync", {"script": script, "args": []})

    def has(self, element, text):
        until(f"{self.name}: {element} is {text!r}", lambda: self.run(f"return document.getElementById('{element}').textContent") == text)

    def say(self, text):
        self.run(f"document.getElementById('text').value = {json.dumps(text)}; document.getElementById('form').requestSubmit()")

    def lines(self):
        return self.run("return [...document.querySelectorAll('li')].map(line => line.textContent)")

    def hears(self, *texts):
        """The last lines, each once."""
        until(f"{self.name} hears {texts}", lambda: self.lines()[-len(texts):] == list(texts))
        for text in texts:
            assert self.lines().count(text) == 1, f"{self.name}: {text} came twice"

    def close(self):
        call("DELETE", self.path)


numbers = itertools.count(1)


def converse(pages):
    """Until all pages hear each other: the page of a node that was killed may not have noticed it yet, and what it says is lost."""
    def hear_each_other():
        number = next(numbers)
        for page in pages:
            page.say(f"attempt {number}")
        for _ in range(20):
            if all(f"{other.name}: attempt {number}" in page.lines() for page in pages for other in pages):
                return True
            time.sleep(0.05)
        return False
    until("the pages hear each other", hear_each_other)


class Machines:
    """Two nodes and HAProxy, with the file of the README: only the ports are others."""

    def __init__(self, *options):
        self.options, self.ports = options, [free_port() for _ in range(2)]
        self.nodes = [self.start(port) for port in self.ports]
        self.front = free_port()
        # On a busy machine a node that lives may answer later than in the half second of `inter`.
        text = open(settings).read().replace("defaults\n", "defaults\n    timeout check 10s\n")
        for port, own in [(8080, self.front), (8081, self.ports[0]), (8082, self.ports[1])]:
            assert f"127.0.0.1:{port}" in text
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
        path = os.path.join(folder, f"{self.front}.cfg")
        open(path, "w").write(text)
        self.haproxy = start("haproxy", "-f", path)
        until("HAProxy and a node", lambda: listens(self.front) and get(self.front, "/health/readyz")[0] == 200)
        for port in self.ports:
            until("a node is ready", lambda: get(port, "/health/readyz")[0] == 200)
        self.url = f"http://127.0.0.1:{self.front}/"

    def start(self, port):
        node = start(chat, *self.options, "--port", str(port), "--lease-ms", "2000")
        until("a node listens", lambda: listens(port))
        return node

    def stop(self):
        for process in [self.haproxy, *self.nodes]:
            process.kill()
            process.wait()


def over_redis():
    port = free_port()
    redis = start("redis-server", "--port", str(port), "--save", "")
    until("Redis", lambda: listens(port))
    machines = Machines("--redis", f"127.0.0.1:{port}")
    ada, bob = Page("ada", machines.url), Page("bob", machines.url)
    for page in (ada, bob):
        page.has("state", "connected")
        page.has("who", "ada, bob")
    print("ok machines_chat: both pages see who is there, on two nodes", flush=True)
    ada.say("one")
    bob.hears("ada: one")
    bob.say("two")
    for page in (ada, bob):
        page.hears("ada: one", "bob: two")
    # Each node in turn is killed: the page that was on it comes back by the other one.
    for n in range(2):
        first, second = f"three {n}", f"four {n}"
        machines.nodes[n].kill()
        machines.nodes[n].wait()
        converse([ada, bob])
        ada.say(first)
        bob.hears(f"ada: {first}")
        machines.nodes[n] = machines.start(machines.ports[n])
        until("it is ready", lambda: get(machines.ports[n], "/health/readyz")[0] == 200)
        bob.say(second)
        for page in (ada, bob):
            page.hears(f"ada: {first}", f"bob: {second}")
            page.has("who", "ada, bob")
    assert not any("missing" in line for page in (ada, bob) for line in page.lines()), (ada.lines(), bob.lines())
    print("ok machines_chat: a node is killed, its pages go on by the other one, and no line is missing or twice", flush=True)
    late = Page("late", machines.url)
    late.hears(*ada.lines()[-40:])
    late.has("who", "ada, bob, late")
    late.close()
    ada.has("who", "ada, bob")
    print("ok machines_chat: a page that comes gets the history, and is gone when it is closed", flush=True)
    redis.kill()
    redis.wait()
    until("no node is ready", lambda: all(get(port, "/health/readyz")[0] == 503 for port in machines.ports))
    ada.has("state", "connected")
    print("ok machines_chat: without Redis the nodes say that they are not ready, and pages stay", flush=True)
    for page in (ada, bob):
        page.close()
    machines.stop()


def over_nats():
    port = free_port()
    start("nats-server", "-a", "127.0.0.1", "-p", str(port))
    until("NATS", lambda: listens(port))
    machines = Machines("--nats", f"nats://127.0.0.1:{port}")
    pages = [Page(name, machines.url) for name in ("eve", "fay")]
    for page in pages:
        page.has("state", "connected")
    # A subscription of another node may need a moment.
    converse(pages)
    assert not any("missing" in line for page in pages for line in page.lines())
    machines.nodes[0].kill()
    machines.nodes[0].wait()
    until("a page was told", lambda: any("some messages may be missing here" in page.lines() for page in pages))
    converse(pages)
    pages[1].say("last")
    pages[0].hears("fay: last")
    print("ok machines_chat: over NATS lines reach the other node, and a page that comes back is told", flush=True)
    for page in pages:
        page.close()
    machines.stop()


try:
    over_redis()
    over_nats()
except BaseException:
    for name in sorted(name for name in os.listdir(folder) if name.startswith("log-")):
        print(f"---- {name}:", open(os.path.join(folder, name)).read()[-1500:], sep="\n", flush=True)
    raise
finally:
    for process in processes:
        if process.poll() is None:
            process.kill()
