"""Threads of native handlers that wait for a client, and the event loop, which goes on meanwhile."""

import threading
import unittest

from .wire import PATIENCE, Client, eventually, get, serving


class Blocking(unittest.TestCase):
    def test_a_stream_that_waits_does_not_stop_the_others(self):
        streams, raised = [], []

        def produce(stream):
            try:
                while True:
                    stream.send(b"x" * 65_536)
            except ValueError as error:
                raised.append(str(error))

        def handle(req, res):
            if req.path == "/stream":
                streams.append(res.stream())
                threading.Thread(target=produce, args=(streams[0],)).start()
            elif req.path == "/finish":
                streams[0].finish()
                return "finished"
            else:
                return str((streams[0].try_send(b"y"), streams[0].is_gone))

        with serving(handle) as running, Client(running.address) as client:
            client.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
            client.take(100)
            eventually(lambda: get(running.address, "/try").body == b"(False, False)")
            self.assertEqual(get(running.address, "/finish").body, b"finished")
            eventually(lambda: raised)
        self.assertEqual(raised, ["the stream is finished"])

    def test_a_reader_that_waits_does_not_stop_the_others(self):
        bodies, raised = [], []

        def reads(req, body):
            bodies.append(body)
            while body.read():
                pass
            body.respond(lambda res: res.text("all"))

        def handle(req, res):
            for wrong in (bodies[0].read, lambda: bodies[0].respond(lambda res: res.text("other"))):
                try:
                    wrong()
                except BlockingIOError as error:
                    raised.append(str(error))
            return "handled"

        def body_plan(req):
            return reads if req.method == "PUT" else None

        with serving(handle, body_plan=body_plan) as running, Client(running.address) as client:
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
            eventually(lambda: bodies)
            self.assertEqual(get(running.address).body, b"handled")
            client.send(b"def")
            self.assertEqual(client.answer().body, b"all")
        self.assertEqual(len(raised), 2)

    def test_a_response_that_another_thread_uses(self):
        entered, go = threading.Event(), threading.Event()

        class Slow(dict):
            def wait(self):
                entered.set()
                go.wait(PATIENCE)
                return iter(())

            items = __iter__ = wait

            def __index__(self):
                self.wait()
                return 200

        def handle(req, res):
            thread = threading.Thread(target=self.use, args=(res, req.path[1:], Slow(a=1)))
            thread.start()
            entered.wait(PATIENCE)
            self.addCleanup(thread.join)
            return "handled"

        with serving(handle) as running:
            for method in ("json", "iterate"):
                entered.clear()
                go.clear()
                answer = get(running.address, "/" + method)
                go.set()
                self.assertEqual((answer.status, answer.body), (200, b"handled"))
            entered.clear()
            go.clear()
            with self.assertLogs("peregrine"):
                self.assertEqual(get(running.address, "/status").status, 500)
            go.set()

    def use(self, res, method, value):
        try:
            getattr(res, method)(value)
        except RuntimeError:
            pass


if __name__ == "__main__":
    unittest.main()
