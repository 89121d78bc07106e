"""Native handlers: `handle(req, res)`."""

import contextlib
import os
import tempfile
import threading
import unittest

from .wire import Client, eventually, get, serving


class Native(unittest.TestCase):
    def test_request(self):
        seen = []

        def handle(req, res):
            seen.append((
                req.method, req.path, req.target, req.query_string, req.query("a"), req.query("z"), req.version,
                req.scheme, req.header("x-a"), req.header("none"), req.cookie("c"), req.body, req.client[0],
                ("X-A", "1\xe9") in req.headers,
            ))
            res.body(b"")

        with serving(handle) as running:
            get(running.address, "/p%20q?a=1%2B1", fields="X-A: 1\xe9\r\nCookie: c=d\r\n", method="PUT", body=b"b")
        self.assertEqual(seen, [(
            "PUT", "/p%20q", "/p%20q?a=1%2B1", "a=1%2B1", "1+1", None, "HTTP/1.1",
            "http", "1\xe9", None, "d", b"b", "127.0.0.1", True,
        )])

    def test_json_and_forms(self):
        def handle(req, res):
            res.json(req.json() if req.path == "/json" else req.form())

        with serving(handle) as running:
            answer = get(running.address, "/json", method="POST", body=b'{"a": [1]}')
            self.assertEqual((answer.body, answer.field("content-type")), (b'{"a": [1]}', "application/json"))
            form = "Content-Type: application/x-www-form-urlencoded\r\n"
            answer = get(running.address, "/form", method="POST", body=b"a=1&b=%20", fields=form)
            self.assertEqual(answer.body, b'[["a", "1"], ["b", " "]]')
            with self.assertLogs("peregrine", "ERROR"):
                self.assertEqual(get(running.address, "/json", method="POST", body=b"{").status, 500)

    def test_responses(self):
        def handle(req, res):
            match req.path:
                case "/text": res.text("t\u20ac")
                case "/html": res.status(201).header("X-A", "b").html("<p>")
                case "/own": res.header("content-type", "text/csv").text("a,b")
                case "/redirect": res.redirect("/text")
                case "/bytes": return b"returned"
                case "/str": return "returned"
                case "/iterate": res.iterate(iter([b"a", b"", b"b"]))
                case "/known": res.header("Content-Length", "2").iterate([b"a", b"b"])

        with serving(handle) as running, Client(running.address) as client:
            answer = client.get("/text")
            self.assertEqual((answer.body, answer.field("content-type")), ("t\u20ac".encode(), "text/plain; charset=utf-8"))
            answer = client.get("/html")
            self.assertEqual((answer.status, answer.field("x-a"), answer.field("content-type")), (201, "b", "text/html; charset=utf-8"))
            self.assertEqual(client.get("/own").field("content-type"), "text/csv")
            answer = client.get("/redirect")
            self.assertEqual((answer.status, answer.field("location")), (303, "/text"))
            self.assertEqual(client.get("/bytes").body, b"returned")
            self.assertEqual(client.get("/str").body, b"returned")
            self.assertEqual(client.get("/iterate").body, b"ab")
            self.assertEqual(client.get("/known").field("content-length"), "2")
            self.assertEqual(client.get("/text", method="HEAD").field("content-length"), "4")
            with self.assertLogs("peregrine", "ERROR") as logs:
                self.assertEqual(client.get("/nothing").status, 500)
            self.assertIn("has not responded", logs.output[0])
            # Nothing of an earlier response is left.
            self.assertIsNone(client.get("/text").field("x-a"))

    def test_mistakes(self):
        raised = []

        def handle(req, res):
            for wrong in (
                lambda: res.status(99), lambda: res.header("a b", "c"), lambda: res.header("a", "b\r\nc: d"),
                lambda: res.header("Transfer-Encoding", "chunked"), lambda: res.text(b"a"), lambda: res.body("a"),
                lambda: res.redirect("/", 200), lambda: res.file("/none"), lambda: res.file("/"),
            ):
                try:
                    wrong()
                except (ValueError, TypeError, OSError) as error:
                    raised.append(type(error))
            res.text("one")
            try:
                res.text("two")
            except RuntimeError as error:
                raised.append(str(error))

        with serving(handle) as running:
            self.assertEqual(get(running.address).body, b"one")
        self.assertEqual(len(raised), 10, raised)

    def test_exceptions(self):
        def handle(req, res):
            if req.path == "/panic":
                raise BaseException("of the handler")
            res.header("X-A", "b")
            raise SystemExit("of the handler")

        with serving(handle) as running, self.assertLogs("peregrine", "ERROR") as logs:
            for path in ("/", "/panic"):
                answer = get(running.address, path)
                self.assertEqual((answer.status, answer.field("x-a")), (500, None))
                self.assertNotIn(b"of the handler", answer.body)
        self.assertEqual(len(logs.output), 2)

    def test_objects_that_are_kept(self):
        kept = []

        def handle(req, res):
            kept.append((req, req.keep(), res))
            res.text("a")

        with serving(handle) as running:
            get(running.address, "/1", method="POST", body=b"b")
            get(running.address, "/2")
            for n, (req, copy, res) in enumerate(kept, 1):
                with self.assertRaisesRegex(RuntimeError, "keep"):
                    req.path
                with self.assertRaises(RuntimeError):
                    res.text("late")
                with self.assertRaises(RuntimeError):
                    res.stream()
                self.assertEqual(copy.path, f"/{n}")
            self.assertEqual(kept[0][1].body, b"b")

    def test_other_threads_cannot_read_a_lent_request(self):
        raised = []

        def handle(req, res):
            def read():
                for wrong in (lambda: req.path, res.stream):
                    try:
                        wrong()
                    except RuntimeError as error:
                        raised.append(str(error))

            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            return "a"

        with serving(handle) as running:
            self.assertEqual(get(running.address).body, b"a")
        self.assertEqual(len(raised), 2)

    def test_streams(self):
        def produce(stream, count):
            with contextlib.suppress(BrokenPipeError), stream:
                for n in range(count):
                    stream.send(b"%d\n" % n)

        def handle(req, res):
            stream = res.header("X-A", "b").stream()
            threading.Thread(target=produce, args=(stream, int(req.path[1:]))).start()

        with serving(handle) as running:
            answer = get(running.address, "/1000")
            self.assertEqual((answer.body, answer.field("x-a")), (b"".join(b"%d\n" % n for n in range(1000)), "b"))
            self.assertEqual(get(running.address, "/3", method="HEAD").status, 200)

    def test_a_stream_waits_for_a_slow_client(self):
        sent, gone = [], threading.Event()

        def produce(stream):
            try:
                while True:
                    stream.send(b"x" * 65_536)
                    sent.append(1)
            except BrokenPipeError:
                gone.set()

        def handle(req, res):
            threading.Thread(target=produce, args=(res.stream(),)).start()

        with serving(handle) as running, Client(running.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.take(100)
            before = -1
            while before != len(sent):
                before = len(sent)
                gone.wait(0.3)
            self.assertLess(before, 500)
            client.close()
            self.assertTrue(gone.wait(60), "the producer was told")

    def test_a_stream_that_is_given_up(self):
        def handle(req, res):
            stream = res.stream()
            stream.send(b"a")
            if req.path == "/raise":
                raise ValueError("after the beginning")

        with serving(handle) as running:
            with Client(running.address) as client, self.assertRaises(EOFError):
                client.get("/")
            with self.assertLogs("peregrine"), Client(running.address) as client, self.assertRaises(EOFError):
                client.get("/raise")

    def test_the_event_loop_never_waits(self):
        raised = []

        def handle(req, res):
            stream = res.stream()
            try:
                for _ in range(1000):
                    stream.send(b"x" * 65_536)
            except BlockingIOError as error:
                raised.append(str(error))
            self.assertFalse(stream.try_send(b"a"))
            self.assertFalse(stream.wait_ready(1000))

        with serving(handle) as running, Client(running.address) as client, self.assertRaises(EOFError):
            client.get()
        self.assertEqual(len(raised), 1)

    def test_deferred(self):
        def later(responder, req):
            assert responder.respond(lambda res: res.status(202).text(req.path))
            try:
                responder.respond(lambda res: res.text("again"))
            except RuntimeError:
                return
            raise AssertionError

        def handle(req, res):
            responder = res.defer()
            if req.path != "/dropped":
                threading.Thread(target=later, args=(responder, req.keep())).start()

        with serving(handle) as running:
            answer = get(running.address, "/later")
            self.assertEqual((answer.status, answer.body), (202, b"/later"))
            self.assertEqual(get(running.address, "/dropped").status, 500)

    def test_the_requests_of_a_turn_together(self):
        waiting, sizes = [], []

        def handle(req, res):
            waiting.append((req.keep(), res.defer()))

        def before_wait():
            if any(req.path == "/raise" for req, _ in waiting):
                # The exception keeps the variables of this call for as long as it is logged.
                waiting.clear()
                raise ValueError("of the program")
            batch = waiting[:]
            del waiting[:]
            if batch:
                sizes.append(len(batch))
            for req, responder in batch:
                responder.respond(lambda res, path=req.path: res.text(path))

        with serving(handle, before_wait=before_wait) as running:
            clients = [Client(running.address) for _ in range(20)]
            for turn in range(5):
                for n, client in enumerate(clients):
                    client.send(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % n)
                self.assertEqual([client.answer().body for client in clients], [b"/%d" % n for n in range(20)])
            self.assertEqual(sum(sizes), 100)
            with self.assertLogs("peregrine", "ERROR") as logs:
                # Its responder is gone.
                self.assertEqual(clients[0].get("/raise").status, 500)
            self.assertIn("before_wait", logs.output[0])
            self.assertEqual(clients[1].get("/again").body, b"/again")
            for client in clients:
                client.close()

    def test_bodies_that_are_read_as_they_come(self):
        read = []

        def reads(req, body):
            if req.path == "/early":
                body.respond(lambda res: res.status(409).text("enough"))
                return
            total = 0
            while piece := body.read():
                total += len(piece)
                read.append(len(piece))
            body.respond(lambda res: res.text(str(total)))

        def body_plan(req):
            return {"/small": 10, "/wrong": "x"}.get(req.path, reads if req.path != "/plain" else None)

        def handle(req, res):
            res.text(str(len(req.body)))

        with serving(handle, body_plan=body_plan) as running:
            large = b"x" * 3_000_000
            self.assertEqual(get(running.address, "/", method="PUT", body=large).body, b"3000000")
            self.assertGreater(len(read), 10)
            self.assertEqual(get(running.address, "/plain", method="PUT", body=b"abc").body, b"3")
            self.assertEqual(get(running.address, "/small", method="PUT", body=b"x" * 11).status, 413)
            self.assertEqual(get(running.address, "/early", method="PUT", body=b"x" * 1000).status, 409)
            with self.assertLogs("peregrine"):
                self.assertEqual(get(running.address, "/wrong", method="PUT", body=b"x").status, 500)

    def test_a_reader_holds_the_client_back(self):
        go, total = threading.Event(), []

        def reads(req, body):
            go.wait(60)
            while piece := body.read():
                total.append(len(piece))
            body.respond(lambda res: res.text(str(sum(total))))

        with serving(lambda req, res: None, body_plan=lambda req: reads) as running, Client(running.address) as client:
            size = 50_000_000
            client.send(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
            client.socket.setblocking(False)
            sent, idle = 0, 0
            block = b"x" * 65_536
            while idle < 30 and sent < size:
                try:
                    sent += client.socket.send(block[: size - sent])
                    idle = 0
                except BlockingIOError:
                    idle += 1
                    go.wait(0.01)
            self.assertLess(sent, size // 2, "the server reads no further")
            go.set()
            client.socket.settimeout(60)
            while sent < size:
                sent += client.socket.send(block[: size - sent])
            self.assertEqual(client.answer().body, str(size).encode())

    def test_files(self):
        def handle(req, res):
            res.header("Content-Type", "text/plain").file(path)

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.txt")
            with open(path, "wb") as file:
                file.write(b"z" * 200_000)
            with serving(handle, static_paths=[("/static", folder)]) as running:
                self.assertEqual(get(running.address, "/").body, b"z" * 200_000)
                answer = get(running.address, "/static/a.txt", fields="Range: bytes=0-1\r\n")
                self.assertEqual((answer.status, answer.body), (206, b"zz"))
                self.assertEqual(get(running.address, "/static/../../etc/passwd").status, 404)
                self.assertEqual(get(running.address, "/static/none").status, 404)

    def test_files_need_no_python(self):
        inside, go = threading.Event(), threading.Event()

        def handle(req, res):
            res.defer()

        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "a"), "w") as file:
                file.write("a")
            with serving(handle, static_paths=[("/s", folder)]) as running:
                # This thread has Python's lock for the whole exchange: C code that does not let go of it.
                import ctypes

                libc = ctypes.PyDLL(None)
                client = Client(running.address)
                client.send(b"GET /s/a HTTP/1.1\r\nHost: a\r\n\r\n")
                class Poll(ctypes.Structure):
                    _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("revents", ctypes.c_short)]

                poll = Poll(client.socket.fileno(), 1, 0)
                self.assertEqual(libc.poll(ctypes.byref(poll), 1, 60_000), 1)
                self.assertEqual(client.answer().body, b"a")
                client.close()
        del inside, go

    def test_objects_are_not_leaked(self):
        import gc

        class Marked:
            count = 0

            def __init__(self):
                Marked.count += 1

            def __del__(self):
                Marked.count -= 1

        def handle(req, res):
            mark = Marked()
            if req.path == "/iterate":
                def pieces():
                    yield b"a"
                    mark
                    yield b"b"
                res.iterate(pieces())
            else:
                res.text("a")

        with serving(handle) as running, Client(running.address) as client:
            for path in ("/", "/iterate") * 10:
                client.get(path)
            def none():
                gc.collect()
                return Marked.count == 0

            eventually(none)


