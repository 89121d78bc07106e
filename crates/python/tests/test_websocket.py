"""WebSockets of native handlers, with `websockets` as the client."""

import socket
import threading
import unittest

from websockets.exceptions import ConnectionClosed, InvalidStatus

from .wire import PATIENCE, Client, eventually, serving, websocket


class Chat:
    def __init__(self):
        self.closed = []
        self.opened = threading.Semaphore(0)

    def accept(self, req):
        return {"/refused": 403, "/other": False, "/protocol": "chat", "/raise": None}.get(req.path, True)

    def open(self, ws):
        ws.subscribe("room")
        ws.send(f"welcome {ws.client[0]}")
        self.opened.release()

    def message(self, ws, message):
        match message:
            case "close": ws.close(4000, "asked")
            case "raise": raise ValueError("of a hook")
            case "all": ws.publish("room", "to all")
            case "others": ws.publish("room", "to others", own=False)
            case "leave": ws.unsubscribe("room")
            case "topics":
                try:
                    for n in range(100):
                        ws.subscribe(str(n))
                except ValueError as error:
                    ws.send(str(error))
            case "thread":
                threading.Thread(target=lambda: ws.send(b"from a thread")).start()
            case _: ws.send(message)

    def close(self, ws, code, reason):
        self.closed.append((code, reason, ws.is_open, ws.send("never")))


class WebSockets(unittest.TestCase):
    def setUp(self):
        self.chat = Chat()
        self.running = self.enterContext(serving(lambda req, res: "plain", websocket=self.chat))

    # unittest has it from 3.11 on.
    def enterContext(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def connect(self, path="/", **more):
        return self.enterContext(websocket(self.running.address, path, **more))

    def open(self, path="/", **more):
        ws = self.connect(path, **more)
        self.assertEqual(ws.recv(PATIENCE), "welcome 127.0.0.1")
        return ws

    def test_messages(self):
        ws = self.open()
        for message in ("t\u20ac", b"\x00\xff", "", b"", "x" * 100_000):
            ws.send(message)
            self.assertEqual(ws.recv(PATIENCE), message)

    def test_topics(self):
        one, two = self.open(), self.open()
        one.send("all")
        self.assertEqual([ws.recv(PATIENCE) for ws in (one, two)], ["to all"] * 2)
        one.send("others")
        self.assertEqual(two.recv(PATIENCE), "to others")
        one.send("next")
        self.assertEqual(one.recv(PATIENCE), "next")
        two.send("leave")
        two.send("left")
        self.assertEqual(two.recv(PATIENCE), "left")
        self.assertTrue(self.running.hub.publish("room", b"from outside"))
        self.assertEqual(one.recv(PATIENCE), b"from outside")
        self.running.hub.broadcast("to everyone")
        self.assertEqual([ws.recv(PATIENCE) for ws in (one, two)], ["to everyone"] * 2)
        self.assertEqual(self.running.hub.connections, 2)
        one.send("topics")
        self.assertIn("topics", one.recv(PATIENCE))

    def test_other_threads_send(self):
        ws = self.open()
        ws.send("thread")
        self.assertEqual(ws.recv(PATIENCE), b"from a thread")

    def test_closes(self):
        ws = self.open()
        ws.send("close")
        with self.assertRaises(ConnectionClosed) as raised:
            ws.recv(PATIENCE)
        self.assertEqual((raised.exception.rcvd.code, raised.exception.rcvd.reason), (4000, "asked"))
        eventually(lambda: self.chat.closed)
        self.assertEqual(self.chat.closed, [(4000, "asked", False, False)])
        ws = self.open()
        ws.close(4001, "bye")
        eventually(lambda: len(self.chat.closed) == 2)
        self.assertEqual(self.chat.closed[1][:2], (4001, "bye"))
        ws = self.open()
        ws.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: len(self.chat.closed) == 3)
        self.assertEqual(self.chat.closed[2][0], 1006)

    def test_handshakes(self):
        self.assertEqual(self.open("/protocol", subprotocols=["a", "chat"]).subprotocol, "chat")
        for path, status in (("/refused", 403), ("/other", 200)):
            with self.assertRaises(InvalidStatus) as raised:
                self.connect(path)
            self.assertEqual(raised.exception.response.status_code, status)
        for path in ("/raise", "/protocol"):
            with self.assertLogs("peregrine"), self.assertRaises(InvalidStatus) as raised:
                self.connect(path)
            self.assertEqual(raised.exception.response.status_code, 500)

    def test_pages_of_other_sites_are_refused(self):
        with self.assertRaises(InvalidStatus) as raised:
            self.connect(origin="http://evil.example")
        self.assertEqual(raised.exception.response.status_code, 403)

    def test_exceptions(self):
        ws = self.open()
        with self.assertLogs("peregrine", "ERROR") as logs:
            ws.send("raise")
            with self.assertRaises(ConnectionClosed) as raised:
                ws.recv(PATIENCE)
        self.assertEqual(raised.exception.rcvd.code, 1011)
        self.assertIn("of a hook", logs.output[0])

    def test_a_stop_closes_them(self):
        ws = self.open()
        self.running.stop()
        with self.assertRaises(ConnectionClosed) as raised:
            ws.recv(PATIENCE)
        self.assertEqual(raised.exception.rcvd.code, 1012)
        self.assertEqual(self.running.join()[1], 0)
        self.assertEqual(len(self.chat.closed), 1)

    def test_requests_are_served_beside_them(self):
        self.open()
        with Client(self.running.address) as client:
            self.assertEqual(client.get().body, b"plain")


if __name__ == "__main__":
    unittest.main()
