"""The client of .ci/drain: starts the nodes, asks all the time, and drains one node after the other."""

import asyncio, base64, os, signal, subprocess, sys, time

program, nodes = sys.argv[1], dict(zip("abc", sys.argv[2:5]))
PATIENCE = 120  # seconds that nothing takes unless it fails
# The drain ends by a second signal, when the balancer has taken the node out.
DRAIN, SPREAD = 3600, 3
WEBSOCKETS, CLIENTS = 1000, 8
BALANCER = ("10.78.1.1", 9000)
counts, faults, closes, running = {name: 0 for name in nodes}, [], [], {}
over = False

def start(name):
    options = ["--addr", "0.0.0.0", "--port", "8000", "--behind", "x-forwarded", "--trust", "10.78.0.0/16",
               "--drain", str(DRAIN), "--ws-spread", str(SPREAD), "--workers", "1"]
    command = ["ip", "netns", "exec", nodes[name], program, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

async def within(what, is_so):
    until = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > until:
            sys.exit(f"FAILED drain: not within {PATIENCE} s: {what}; {counts}, {faults[:3]}")
        await asyncio.sleep(0.02)

def is_out(name):
    """Whether the balancer sends this node nothing any more: it gets none of 300 requests."""
    seen, since = counts[name], sum(counts.values())
    def none_of_many():
        nonlocal seen, since
        if counts[name] != seen:
            seen, since = counts[name], sum(counts.values())
        return sum(counts.values()) - since >= 300
    return none_of_many

async def head_of(reader):
    return (await reader.readuntil(b"\r\n\r\n")).decode()

async def asks():
    """One kept connection to the balancer, which chooses a node for each request."""
    reader, writer = await asyncio.open_connection(*BALANCER)
    number = 0
    while not over:
        number += 1
        writer.write(f"GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = await head_of(reader)
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields["content-length"]))
        if not head.startswith("HTTP/1.1 200 ") or f"/{number}\n".encode() not in body:
            faults.append(f"{head}{body}")
            return
        counts[fields["x-node"]] += 1
        await asyncio.sleep(0.002)
    writer.close()

async def websocket(state):
    """Open until the node closes it with 1001, and again."""
    while not over:
        reader, writer = await asyncio.open_connection(*BALANCER)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(f"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode())
        head = await head_of(reader)
        if not head.startswith("HTTP/1.1 101 "):
            faults.append(f"no WebSocket: {head}")
            return
        node = head.lower().split("x-node: ")[1][0]
        state["open"] += 1
        while True:
            first, length = await reader.readexactly(2)
            payload = await reader.readexactly(length)
            if first == 0x88:
                break
            if first == 0x89:
                writer.write(bytes([0x8a, 0x80 | length]) + bytes(4) + payload)
        state["open"] -= 1
        closes.append((node, int.from_bytes(payload[:2], "big"), time.monotonic()))
        writer.write(bytes([0x88, 0x80 | length]) + bytes(4) + payload)
        writer.close()

async def serves():
    """Whether the balancer listens, and has a node."""
    try:
        reader, writer = await asyncio.open_connection(*BALANCER)
    except OSError:
        return False
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    line = await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.close()
    return b" 200 " in line

async def guarded(task):
    try:
        await task
    except (OSError, asyncio.IncompleteReadError) as error:
        if not over:
            faults.append(f"cut: {error!r}")

async def main():
    global over
    running.update({name: start(name) for name in nodes})
    until = time.monotonic() + PATIENCE
    while not await serves():
        assert time.monotonic() < until, "no node"
        await asyncio.sleep(0.1)
    tasks = [asyncio.create_task(guarded(asks())) for _ in range(CLIENTS)]
    await within("all nodes serve", lambda: all(counts.values()) or faults)
    state = {"open": 0}
    for _ in range(WEBSOCKETS):
        tasks.append(asyncio.create_task(guarded(websocket(state))))
    await within("all WebSockets are open", lambda: state["open"] == WEBSOCKETS or faults)
    for name in nodes:
        closes.clear()
        running[name].send_signal(signal.SIGTERM)
        none_of_many = is_out(name)
        await within(f"{name} is out", lambda: none_of_many() or faults)
        running[name].send_signal(signal.SIGTERM)
        await within(f"{name} has stopped", lambda: running[name].poll() is not None or faults)
        said = running[name].stdout.read() if running[name].poll() is not None else ""
        if not said.endswith(" drained, 0 aborted\n"):
            faults.append(f"{name}: {said}")
        await within("all WebSockets are open again", lambda: state["open"] == WEBSOCKETS or faults)
        if faults:
            break
        others = [close for close in closes if close[:2] != (name, 1001)]
        assert closes and not others, others[:3]
        times = sorted(at for _, _, at in closes)
        print(f"   {name}: {len(times)} WebSockets closed in {times[-1] - times[0]:.1f} s", flush=True)
        assert len(times) > 100, len(times)
        running[name] = start(name)
        before = counts[name]
        await within(f"{name} serves again", lambda: counts[name] > before or faults)
    over = True
    for task in tasks:
        task.cancel()
    if faults:
        sys.exit(f"FAILED drain: {len(faults)} lost, such as {faults[:3]}")
    print(f"ok drain: {sum(counts.values())} requests, 3 nodes drained and back, 0 lost")
    print(f"ok drain: {WEBSOCKETS} WebSockets, closed and open again")

try:
    asyncio.run(main())
finally:
    for process in running.values():
        process.kill()
