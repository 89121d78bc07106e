"""The application of the ASGI cases. What it sees it keeps in `SEEN`, which a client reads as JSON from `/seen/CASE`."""

import asyncio
import json

SEEN = {}
LIFESPAN = []


def note(case, *what):
    SEEN.setdefault(case, []).append(list(what))


def plain(value):
    if isinstance(value, bytes):
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if isinstance(key, str)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


async def answer(send, body=b"", status=200, headers=()):
    await send({"type": "http.response.start", "status": status, "headers": list(headers)})
    await send({"type": "http.response.body", "body": body})


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(scope, receive, send)
    path = scope["path"].removeprefix("/base")
    case = path.split("/")[1]
    if case == "seen":
        return await answer(send, json.dumps(SEEN.get(path.split("/")[2], [])).encode())
    handler = globals().get(f"{scope['type']}_{case}")
    if handler is None:
        handler = globals()[f"{scope['type']}_other"]
    await handler(scope, receive, send)


async def lifespan(scope, receive, send):
    scope["state"]["shared"] = {"n": 0}
    while True:
        message = await receive()
        print("LIFESPAN", message["type"], flush=True)
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def http_other(scope, receive, send):
    await answer(send, b"other")


async def http_scope(scope, receive, send):
    await answer(send, json.dumps(plain(scope)).encode())


async def http_state(scope, receive, send):
    scope["state"]["shared"]["n"] += 1
    is_own = "own" not in scope["state"]
    scope["state"]["own"] = 1
    await answer(send, json.dumps([scope["state"]["shared"]["n"], is_own]).encode())


async def http_echo(scope, receive, send):
    body, messages = b"", 0
    while True:
        message = await receive()
        assert message["type"] == "http.request", message
        body += message.get("body", b"")
        messages += 1
        if not message.get("more_body", False):
            break
    note("echo", len(body), messages)
    await answer(send, body)


async def http_stream(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for n in range(3):
        await send({"type": "http.response.body", "body": b"%d" % n, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body"})


async def http_length(scope, receive, send):
    declared, pieces = scope["query_string"].split(b"&")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", declared)]})
    for piece in pieces.split(b","):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body"})


async def http_headers(scope, receive, send):
    pairs = {
        b"newline": [(b"x-a", b"b\r\nx-evil: 1")], b"name": [(b"x a", b"b")], b"two": [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")],
        b"tuple": [[b"x-a", b"b"]],
    }
    await answer(send, b"ok", headers=pairs[scope["query_string"]])


async def http_raise(scope, receive, send):
    raise ValueError("of the application")


async def http_nothing(scope, receive, send):
    pass


async def http_half(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    if scope["query_string"] == b"raise":
        raise ValueError("of the application")


async def http_twice(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    try:
        await send({"type": "http.response.start", "status": 200, "headers": []})
    except Exception as error:
        note("twice", type(error).__name__)
    await send({"type": "http.response.body", "body": b"once"})


async def http_early(scope, receive, send):
    try:
        await send({"type": "http.response.body", "body": b"x"})
    except Exception as error:
        note("early", type(error).__name__)
    await answer(send, b"ok")


async def http_unknown(scope, receive, send):
    try:
        await send({"type": "http.unknown"})
    except Exception as error:
        note("unknown", type(error).__name__)
    await answer(send, b"ok")


async def http_after(scope, receive, send):
    await receive()
    await answer(send, b"ok")
    message = await asyncio.wait_for(receive(), 60)
    note("after", message["type"])


async def http_waits(scope, receive, send):
    """Waits for the end of the client before it has sent anything."""
    await receive()
    note("waits", "ready")
    message = await receive()
    note("waits", message["type"])
    try:
        await answer(send, b"late")
    except OSError:
        note("waits", "OSError")
    else:
        note("waits", "sent")


async def http_endless(scope, receive, send):
    """Sends until the client has gone."""
    case = "endless-" + scope["query_string"].decode()
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    sent = 0

    async def listen():
        note(case, (await receive())["type"])

    listening = asyncio.ensure_future(listen())
    try:
        for _ in range(20_000):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            sent += 1
            SEEN[case + "-sent"] = [sent]
    except OSError as error:
        note(case, "OSError", type(error).__name__ != "OSError")
    except Exception as error:
        note(case, type(error).__name__)
    else:
        note(case, "never stopped")
    await asyncio.wait_for(listening, 60)


async def http_slowly(scope, receive, send):
    """Takes the body after a while."""
    message = await receive()
    while not SEEN.get("go"):
        await asyncio.sleep(0.01)
    total = len(message["body"])
    while message.get("more_body"):
        message = await receive()
        total += len(message.get("body", b""))
    await answer(send, b"%d" % total)


async def http_go(scope, receive, send):
    SEEN["go"] = [1]
    await answer(send)


async def http_refuses(scope, receive, send):
    """Responds without taking the body."""
    await answer(send, b"no", 409)


async def http_aborted(scope, receive, send):
    while True:
        message = await receive()
        note("aborted", message["type"])
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return


async def http_sleep(scope, receive, send):
    note("sleep", "begun")
    await asyncio.sleep(0.7)
    await answer(send, b"slept")


async def websocket_other(scope, receive, send):
    """Sends back what comes."""
    message = await receive()
    assert message["type"] == "websocket.connect", message
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note("ws", message["type"], message.get("code"), message.get("reason"))
            return
        kind = "text" if message.get("text") is not None else "bytes"
        await send({"type": "websocket.send", kind: message[kind]})


async def websocket_scope(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "two", "headers": [(b"x-a", b"b")]})
    await send({"type": "websocket.send", "text": json.dumps(plain(scope))})
    await send({"type": "websocket.close"})


async def websocket_refused(scope, receive, send):
    await receive()
    await send({"type": "websocket.close"})


async def websocket_denied(scope, receive, send):
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        return await send({"type": "websocket.close"})
    await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "websocket.http.response.body", "body": b"who ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"are you"})


async def websocket_raise(scope, receive, send):
    await receive()
    raise ValueError("of the application")


async def websocket_raises(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    raise ValueError("of the application")


async def websocket_returns(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})


async def websocket_closes(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": 4001, "reason": "enough"})
    try:
        await send({"type": "websocket.send", "text": "never"})
    except Exception as error:
        note("closes", "send", type(error).__name__)
    message = await asyncio.wait_for(receive(), 60)
    note("closes", message["type"], message.get("code"))


async def websocket_gone(scope, receive, send):
    """Sends to a client that has gone."""
    await receive()
    await send({"type": "websocket.accept"})
    message = await receive()
    note("gone", message["type"], message.get("code"), message.get("reason"))
    try:
        await send({"type": "websocket.send", "text": "never"})
    except OSError:
        note("gone", "OSError")
    except Exception as error:
        note("gone", type(error).__name__)


async def websocket_flood(scope, receive, send):
    """Sends more than a client takes."""
    await receive()
    await send({"type": "websocket.accept"})
    try:
        for n in range(2000):
            await send({"type": "websocket.send", "bytes": b"x" * 65536})
            SEEN["flood"] = [n]
    except OSError:
        note("flooded", "OSError")


async def websocket_slowly(scope, receive, send):
    await asyncio.sleep(0.5)
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close"})
