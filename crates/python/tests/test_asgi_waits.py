"""What an ASGI application waits for: cancelled waits, several at once, and clients that are slow or gone."""

import asyncio
import threading
import unittest

from websockets.exceptions import ConnectionClosed

from .wire import PATIENCE, Client, eventually, serving, websocket

HANDSHAKE = (
    b"GET %s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


async def answer(send, body=b""):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def cancelled(awaitable):
    """Waits for it, for a moment."""
    task = asyncio.ensure_future(awaitable)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    return task.cancelled()


class CancelledWhenDone:
    """Awaits a `receive` whose task is cancelled in the moment in which there is a message."""

    def __init__(self, awaitable):
        self.awaitable = awaitable

    def __await__(self):
        steps = self.awaitable.__await__()
        future = next(steps)
        future.add_done_callback(lambda _, task=asyncio.current_task(): task.cancel())
        yield future
        while True:
            yield next(steps)


class Cases(unittest.TestCase):
    """The application of a path is the method `http_PATH` or `websocket_PATH`."""

    options = {}

    def setUp(self):
        self.seen = []
        self.go = None
        self.running = self.enterContext(serving(self.app, "asgi", **self.options))

    # For Python before 3.11.
    def enterContext(self, context):
        self.addCleanup(context.__exit__, None, None, None)
        return context.__enter__()

    async def app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            raise RuntimeError("none")
        if self.go is None:
            self.go = asyncio.Event()
        await getattr(self, scope["type"] + scope["path"].replace("/", "_"))(receive, send)

    async def http_go(self, receive, send):
        self.go.set()
        await answer(send)

    async def websocket_go(self, receive, send):
        await self.accept(receive, send)
        await receive()
        self.go.set()

    async def accept(self, receive, send):
        await receive()
        await send({"type": "websocket.accept"})

    def connect(self, path, **more):
        ws = websocket(self.running.address, path, max_size=None, **more)
        self.addCleanup(ws.close)
        return ws

    def client(self):
        return self.enterContext(Client(self.running.address))

    def see(self, *what):
        eventually(lambda: len(self.seen) >= len(what))
        self.assertEqual(self.seen, list(what))

    def go_on(self):
        """After what the WebSocket thread has got before."""
        self.connect("/go").send("go")


class CancelledWaits(Cases):
    # One thread, so that one request comes after the other.
    options = {"runtime_threads": 1}

    async def websocket_once(self, receive, send):
        await self.accept(receive, send)
        self.seen.append(await cancelled(receive()))
        await self.go.wait()
        while True:
            message = await receive()
            self.seen.append(message.get("text") or message["type"])
            if message["type"] == "websocket.disconnect":
                return

    def test_messages(self):
        ws = self.connect("/once")
        self.see(True)
        ws.send("one")
        ws.send("two")
        self.go_on()
        self.see(True, "one", "two")

    def test_disconnect(self):
        ws = self.connect("/once")
        self.see(True)
        ws.close()
        self.go_on()
        self.see(True, "websocket.disconnect")

    async def websocket_late(self, receive, send):
        await self.accept(receive, send)

        async def cancelled_late():
            await CancelledWhenDone(receive())

        task = asyncio.ensure_future(cancelled_late())
        # The task begins first.
        await asyncio.sleep(0)
        self.seen.append("waits")
        await asyncio.wait([task])
        self.seen.append(task.cancelled())
        self.seen.append((await receive())["text"])

    def test_message_that_has_come(self):
        ws = self.connect("/late")
        self.see("waits")
        ws.send("one")
        self.see("waits", True, "one")

    async def http_upload(self, receive, send):
        body, more = b"", True
        while more:
            self.seen.append(await cancelled(receive()))
            await self.go.wait()
            self.go.clear()
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await answer(send, body)

    def test_upload(self):
        upload, other = self.client(), self.client()
        upload.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for count, chunk in enumerate((b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"), 1):
            self.see(*[True] * count)
            upload.send(chunk)
            other.get("/go")
        self.assertEqual(upload.answer().body, b"abcdef")

    async def http_leaves(self, receive, send):
        await receive()
        self.seen.append(await cancelled(receive()))
        await self.go.wait()
        self.seen.append((await receive())["type"])

    def test_request(self):
        client, other = self.client(), self.client()
        client.send(b"GET /leaves HTTP/1.1\r\nHost: a\r\n\r\n")
        self.see(True)
        client.close()
        other.get("/go")
        self.see(True, "http.disconnect")


class SeveralWaits(Cases):
    async def websocket_receives(self, receive, send):
        await self.accept(receive, send)

        async def one():
            return (await receive())["text"]

        tasks = [asyncio.ensure_future(one()) for _ in range(3)]
        self.seen.append("waits")
        await send({"type": "websocket.send", "text": ",".join(sorted(await asyncio.gather(*tasks)))})

    def test_receive_of_a_websocket(self):
        ws = self.connect("/receives")
        self.see("waits")
        for text in "abc":
            ws.send(text)
        self.assertEqual(ws.recv(PATIENCE), "a,b,c")

    async def http_receives(self, receive, send):
        await receive()
        tasks = [asyncio.ensure_future(receive()) for _ in range(3)]
        await asyncio.sleep(0)
        await answer(send)
        self.seen.extend(message["type"] for message in await asyncio.gather(*tasks))

    def test_receive_of_a_request(self):
        self.client().get("/receives")
        self.see(*["http.disconnect"] * 3)

    async def websocket_sends(self, receive, send):
        await self.accept(receive, send)

        async def some():
            for _ in range(4):
                await send({"type": "websocket.send", "bytes": b"x" * 200_000})

        await asyncio.gather(*[some() for _ in range(5)])
        await send({"type": "websocket.send", "text": "done"})

    def test_send_of_a_websocket(self):
        ws = self.connect("/sends")
        self.assertEqual([len(ws.recv(PATIENCE)) for _ in range(20)], [200_000] * 20)
        self.assertEqual(ws.recv(PATIENCE), "done")


class Backlog(Cases):
    COUNT, SIZE = 2000, 150_000

    async def websocket_large(self, receive, send):
        await self.accept(receive, send)
        for _ in range(self.COUNT):
            await send({"type": "websocket.send", "bytes": b"x" * self.SIZE})

    def test_send_to_a_fast_client(self):
        client = self.client()
        client.send(HANDSHAKE % b"/large")
        client.until(b"\r\n\r\n")
        left, buffer = self.COUNT * (self.SIZE + 10) - len(client.unread), bytearray(1 << 20)
        while left > 0:
            count = client.socket.recv_into(buffer, min(left, len(buffer)))
            self.assertGreater(count, 0)
            left -= count


class Handshakes(Cases):
    # Of these, 90 of 100 may be WebSockets.
    options = {"limit_connections": 8}

    def handshake(self, path):
        client = self.client()
        client.send(HANDSHAKE % path)
        return client

    async def websocket_counted(self, receive, send):
        await receive()
        try:
            await send({"type": "websocket.accept"})
        except OSError as error:
            self.seen.append(type(error).__name__)
            raise
        while (await receive())["type"] != "websocket.disconnect":
            pass

    def test_too_many(self):
        statuses = []
        while 503 not in statuses:
            statuses.append(self.handshake(b"/counted").answer().status)
        self.assertEqual(set(statuses), {101, 503})
        self.see("ClientDisconnected")

    async def websocket_forgets(self, receive, send):
        await receive()
        send({"type": "websocket.accept"})

    def test_an_accept_that_is_not_awaited(self):
        ws = self.connect("/forgets")
        with self.assertRaises(ConnectionClosed) as raised:
            ws.recv(PATIENCE)
        self.assertEqual(raised.exception.rcvd.code, 1000)

    async def websocket_denies(self, receive, send):
        await receive()
        headers = [(b"www-authenticate", b"Basic"), (b"content-type", b"image/x")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"\xff", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"\x00"})

    def test_a_refusal_has_any_fields_and_bytes(self):
        answer = self.handshake(b"/denies").answer()
        self.assertEqual((answer.status, answer.body), (401, b"\xff\x00"))
        self.assertEqual((answer.field("www-authenticate"), answer.field("content-type")), ("Basic", "image/x"))

    async def websocket_badly(self, receive, send):
        await receive()
        try:
            await send({"type": "websocket.accept", "subprotocol": "not offered"})
        except OSError as error:
            self.seen.append(type(error).__name__)
            raise

    def test_an_accept_that_is_not_valid(self):
        self.assertEqual(self.handshake(b"/badly").answer().status, 500)
        self.see("ClientDisconnected")

    async def websocket_left(self, receive, send):
        self.seen.append((await receive())["type"])
        self.seen.append((await receive())["type"])
        try:
            await send({"type": "websocket.accept"})
        except OSError as error:
            self.seen.append(type(error).__name__)

    def test_a_client_that_leaves_before_the_decision(self):
        client = self.handshake(b"/left")
        self.see("websocket.connect")
        client.close()
        self.see("websocket.connect", "websocket.disconnect", "ClientDisconnected")

    async def websocket_decides(self, receive, send):
        self.seen.append("asked")
        await self.go.wait()
        await self.accept(receive, send)

    async def http_idle(self, receive, send):
        await answer(send)

    def test_the_thread_goes_on(self):
        clients = [self.handshake(b"/decides") for _ in range(3)]
        self.see(*["asked"] * 3)
        self.assertEqual(self.client().get("/idle").status, 200)
        self.client().get("/go")
        for client in clients:
            self.assertEqual(client.answer().status, 101)


class SlowReceive(Cases):
    async def websocket_slow(self, receive, send):
        await self.accept(receive, send)
        await self.go.wait()
        count = 0
        while (await receive()).get("text") != "end":
            count += 1
        await send({"type": "websocket.send", "text": str(count)})

    def test_the_client_waits(self):
        ws = self.connect("/slow")
        sent, message = [], b"x" * 65536

        def flood():
            # Many times what the server and the system keep.
            for _ in range(2000):
                ws.send(message)
                sent.append(1)
            ws.send("end")

        thread = threading.Thread(target=flood)
        thread.start()
        before = -1
        while before != len(sent) or not sent:
            before = len(sent)
            thread.join(0.3)
        self.assertLess(len(sent), 1500)
        self.client().get("/go")
        self.assertEqual(ws.recv(PATIENCE), "2000")
        thread.join(PATIENCE)


class Places(Cases):
    options = {"limit_concurrency": 2}

    async def http_keeps(self, receive, send):
        self.seen.append(send)
        await answer(send)

    def test_a_request_that_has_ended_has_none(self):
        client = self.client()
        self.assertEqual([client.get("/keeps").status for _ in range(5)], [200] * 5)


if __name__ == "__main__":
    unittest.main()
