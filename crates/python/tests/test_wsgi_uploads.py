"""Bodies of WSGI applications that come while they are read."""

import threading
import unittest

from .wire import PATIENCE, Client, eventually, serving


class Uploads(unittest.TestCase):
    """Bodies above 64 KiB come while the application reads them, if there are threads."""

    def upload(self, app, sent, length, fields=""):
        """A client that has sent the beginning of a body."""
        context = serving(app, "wsgi", threads=2, limit_max_body=1 << 20)
        running = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        client = Client(running.address)
        self.addCleanup(client.close)
        client.send(f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n{fields}\r\n".encode() + sent)
        return client

    def test_the_application_reads_while_the_client_sends(self):
        half, seen = threading.Event(), []

        def app(environ, start_response):
            body = environ["wsgi.input"]
            seen.append(environ["CONTENT_LENGTH"])
            seen.append(body.readline())
            seen.append(len(body.read(100000)))
            half.set()
            seen.append(sum(len(line) for line in body))
            seen.append(body.read())
            start_response("200 OK", [])
            return [b"read"]

        client = self.upload(app, b"first\n" + b"x" * 100000, 200006)
        self.assertTrue(half.wait(PATIENCE))
        client.send(b"y\n" * 50000)
        self.assertEqual(client.answer().body, b"read")
        self.assertEqual(seen, ["200006", b"first\n", 100000, 100000, b""])

    def test_a_response_without_the_body(self):
        def app(environ, start_response):
            start_response("403 Forbidden", [])
            return [b"no"]

        self.assertEqual(self.upload(app, b"", 200000).answer().status, 403)

    def test_a_response_in_pieces_reads_on(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return iter(lambda: environ["wsgi.input"].read(50000), b"")

        client = self.upload(app, b"x" * 150000, 300000)
        client.send(b"y" * 150000)
        self.assertEqual(client.answer().body, b"x" * 150000 + b"y" * 150000)

    def test_a_client_that_leaves(self):
        seen = []

        def app(environ, start_response):
            try:
                environ["wsgi.input"].read()
            except OSError as error:
                seen.append(type(error).__name__)
            start_response("200 OK", [])
            return [b""]

        self.upload(app, b"x", 200000).close()
        eventually(lambda: seen)
        self.assertEqual(seen, ["ConnectionAbortedError"])

    def test_limits(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [str(len(environ["wsgi.input"].read())).encode()]

        self.assertEqual(self.upload(app, b"", (1 << 20) + 1).answer().status, 413)
        self.assertEqual(self.upload(app, b"x" * (1 << 20), 1 << 20).answer().body, b"1048576")

    def test_an_exception(self):
        def app(environ, start_response):
            environ["wsgi.input"].read(1)
            raise ValueError("of the application")

        with self.assertLogs("peregrine"):
            self.assertEqual(self.upload(app, b"x" * 70000, 200000).answer().status, 500)


if __name__ == "__main__":
    unittest.main()
