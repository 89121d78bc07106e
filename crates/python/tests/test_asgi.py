"""ASGI 3, case by case from its specification, over the wire. The variable ASGI_SERVER names the server: `peregrine`,
`uvicorn` or `granian`. `asgi_table.py` runs the cases on all of them."""

import json
import os
import random
import signal
import socket
import time
import unittest

from websockets.exceptions import ConnectionClosed, InvalidStatus

from .wire import PATIENCE, Case, Client, Program, eventually, get, websocket

SERVER = os.environ.get("ASGI_SERVER", "peregrine")
APP = "tests.asgi_app:app"
COMMANDS = {
    "peregrine": ["peregrine", APP, "--asgi", "--port", "0", "--root-path", "/base", "--timeout-graceful-shutdown", "{grace}"],
    "uvicorn": ["uvicorn", APP, "--port", "0", "--root-path", "/base", "--lifespan", "on", "--timeout-graceful-shutdown", "{grace}"],
    "granian": ["granian", "--interface", "asgi", "--port", "{port}", "--url-path-prefix", "/base", "--workers-kill-timeout", "{grace}", APP],
}
ADDRESSES = {
    "peregrine": rb"listening on http://([\d.]+):(\d+)",
    "uvicorn": rb"running on http://([\d.]+):(\d+)",
    "granian": rb"Listening at: http://([\d.]+):(\d+)",
}


def free_port():
    """A port that Linux gives to no outgoing connection, so that it is free until a server listens on it."""
    while True:
        port = random.randrange(20_000, 32_000)
        try:
            with socket.create_server(("127.0.0.1", port)):
                return str(port)
        except OSError:
            pass


class Server(Program):
    LISTENING = ADDRESSES[SERVER]

    def __init__(self, grace=30):
        values = {"{port}": free_port(), "{grace}": str(grace)}
        super().__init__("-m", *[values.get(part, part) for part in COMMANDS[SERVER]])

    def serves(self):
        """Waits until it does."""

        def is_up():
            try:
                return get(self.address).status
            except OSError:
                return None

        eventually(is_up)


class Cases(Case):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.__exit__)
        cls.server.serves()

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def get(self, path, **more):
        return get(self.server.address, path, **more)

    def seen(self, case, count=1):
        """What the application has seen, when it is so much."""
        found = []

        def is_there():
            found[:] = json.loads(self.get(f"/seen/{case}").body)
            return len(found) >= count

        until = time.monotonic() + PATIENCE
        while not is_there():
            if time.monotonic() > until:
                raise AssertionError(f"the application has seen {found}")
            time.sleep(0.02)
        return found

    def connect(self, path="/", **more):
        ws = websocket(self.server.address, path, **more)
        self.addCleanup(ws.close)
        return ws


