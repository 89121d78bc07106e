"""Header fields, paths and lengths at their edges, on each interface: what cannot be sent is an error of the application, and the
connection goes on."""

import unittest

from .wire import Client, eventually, serving

WAYS = (("native", {}), ("wsgi", {"threads": 1}), ("wsgi", {"threads": 3}), ("asgi", {}))
# All bytes of Latin-1 that are not ASCII.
HIGH = bytes(range(0x80, 0x100))


def apps(status, fields, *pieces, streams=False):
    """The same response on each interface."""

    def native(req, res):
        res.status(status)
        for name, value in fields:
            res.header(name, value)
        if streams:
            res.iterate(piece for piece in pieces)
        else:
            res.body(b"".join(pieces))

    def wsgi(environ, start_response):
        start_response(f"{status} Any", list(fields))
        return (piece for piece in pieces) if streams else list(pieces)

    async def asgi(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("HTTP only")
        encoded = [(bytes_or_text(name), bytes_or_text(value)) for name, value in fields]
        await send({"type": "http.response.start", "status": status, "headers": encoded})
        if streams:
            for piece in pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body"})
        else:
            await send({"type": "http.response.body", "body": b"".join(pieces)})

    return {"native": native, "wsgi": wsgi, "asgi": asgi}


def bytes_or_text(text):
    """What an application of ASGI sends for a text. One that Latin-1 does not have stays a text."""
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text


def shown(what):
    """Applications that respond with `what` of a request: a function for each interface, which returns bytes."""

    def native(req, res):
        res.body(what["native"](req))

    def wsgi(environ, start_response):
        start_response("200 OK", [])
        return [what["wsgi"](environ)]

    async def asgi(scope, receive, send):
        if scope["type"] != "http":
            raise RuntimeError("HTTP only")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": what["asgi"](scope)})

    return {"native": native, "wsgi": wsgi, "asgi": asgi}


class Fields(unittest.TestCase):
    def each(self, apps, check, interfaces=("native", "wsgi", "asgi"), **options):
        """Calls `check(client, interface)` on each way to run an application."""
        for interface, more in WAYS:
            if interface in interfaces:
                with self.subTest(interface, **more):
                    with serving(apps[interface], interface, **more, **options) as running:
                        with Client(running.address) as client:
                            check(client, interface)

    def refused(self, apps, why, **more):
        """The client gets 500, the log says why, and the connection goes on."""

        def check(client, _):
            with self.assertLogs("peregrine", "ERROR") as logs:
                self.assertEqual((client.get().status, client.get().status), (500, 500))
            self.assertIn(why, "\n".join(logs.output))

        self.each(apps, check, **more)

    def test_values_in_latin1(self):
        def seen(value):
            return value.encode("latin-1") if isinstance(value, str) else value

        echo = shown({
            "native": lambda req: seen(req.header("x-high")), "wsgi": lambda environ: seen(environ["HTTP_X_HIGH"]),
            "asgi": lambda scope: seen(dict(scope["headers"])[b"x-high"]),
        })

        def check_received(client, _):
            self.assertEqual(client.get(fields=f"X-High: a{HIGH.decode('latin-1')}z\r\n").body, b"a" + HIGH + b"z")

        self.each(echo, check_received)

        def check_sent(client, _):
            self.assertEqual(client.get().field("x-high"), "a" + HIGH.decode("latin-1") + "z")

        self.each(apps(200, [("X-High", "a" + HIGH.decode("latin-1") + "z")], b""), check_sent)

    def test_what_cannot_be_encoded(self):
        for text in ("\u20ac", "\ud800", "a\U0001f600"):
            self.refused(apps(200, [("X-A", text)], b"x"), "Error")
            self.refused(apps(200, [(text, "a")], b"x"), "Error")
        self.refused(apps(200, [("X-\xe9", "a")], b"x"), "token")
        self.refused(apps(200, [("X-A", "a\r\nX-B: b")], b"x"), "control")

    def test_a_text_that_is_not_utf8(self):
        self.refused({"native": lambda req, res: res.text("\ud800")}, "surrogates", interfaces=("native",))

    def test_a_reason_is_not_sent(self):
        # HTTP/2 has none, so it may have any characters but those that end a line.
        for reason in ("Gr\xfc\xdf", "\u20ac", ""):
            def wsgi(environ, start_response, reason=reason):
                start_response(f"200 {reason}", [])
                return [b"x"]

            def check(client, _):
                self.assertEqual((client.get().line, client.get().body), ("HTTP/1.1 200 OK", b"x"))

            self.each({"wsgi": wsgi}, check, interfaces=("wsgi",))

    def test_fields_that_repeat(self):
        fields = [("Set-Cookie", "a=1"), ("X-A", "1"), ("set-cookie", "b=2"), ("X-A", "1"), ("Vary", "a"), ("Vary", "b")]

        def check(client, _):
            got = [(name.lower(), value) for name, value in client.get().fields if name.lower() in ("set-cookie", "x-a", "vary")]
            self.assertEqual(got, [(name.lower(), value) for name, value in fields])

        self.each(apps(200, fields, b"x"), check)

    def test_framing_of_the_application(self):
        # The frameworks of ASGI set it; PEP 3333 forbids it.
        for fields in ([("Transfer-Encoding", "chunked")], [("Transfer-Encoding", "gzip, chunked"), ("Content-Length", "5")],
                       [("Connection", "close")]):
            self.refused(apps(200, fields, b"hello"), "belongs to the server", interfaces=("native", "wsgi"))

            def check(client, _):
                for _ in range(2):
                    answer = client.get()
                    self.assertEqual((answer.body, answer.field("transfer-encoding"), answer.field("content-length")), (b"hello", None, "5"))

            self.each(apps(200, fields, b"hello"), check, interfaces=("asgi",))

    def test_a_content_length_that_is_wrong(self):
        for length in ("3", "9", "0"):
            self.refused(apps(200, [("Content-Length", length)], b"hello"), "Content-Length")
        for length in ("-1", "+5", "5 5", "5, 5", "", "0x5", "99999999999999999999"):
            self.refused(apps(200, [("Content-Length", length)], b"hello"), "Content-Length is not a number")
        self.refused(apps(200, [("Content-Length", "5"), ("Content-Length", "6")], b"hello"), "second Content-Length")

        def check(client, _):
            for _ in range(2):
                answer = client.get()
                self.assertEqual((answer.body, answer.field("content-length")), (b"hello", "5"))

        self.each(apps(200, [("Content-Length", "5"), ("content-length", "5")], b"hello"), check)

    def test_pieces_that_have_another_length(self):
        def cut(client, _):
            # The client sees that the body is incomplete, or gets what was declared and no byte of the next response.
            with self.assertLogs("peregrine", "ERROR") as logs:
                with self.assertRaises(EOFError):
                    self.assertEqual(client.get().body, b"hello")
                    client.get()
                # Where another thread notices that a body is too short, the connection may end first.
                eventually(lambda: logs.output)

        for length in ("5", "20"):
            self.each(apps(200, [("Content-Length", length)], b"he", b"llo w", b"orld", streams=True), cut)

    def test_statuses_without_a_body(self):
        for status in (204, 205, 304):
            for streams in (False, True):
                def check(client, _, status=status):
                    for _ in range(3):
                        answer = client.get()
                        if status == 205:
                            self.assertIn((answer.field("content-length"), answer.body), (("0", b""), (None, b"")))
                        self.assertEqual((answer.status, answer.body), (status, b""))

                self.each(apps(status, [("ETag", '"a"')], b"bo", b"dy", streams=streams), check)

        def check_length(client, _):
            self.assertEqual([client.get().status for _ in range(3)], [304, 304, 304])

        self.each(apps(304, [("Content-Length", "5")], b""), check_length)

    def test_head(self):
        for pieces, streams, fields, length in (
            ((b"hel", b"lo"), False, [], "5"), ((b"hel", b"lo"), True, [], None), ((), False, [("Content-Length", "7")], "7"),
            ((b"hel", b"lo"), True, [("Content-Length", "5")], "5"), ((b"hel", b"lo"), False, [("Content-Length", "5")], "5"),
        ):
            def check(client, _, length=length):
                for _ in range(3):
                    answer = client.get(method="HEAD")
                    self.assertEqual((answer.status, answer.field("content-length")), (200, length))

            with self.subTest(streams=streams, fields=fields):
                self.each(apps(200, fields, *pieces, streams=streams), check)

    def test_paths(self):
        paths = shown({
            "native": lambda req: f"{req.path} {req.query_string}".encode(),
            "wsgi": lambda environ: f"{environ['PATH_INFO']} {environ['QUERY_STRING']}".encode("latin-1"),
            "asgi": lambda scope: b"%b %b %b" % (scope["path"].encode(), scope["raw_path"], scope["query_string"]),
        })

        def check(client, interface):
            for target, decoded in (
                ("/a%20b?c=%20&d", b"/a b"), ("/%C3%A9%2F?q=%FF%", b"/\xc3\xa9/"), ("//a//b?", b"//a//b"), ("/%zz%?%zz", b"/%zz%"),
                ("/a;b=c,d:@!$&'()*+?x", b"/a;b=c,d:@!$&'()*+"),
            ):
                raw, _, query = (part.encode() for part in target.partition("?"))
                wanted = {"native": (raw, query), "wsgi": (decoded, query), "asgi": (decoded, raw, query)}[interface]
                self.assertEqual(client.get(target).body, b" ".join(wanted))

        self.each(paths, check)

        def check_utf8(client, interface):
            # What is not UTF-8 stays whole where the interface has bytes.
            wanted = {"native": b"/%FF ", "wsgi": b"/\xff ", "asgi": b"/\xef\xbf\xbd /%FF "}[interface]
            self.assertEqual(client.get("/%FF").body, wanted)

        self.each(paths, check_utf8)

        def check_bytes(client, _):
            # RFC 9112 section 3.2: they are not allowed in a target, unless they are percent-encoded.
            self.assertEqual(client.get("/\xe9?\xff").status, 400)

        self.each(paths, check_bytes)

    def test_the_path_of_the_application(self):
        paths = shown({
            "wsgi": lambda environ: f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode("latin-1"),
            "asgi": lambda scope: f"{scope['root_path']} {scope['path'].removeprefix(scope['root_path'])}".encode(),
        })
        for root in ("/base", "/caf\xe9", "/a b"):
            def check(client, _, root=root):
                from urllib.parse import quote

                encoded = quote(root)
                every = "".join(f"%{byte:02x}" for byte in root.encode()[1:])
                for target, path in (
                    (f"{encoded}/x", "/x"), (encoded, ""), (f"/{every}/%78", "/x"), ("/x", "/x"), (f"{encoded}x", f"{root}x"), ("/", "/"),
                ):
                    self.assertEqual(client.get(target).body.decode(), f"{root} {path}", target)

            self.each(paths, check, interfaces=("wsgi", "asgi"), root_path=root)

    def test_pieces_of_other_types(self):
        for kind in (bytearray, memoryview):
            async def asgi(scope, receive, send, kind=kind):
                if scope["type"] == "http":
                    await send({"type": "http.response.start", "status": 200})
                    await send({"type": "http.response.body", "body": kind(b"some"), "more_body": True})
                    await send({"type": "http.response.body", "body": kind(b"thing")})

            self.each({"asgi": asgi}, lambda client, _: self.assertEqual(client.get().body, b"something"), interfaces=("asgi",))
        for wrong in ("text", [1, 2], 5, None):
            async def asgi(scope, receive, send, wrong=wrong):
                if scope["type"] == "http":
                    await send({"type": "http.response.start", "status": 200})
                    await send({"type": "http.response.body", "body": wrong})

            self.refused({"asgi": asgi}, "the body is", interfaces=("asgi",))


if __name__ == "__main__":
    unittest.main()