class Server(unittest.TestCase):
    def test_it_can_be_started_again_and_again(self):
        for _ in range(10):
            with serving(lambda req, res: "a") as running:
                self.assertEqual(get(running.address).body, b"a")
            with self.assertRaises(OSError):
                get(running.address)
            running.close()

    def test_two_at_a_time(self):
        with serving(lambda req, res: "a") as first, serving(lambda req, res: "b") as second:
            self.assertEqual((get(first.address).body, get(second.address).body), (b"a", b"b"))

    def test_a_stop_waits_for_the_response(self):
        inside, go = threading.Event(), threading.Event()

        def handle(req, res):
            inside.set()
            go.wait(60)
            return "done"

        with serving(handle) as running, Client(running.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            inside.wait(60)
            running.stop()
            go.set()
            self.assertEqual(client.answer().body, b"done")
            self.assertEqual(running.join(), (1, 0))

    def test_settings_that_are_not_valid(self):
        import peregrine

        for wrong in ({"port": -1}, {"interface": "fcgi"}, {"root_path": "a"}, {"threads": 0}, {"workers": 2},
                      {"timeout_keep_alive": -1}, {"static_paths": [("/a", "/none")]}, {"no_such": 1},
                      {"forwarded_allow_ips": ["x"]}, {"limit_max_requests": 0},
                      {"limit_max_requests": 1, "limit_max_requests_jitter": -1}):
            with self.assertRaises((ValueError, OSError, TypeError), msg=wrong):
                peregrine.start(lambda req, res: None, **{"port": 0, **wrong}).close()

    def test_a_port_that_is_taken(self):
        with serving(lambda req, res: "a") as running, self.assertRaisesRegex(OSError, "cannot bind"):
            import peregrine

            peregrine.start(lambda req, res: None, port=running.address[1])

    def test_unix_socket(self):
        import stat

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")
            for _ in range(2):
                with serving(lambda req, res: str(req.client), uds=path) as running:
                    self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
                    self.assertEqual(get(running.address).body, b"None")
                self.assertFalse(os.path.exists(path))
            with open(path, "w"):
                pass
            with self.assertRaises(OSError), serving(lambda req, res: None, uds=path):
                pass

    def test_forwarded(self):
        def handle(req, res):
            return f"{req.client[0]} {req.scheme}"

        fields = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
        with serving(handle) as running:
            self.assertEqual(get(running.address, fields=fields).body, b"127.0.0.1 http")
        with serving(handle, forwarded_allow_ips=["127.0.0.1"]) as running:
            self.assertEqual(get(running.address, fields=fields).body, b"192.0.2.7 https")


if __name__ == "__main__":
    unittest.main()