class Http(Cases):
    def test_scope(self):
        scope = json.loads(self.get("/scope/%C3%A9%2F?a=%20", fields="X-A: 1\r\nX-a: \xe9\r\n").body)
        self.assertEqual(
            {key: scope[key] for key in ("type", "http_version", "method", "scheme", "query_string")},
            {"type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "query_string": {"bytes": "a=%20"}},
        )
        self.assertEqual(scope["asgi"]["version"], "3.0")
        headers = [(name["bytes"], value["bytes"]) for name, value in scope["headers"]]
        self.assertEqual([pair for pair in headers if pair[0] == "x-a"], [("x-a", "1"), ("x-a", "\xe9")])
        self.assertEqual(scope["client"][0], "127.0.0.1")
        self.assertEqual(scope["server"], list(self.server.address))

    def test_path_is_decoded(self):
        self.assertEqual(json.loads(self.get("/scope/%C3%A9%2F").body)["path"].removeprefix("/base"), "/scope/\xe9/")

    def test_raw_path(self):
        raw = json.loads(self.get("/scope/%C3%A9%2F?a").body)["raw_path"]["bytes"].removeprefix("/base")
        self.assertEqual(raw, "/scope/%C3%A9%2F")

    def test_root_path(self):
        scope = json.loads(self.get("/scope").body)
        self.assertEqual((scope["root_path"], scope["path"]), ("/base", "/base/scope"))

    def test_state(self):
        one, two = (json.loads(self.get("/state").body) for _ in range(2))
        self.assertEqual((two[0] - one[0], one[1], two[1]), (1, True, True))

    def test_body(self):
        for size in (0, 1, 1000, 3_000_000):
            body = os.urandom(size)
            self.assertTrue(self.get("/echo", method="POST", body=body).body == body)

    def test_chunked_body(self):
        with Client(self.server.address) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            self.assertEqual(client.answer().body, b"abcde")

    def test_body_comes_while_it_arrives(self):
        with Client(self.server.address) as client:
            client.send(b"POST /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
            client.socket.setblocking(False)
            sent, idle, block = 0, 0, b"x" * 65536
            while idle < 40 and sent < 50_000_000:
                try:
                    sent += client.socket.send(block[: 50_000_000 - sent])
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    time.sleep(0.01)
            self.assertLess(sent, 25_000_000, "the server reads no further")
            self.get("/go")
            client.socket.settimeout(PATIENCE)
            while sent < 50_000_000:
                sent += client.socket.send(block[: 50_000_000 - sent])
            self.assertEqual(client.answer().body, b"50000000")

    def test_body_that_is_aborted(self):
        with Client(self.server.address) as client:
            client.send(b"POST /aborted HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nabc")
            self.assertEqual(self.seen("aborted")[0], ["http.request"])
        eventually(lambda: self.seen("aborted")[-1] == ["http.disconnect"])

    def test_response_before_the_body(self):
        with Client(self.server.address) as client:
            client.send(b"POST /refuses HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 1000)
            self.assertEqual(client.answer().status, 409)

    def test_stream(self):
        with Client(self.server.address) as client:
            for _ in range(2):
                answer = client.get("/stream")
                self.assertEqual((answer.body, answer.field("transfer-encoding")), (b"012", "chunked"))

    def test_head(self):
        with Client(self.server.address) as client:
            for path in ("/other", "/stream", "/length?3&abc"):
                answer = client.get(path, method="HEAD")
                self.assertEqual((answer.status, answer.body), (200, b""))
            self.assertEqual(client.get("/other").body, b"other")

    def test_content_length(self):
        self.assertEqual(self.get("/length?3&a,bc").body, b"abc")

    def test_content_length_too_long(self):
        with Client(self.server.address) as client, self.assertRaises(EOFError):
            client.get("/length?4&a,bc")

    def test_content_length_too_short(self):
        with Client(self.server.address) as client:
            try:
                answer = client.get("/length?2&a,bcd")
                self.assertIn((answer.status, answer.body), [(200, b"ab"), (500, answer.body)])
                self.assertTrue(client.get("/other").body == b"other" or client.unread == b"")
            except (EOFError, ConnectionResetError):
                pass

    def test_header_injection(self):
        for path in ("/headers?newline", "/headers?name"):
            try:
                answer = self.get(path)
            except (EOFError, ConnectionResetError):
                continue
            self.assertEqual(answer.status, 500, path)
            self.assertIsNone(answer.field("x-evil"))

    def test_header_lists(self):
        answer = self.get("/headers?two")
        self.assertEqual([value for name, value in answer.fields if name.lower() == "set-cookie"], ["a=1", "b=2"])
        self.assertEqual(self.get("/headers?tuple").field("x-a"), "b")

    def test_exception_is_500(self):
        for path in ("/raise", "/nothing"):
            answer = self.get(path)
            self.assertEqual(answer.status, 500)
            self.assertNotIn(b"of the application", answer.body)

    def test_exception_cuts_the_body(self):
        for path in ("/half?raise", "/half"):
            with Client(self.server.address) as client, self.assertRaises((EOFError, ConnectionResetError)):
                client.get(path)

    def test_wrong_messages_raise(self):
        for case in ("twice", "early", "unknown"):
            self.assertEqual(self.get(f"/{case}").status, 200)
            self.seen(case)

    def test_receive_after_the_response(self):
        with Client(self.server.address) as client:
            client.get("/after")
            self.assertEqual(self.seen("after"), [["http.disconnect"]])

    def test_disconnect_while_waiting(self):
        with Client(self.server.address) as client:
            client.send(b"GET /waits HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(self.seen("waits"), [["ready"]])
        self.assertEqual(self.seen("waits", 2)[1], ["http.disconnect"])

    def test_send_after_disconnect_raises_oserror(self):
        with Client(self.server.address) as client:
            client.send(b"GET /endless?oserror HTTP/1.1\r\nHost: a\r\n\r\n")
            client.take(1000)
        seen = self.seen("endless-oserror", 2)
        self.assertIn(["http.disconnect"], seen)
        self.assertIn(["OSError", True], seen)

    def test_send_waits_for_the_client(self):
        with Client(self.server.address) as client:
            client.send(b"GET /endless?waits HTTP/1.1\r\nHost: a\r\n\r\n")
            client.take(1000)
            before, sent = -1, 0
            while before != sent or not sent:
                before = sent
                time.sleep(0.3)
                sent = (json.loads(self.get("/seen/endless-waits-sent").body) or [0])[0]
            self.assertLess(sent, 1000)

    def test_others_are_served_meanwhile(self):
        with Client(self.server.address) as client:
            client.send(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
            self.assertEqual(self.seen("sleep"), [["begun"]])
            self.assertEqual(client.answer().body, b"slept")

    def test_pipelining(self):
        with Client(self.server.address) as client:
            client.send(b"GET /other HTTP/1.1\r\nHost: a\r\n\r\n" * 30)
            self.assertEqual([client.answer().body for _ in range(30)], [b"other"] * 30)

    def test_expect_continue(self):
        with Client(self.server.address) as client:
            client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            self.assertTrue(client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100"))
            client.send(b"abc")
            self.assertEqual(client.answer().body, b"abc")


class WebSocket(Cases):
    def test_scope_and_subprotocol(self):
        ws = self.connect("/scope/%C3%A9?q", subprotocols=["one", "two"], additional_headers={"X-A": "1"})
        self.assertEqual((ws.subprotocol, ws.response.headers.get("x-a")), ("two", "b"))
        scope = json.loads(ws.recv(PATIENCE))
        self.assertEqual((scope["type"], scope["scheme"], scope["subprotocols"]), ("websocket", "ws", ["one", "two"]))
        self.assertEqual(scope["query_string"], {"bytes": "q"})
        self.assertIn([{"bytes": "x-a"}, {"bytes": "1"}], scope["headers"])

    def test_messages(self):
        ws = self.connect()
        for message in ("text\u20ac", b"bytes\xff", "", b"", "x" * 200_000):
            ws.send(message)
            self.assertEqual(ws.recv(PATIENCE), message)

    def test_many_messages_at_once(self):
        ws = self.connect()
        for n in range(300):
            ws.send(str(n))
        self.assertEqual([ws.recv(PATIENCE) for _ in range(300)], [str(n) for n in range(300)])

    def test_refusal_is_403(self):
        with self.assertRaises(InvalidStatus) as raised:
            self.connect("/refused")
        self.assertEqual(raised.exception.response.status_code, 403)

    def test_denial_response(self):
        with self.assertRaises(InvalidStatus) as raised:
            self.connect("/denied")
        response = raised.exception.response
        self.assertEqual((response.status_code, response.body), (401, b"who are you"))

    def test_exception_before_accept(self):
        with self.assertRaises(InvalidStatus) as raised:
            self.connect("/raise")
        self.assertEqual(raised.exception.response.status_code, 500)

    def closed(self, path):
        ws = self.connect(path)
        with self.assertRaises(ConnectionClosed) as raised:
            ws.recv(PATIENCE)
        received = raised.exception.rcvd
        return (received.code, received.reason) if received else (1006, "")

    def test_exception_after_accept(self):
        self.assertEqual(self.closed("/raises")[0], 1011)

    def test_return_closes(self):
        self.assertEqual(self.closed("/returns")[0], 1000)

    def test_close_code_and_reason(self):
        self.assertEqual(self.closed("/closes"), (4001, "enough"))

    def test_disconnect_after_own_close(self):
        self.closed("/closes")
        seen = [item for item in self.seen("closes", 2)]
        self.assertIn(["websocket.disconnect", 4001], seen)

    def test_disconnect_has_code_and_reason(self):
        self.connect().close(4002, "bye")
        eventually(lambda: ["websocket.disconnect", 4002, "bye"] in json.loads(self.get("/seen/ws").body))

    def test_disconnect_without_a_close_frame(self):
        before = json.loads(self.get("/seen/ws").body)
        self.connect().socket.shutdown(socket.SHUT_RDWR)
        self.assertIn(self.seen("ws", len(before) + 1)[-1][1], (1005, 1006))

    def test_send_after_disconnect_raises_oserror(self):
        self.connect("/gone").close()
        self.assertIn(["OSError"], self.seen("gone", 2))

    def test_send_waits_for_the_client(self):
        ws = self.connect("/flood", max_queue=1)
        before, sent = -1, 0
        while before != sent or not sent:
            before = sent
            time.sleep(0.3)
            sent = json.loads(self.get("/seen/flood").body or b"[0]")
            sent = sent[0] if sent else 0
        self.assertLess(sent, 1500)
        self.assertEqual(len(ws.recv(PATIENCE)), 65536)

    def test_a_slow_accept(self):
        self.closed("/slowly")


class Stop(Case):
    def server(self, **more):
        server = Server(**more)
        self.addCleanup(server.__exit__)
        server.serves()
        return server

    def test_lifespan(self):
        server = self.server()
        server.says(b"LIFESPAN lifespan.startup")
        self.assertIn(server.stop(), (0, -signal.SIGTERM))
        self.assertEqual(server.log.count(b"LIFESPAN lifespan.shutdown"), 1)

    def test_a_request_gets_its_response(self):
        server = self.server()
        with Client(server.address) as client:
            client.send(b"GET /sleep HTTP/1.1\r\nHost: a\r\n\r\n")
            eventually(lambda: json.loads(get(server.address, "/seen/sleep").body))
            server.signal()
            self.assertEqual(client.answer().body, b"slept")
        server.wait()

    def test_websockets_are_closed(self):
        server = self.server()
        with websocket(server.address) as ws:
            ws.send("a")
            ws.recv(PATIENCE)
            server.signal()
            with self.assertRaises(ConnectionClosed) as raised:
                ws.recv(PATIENCE)
            self.assertIsNotNone(raised.exception.rcvd, "with a close frame")
            self.assertIn(raised.exception.rcvd.code, (1001, 1012))
        self.assertIn(server.wait(), (0, -signal.SIGTERM))
        self.assertEqual(server.log.count(b"LIFESPAN lifespan.shutdown"), 1)

    def test_endless_responses_do_not_hold_it_up(self):
        server = self.server(grace=3)
        with Client(server.address) as client:
            client.send(b"GET /endless?stop HTTP/1.1\r\nHost: a\r\n\r\n")
            client.take(1000)
            self.assertIn(server.stop(), (0, -signal.SIGTERM))
        self.assertEqual(server.log.count(b"LIFESPAN lifespan.shutdown"), 1)


if __name__ == "__main__":
    unittest.main()
