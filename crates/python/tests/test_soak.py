"""Memory stays the same, whatever is asked for. `PEREGRINE_SOAK` is the number of rounds; a longer one is for releases."""

import os
import unittest

from .wire import PATIENCE, Case, Client, Process, websocket as connect

ROUNDS = int(os.environ.get("PEREGRINE_SOAK", "300"))


class Soak(Case):
    def soak(self, arguments, paths, websocket=None):
        with Process(*arguments) as process:
            address = process.address

            def turn():
                with Client(address) as client:
                    client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths * 8))
                    for _ in paths * 8:
                        client.answer()
                    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000)
                    client.answer()
                with Client(address) as client:
                    # Leaves in the middle.
                    client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHo" % paths[-1])
                if websocket:
                    with connect(address, websocket) as ws:
                        for _ in range(8):
                            ws.send("x" * 1000)
                            ws.recv(PATIENCE)

            def memory():
                with open(f"/proc/{process.process.pid}/task/{process.process.pid}/children") as file:
                    worker = file.read().split()[0]
                with open(f"/proc/{worker}/status") as file:
                    return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

            for _ in range(ROUNDS // 2):
                turn()
            before = memory()
            for _ in range(ROUNDS):
                turn()
            # A leak of 100 bytes for each request would be more.
            most = max(2048, ROUNDS * 8 * len(paths) * 100 // 1024)
            self.assertLess(memory() - before, most, f"KiB, from {before}")
            self.assertEqual(process.stop(), 0)

    def test_native(self):
        self.soak(["tests.apps:native"], [b"/", b"/a"])

    def test_wsgi(self):
        for more in ([], ["--threads", "2"]):
            with self.subTest(more=more):
                self.soak(["tests.apps:wsgi", "--wsgi", *more], [b"/", b"/pieces"])

    def test_asgi(self):
        self.soak(["tests.asgi_app:app", "--asgi"], [b"/other", b"/stream"], "/")


if __name__ == "__main__":
    unittest.main()
