"""WSGI (PEP 3333): the interface, and the traps that servers are known for."""

import io
import os
import sys
import tempfile
import threading
import unittest
import wsgiref.validate

from .wire import Client, eventually, get, serving

# Both ways to run an application must behave alike.
WAYS = ({"threads": 1}, {"threads": 3})


def plain(body, *fields, status="200 OK"):
    def app(environ, start_response):
        start_response(status, list(fields))
        return body() if callable(body) else body

    return app


class Closing:
    """An iterable that counts its closes."""

    def __init__(self, pieces, error=None):
        self.pieces, self.error, self.closes = iter(pieces), error, 0

    def __iter__(self):
        return self

    def __next__(self):
        for piece in self.pieces:
            return piece
        if self.error:
            raise self.error
        raise StopIteration

    def close(self):
        self.closes += 1


class Wsgi(unittest.TestCase):
    def both(self, app, check, **options):
        for way in WAYS:
            with self.subTest(**way), serving(app, "wsgi", **way, **options) as running:
                check(running.address)

    def answers(self, app, status, wanted, **more):
        def check(address):
            with Client(address) as client:
                answer = client.get(**more)
                self.assertEqual((answer.status, answer.body), (status, wanted), answer.fields)
                # The connection is still in order.
                self.assertEqual(client.get(**more).status, status)

        self.both(app, check)

    def refused(self, app, why):
        """The client gets 500 and the log says why."""

        def check(address):
            with self.assertLogs("peregrine", "ERROR") as logs:
                self.assertEqual(get(address).status, 500)
            self.assertIn(why, "\n".join(logs.output))

        self.both(app, check)

    def test_environ(self):
        seen = {}

        def app(environ, start_response):
            seen.clear()
            seen.update(environ)
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

        def check(address):
            fields = "X-A: 1\r\nx-a: 2\r\nCookie: a=1\r\nCookie: b=2\r\nX_A: 3\r\nProxy: evil\r\nContent-Type: t\r\nX-L: \xe9\r\n"
            answer = get(address, "/base/a%20%C3%A9;b?c=%20d", fields=fields, method="POST", body=b"body")
            self.assertEqual(answer.body, b"body")
            wanted = {
                "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/base", "PATH_INFO": "/a \xc3\xa9;b",
                "QUERY_STRING": "c=%20d", "CONTENT_TYPE": "t", "CONTENT_LENGTH": "4", "HTTP_X_A": "1,2",
                "HTTP_COOKIE": "a=1; b=2", "HTTP_X_L": "\xe9", "HTTP_HOST": "test", "SERVER_PROTOCOL": "HTTP/1.1",
                "SERVER_NAME": "127.0.0.1", "SERVER_PORT": str(address[1]), "REMOTE_ADDR": "127.0.0.1",
                "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.run_once": False, "wsgi.multiprocess": False,
            }
            self.assertEqual({key: seen.get(key) for key in wanted}, wanted)
            self.assertTrue(seen["REMOTE_PORT"].isdigit())
            for absent in ("HTTP_PROXY", "HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"):
                self.assertNotIn(absent, seen)
            get(address, "/baseed")
            self.assertEqual((seen["SCRIPT_NAME"], seen["PATH_INFO"], seen["QUERY_STRING"]), ("/base", "/baseed", ""))
            get(address, "/base")
            self.assertEqual(seen["PATH_INFO"], "")
            get(address, "/", fields="Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n")
            self.assertEqual(seen["CONTENT_LENGTH"], "3")
            self.assertNotIn("HTTP_TRANSFER_ENCODING", seen)

        self.both(app, check, root_path="/base")

    def test_requests_do_not_share_their_environ(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            environ["mine"] = environ.get("mine", 0) + 1
            return [str(environ["mine"]).encode()]

        self.answers(app, 200, b"1")

    def test_validate(self):
        def app(environ, start_response):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"got ", body]

        checked = wsgiref.validate.validator(app)
        self.answers(checked, 200, b"got ")
        self.answers(checked, 200, b"got 1234", method="POST", body=b"1234")
        generator = wsgiref.validate.validator(plain(lambda: (b"%d" % n for n in range(3)), ("Content-Type", "text/plain")))
        self.answers(generator, 200, b"012")

    def test_input(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            stream = environ["wsgi.input"]
            return [repr((stream.read(1), stream.readline(), stream.readline(2), list(stream), stream.read(), stream.read(5))).encode()]

        self.answers(app, 200, repr((b"a", b"b\n", b"cd", [b"\n", b"e"], b"", b"")).encode(), method="POST", body=b"ab\ncd\ne")

    def test_bodies(self):
        self.answers(plain([]), 200, b"")
        self.answers(plain([b""]), 200, b"")
        self.answers(plain([b"", b"a", b"", b"b"]), 200, b"ab")
        self.answers(plain((b"a", b"b")), 200, b"ab")
        self.answers(plain(lambda: iter([b"", b"a", b"", b"b", b""])), 200, b"ab")
        self.answers(plain(lambda: iter([])), 200, b"")
        self.answers(plain(lambda: (b"x" * 70_000 for _ in range(5))), 200, b"x" * 350_000)
        self.answers(plain([b"a"], status="404 Not Found"), 404, b"a")
        self.answers(plain([b"a"], ("Content-Length", "1")), 200, b"a")
        self.answers(plain(lambda: iter([b"a", b"b"]), ("Content-Length", "2")), 200, b"ab")

    def test_framing(self):
        def check(address):
            answer = get(address)
            self.assertEqual((answer.field("content-length"), answer.field("transfer-encoding")), ("2", None))

        self.both(plain([b"a", b"b"]), check)
        self.both(plain(lambda: iter([b"ab"]), ("Content-Length", "2")), check)

        def streamed(address):
            answer = get(address)
            self.assertEqual((answer.field("content-length"), answer.field("transfer-encoding")), (None, "chunked"))

        self.both(plain(lambda: iter([b"a", b"b"])), streamed)

    def test_head_and_bodyless(self):
        def check(length):
            def check(address):
                with Client(address) as client:
                    answer = client.get(method="HEAD")
                    self.assertEqual((answer.status, answer.field("content-length")), (200, length))
                    self.assertEqual(client.get().status, 200, "nothing was left of the first response")

            return check

        self.both(plain([b"abc"]), check("3"))
        self.both(plain([b"abc"], ("Content-Length", "3")), check("3"))
        self.both(plain(lambda: iter([b"a", b"bc"])), check(None))
        # An application that makes no body for HEAD.
        def bare(environ, start_response):
            start_response("200 OK", [("Content-Length", "3")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [b"abc"]

        self.both(bare, check("3"))
        self.answers(plain([], status="204 No Content"), 204, b"")
        self.answers(plain([], ("Content-Length", "5"), ("ETag", '"a"'), status="304 Not Modified"), 304, b"")

    def test_start_response_twice(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            start_response("200 OK", [])
            return [b"a"]

        self.refused(app, "second time")

    def test_start_response_again_with_exc_info(self):
        def app(environ, start_response):
            write = start_response("200 OK", [("X-First", "1")])
            write(b"never sent")
            try:
                raise ValueError("later")
            except ValueError:
                start_response("503 Busy", [("X-Second", "2")], sys.exc_info())
            return [b"page"]

        def check(address):
            answer = get(address)
            self.assertEqual((answer.status, answer.body), (503, b"page"))
            self.assertEqual((answer.field("x-first"), answer.field("x-second")), (None, "2"))

        self.both(app, check)

    def test_exc_info_after_the_head_has_left(self):
        raised = []

        def app(environ, start_response):
            start_response("200 OK", [])
            yield b"a"
            try:
                raise KeyError("original")
            except KeyError:
                try:
                    start_response("500 Error", [], sys.exc_info())
                except KeyError as error:
                    raised.append(error)
                    raise

        def check(address):
            raised.clear()
            with self.assertLogs("peregrine", "ERROR"), Client(address) as client:
                # The client must see that the body is incomplete.
                with self.assertRaises(EOFError):
                    client.get()
            self.assertEqual(len(raised), 1)

        self.both(app, check)

    def test_start_response_in_the_generator(self):
        def app(environ, start_response):
            start_response("201 Created", [("X-A", "b")])
            yield b"a"

        self.answers(app, 201, b"a")

    def test_no_start_response(self):
        self.refused(lambda environ, start_response: [b"a"], "start_response was not called")
        self.refused(lambda environ, start_response: iter([b"a"]), "start_response was not called")
        self.refused(lambda environ, start_response: iter([]), "start_response was not called")

    def test_wrong_results(self):
        for body, why in ((b"bytes", "iterable of bytes"), ("text", "iterable of bytes"), (["a"], "not bytes"),
                          ([1], "not bytes"), (lambda: iter(["a"]), "not bytes"), (5, "not iterable")):
            self.refused(plain(body), why)
        self.refused(lambda environ, start_response: start_response("200 OK", []) and None, "NoneType")
        self.refused(lambda environ: [], "TypeError")

    def test_exceptions(self):
        def app(environ, start_response):
            raise ValueError("of the application")

        self.refused(app, "of the application")

        def leaves(environ, start_response):
            raise SystemExit("of the application")

        self.refused(leaves, "of the application")

        def first(environ, start_response):
            start_response("200 OK", [])
            raise ValueError("before the first piece")
            yield

        self.refused(first, "before the first piece")

    def test_an_exception_in_the_body_cuts_it(self):
        closing = []

        def app(environ, start_response):
            start_response("200 OK", [])
            closing.append(Closing([b"a", b"b"], ValueError("in the body")))
            return closing[-1]

        def check(address):
            with self.assertLogs("peregrine", "ERROR"), Client(address) as client, self.assertRaises(EOFError):
                client.get()
            eventually(lambda: closing[-1].closes == 1)

        self.both(app, check)

    def test_iterables_are_closed_once(self):
        made = []

        def app(environ, start_response):
            start_response("200 OK", [("Content-Length", "2")] if environ["PATH_INFO"] == "/known" else [])
            made.append(Closing([b"a", b"b"][:2]))
            return made[-1]

        def check(address):
            for more in ({}, {"path": "/known"}, {"method": "HEAD"}):
                get(address, **more)
                eventually(lambda: made[-1].closes == 1)

        self.both(app, check)

        def no_start(environ, start_response):
            made.append(Closing([b"a"]))
            return made[-1]

        self.refused(no_start, "start_response")
        eventually(lambda: made[-1].closes == 1)

    def test_a_client_that_leaves_closes_the_iterable(self):
        made = []

        def endless():
            while True:
                yield b"x" * 10_000

        def app(environ, start_response):
            start_response("200 OK", [])
            made.append(Closing(endless()))
            return made[-1]

        def check(address):
            with Client(address) as client:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                client.take(100_000)
            eventually(lambda: made[-1].closes == 1)

        self.both(app, check)

    def test_a_slow_client_holds_the_application_back(self):
        drawn = []

        def app(environ, start_response):
            start_response("200 OK", [])
            for _ in range(1000):
                drawn.append(1)
                yield b"x" * 65_536

        def check(address):
            drawn.clear()
            with Client(address) as client:
                client.socket.setsockopt(6, 10, 65_536)  # TCP_WINDOW_CLAMP
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                client.take(1000)
                # Another client is served meanwhile, if there are threads; so wait until nothing more is drawn.
                before = -1
                while before != len(drawn):
                    before = len(drawn)
                    threading.Event().wait(0.3)
                self.assertLess(before, 500)
                # It gets all of it.
                client.unread = b""
                total = 0
                while total < 500 * 65_536:
                    self.assertTrue(client.more())
                    total += len(client.unread)
                    client.unread = b""

        self.both(app, check)

    def test_write(self):
        def app(environ, start_response):
            write = start_response("200 OK", [("Content-Length", "4")])
            write(b"ab")
            write(b"")
            return [b"cd"]

        self.answers(app, 200, b"abcd")

        def generator(environ, start_response):
            write = start_response("200 OK", [])
            write(b"ab")

            def body():
                yield b"cd"
                yield b"ef"

            return body()

        self.answers(generator, 200, b"abcdef")

        def late(environ, start_response):
            write = start_response("200 OK", [])
            return (write(b"late") for _ in range(1))

        self.answers(plain([b"a"]), 200, b"a")
        self.refused(late, "TypeError")

    def test_content_length_mismatch(self):
        for body in ([b"abc"], (b"a", b"bc"), [b"abcdefgh"], []):
            self.refused(plain(body, ("Content-Length", "4")), "Content-Length")

        def cut(pieces):
            def check(address):
                with Client(address) as client, self.assertRaises(EOFError):
                    answer = client.get()
                    # More than declared: the client gets what was declared, and no next response is spoiled.
                    self.assertEqual(answer.body, b"abcd")
                    client.get()

            self.both(plain(lambda: iter(pieces), ("Content-Length", "4")), check)

        cut([b"a", b"b"])
        cut([b"a", b"bcdefgh"])
        self.refused(plain(lambda: iter([b"abcd", b"e"]), ("Content-Length", "4")), "Content-Length")

    def test_fields_that_are_refused(self):
        for field, why in (
            (("X-A", "a\r\nX-B: b"), "control"), (("X-A", "a\nb"), "control"), (("X-A", "a\0"), "control"),
            (("X A", "a"), "token"), (("", "a"), "token"), (("X:A", "a"), "token"), (("X-A\r\nB", "a"), "token"),
            (("Connection", "close"), "belongs to the server"), (("Transfer-Encoding", "chunked"), "belongs"),
            (("keep-alive", "1"), "belongs"), (("Upgrade", "h2c"), "belongs"), (("Content-Length", "x"), "not a number"),
            (("Content-Length", "-1"), "not a number"), (("Content-Length", "+1"), "not a number"),
            (("X-A", "\u20ac"), "Latin-1"), (("X-A", b"a"), "str"), ((b"X-A", "a"), "str"), (("X-A",), "tuple"),
            (["X-A", "a"], "tuple"), ("ab", "tuple"),
        ):
            self.refused(plain([b""], field), why)
        self.refused(plain([b""], ("Content-Length", "0"), ("Content-Length", "1")), "second Content-Length")

    def test_statuses_that_are_refused(self):
        for status in ("", "OK", "20", "2000", "99 Low", "100 Continue", "600 High", "200 OK\r\nX: y", 200, b"200 OK", None):
            def app(environ, start_response, status=status):
                start_response(status, [])
                return []

            self.refused(app, "Error")
        self.answers(plain([b"a"], status="299"), 299, b"a")

    def test_repeated_fields(self):
        def check(address):
            cookies = [value for name, value in get(address).fields if name.lower() == "set-cookie"]
            self.assertEqual(cookies, ["a=1", "b=2"])

        self.both(plain([b""], ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")), check)

    def test_file_wrapper(self):
        content = os.urandom(300_000)
        files = []

        def app(environ, start_response):
            kind = environ["PATH_INFO"]
            if kind == "/memory":
                file = io.BytesIO(content)
            elif kind == "/gzip":
                import gzip

                file = gzip.open(packed.name)
            else:
                file = open(plain_file.name, "rb", buffering=0 if kind == "/raw" else -1)
                if kind == "/seek":
                    file.seek(100_000)
            files.append(file)
            length = [("Content-Length", "300000")] if kind == "/length" else []
            start_response("200 OK", [("Content-Type", "application/octet-stream"), *length])
            return environ["wsgi.file_wrapper"](file, 4096)

        def check(address):
            for kind in ("/", "/raw", "/seek", "/memory", "/gzip", "/length"):
                wanted = content[100_000:] if kind == "/seek" else content
                answer = get(address, kind)
                self.assertEqual((answer.status, answer.body == wanted), (200, True), kind)
                eventually(lambda: files[-1].closed)
            answer = get(address, method="HEAD")
            self.assertEqual(answer.field("content-length"), "300000")

        import gzip

        with tempfile.NamedTemporaryFile() as plain_file, tempfile.NamedTemporaryFile() as packed:
            plain_file.write(content)
            plain_file.flush()
            packed.write(gzip.compress(content))
            packed.flush()
            self.both(app, check)

    def test_threads_run_at_the_same_time_and_are_bounded(self):
        begun, go = threading.Semaphore(0), threading.Event()

        def app(environ, start_response):
            begun.release()
            go.wait(60)
            start_response("200 OK", [])
            return [b"done"]

        with serving(app, "wsgi", threads=2, limit_concurrency=1) as running:
            clients = [Client(running.address) for _ in range(4)]
            for client in clients[:2]:
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                self.assertTrue(begun.acquire(timeout=60))
            clients[2].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            # One waits; a further one is refused, whichever of the two the server reads first.
            clients[3].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            import select

            readable, _, _ = select.select([client.socket for client in clients], [], [], 60)
            refused = next(client for client in clients if client.socket in readable)
            answer = refused.answer()
            self.assertEqual((answer.status, answer.field("retry-after")), (503, "1"))
            go.set()
            for client in clients:
                if client is not refused:
                    self.assertEqual(client.answer().body, b"done")
                client.close()

    def test_values_of_threads_stay(self):
        local = threading.local()

        def app(environ, start_response):
            local.count = getattr(local, "count", 0) + 1
            start_response("200 OK", [])
            return [str(local.count).encode()]

        with serving(app, "wsgi") as running, Client(running.address) as client:
            self.assertEqual([client.get().body for _ in range(3)], [b"1", b"2", b"3"])

    def test_a_body_that_is_too_large(self):
        def check(address):
            self.assertEqual(get(address, method="POST", body=b"x" * 101).status, 413)
            self.assertEqual(get(address, method="POST", body=b"x" * 100).status, 200)

        self.both(plain([b""]), check, limit_max_body=100)

    def test_expect_continue(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return [environ["wsgi.input"].read()]

        def check(address):
            with Client(address) as client:
                client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
                self.assertTrue(client.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100"))
                client.send(b"abc")
                self.assertEqual(client.answer().body, b"abc")

        self.both(app, check)

    def test_pipelining_and_old_clients(self):
        def app(environ, start_response):
            start_response("200 OK", [])
            return iter([environ["PATH_INFO"].encode(), b"!"])

        def check(address):
            with Client(address) as client:
                client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(50)))
                self.assertEqual([client.answer().body for _ in range(50)], [b"/%d!" % n for n in range(50)])
            with Client(address) as client:
                client.send(b"GET /old HTTP/1.0\r\n\r\n")
                client.is_closed()
                self.assertTrue(client.unread.endswith(b"\r\n\r\n/old!"), client.unread)

        self.both(app, check)


if __name__ == "__main__":
    unittest.main()
