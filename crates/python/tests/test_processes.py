"""The command line: workers, signals, restarts and reload."""

import os
import signal
import socket
import sys
import tempfile
import threading
import unittest

from .wire import PATIENCE, Case, Client, Process, Program, eventually, get

# How often servers are started and stopped under load.
STOPS = int(os.environ.get("PEREGRINE_STOPS", "4"))
ENDLESS = b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n"


def pid_of(address, path="/"):
    return int(get(address, path).body)


class Processes(Case):
    def program(self, *arguments, kind=Program, **more):
        program = kind(*arguments, **more)
        self.addCleanup(program.__exit__)
        return program

    def process(self, *arguments, **more):
        return self.program(*arguments, kind=Process, **more)

    def test_applications_are_found(self):
        for name, more in (("tests.apps:wsgi", ["--wsgi"]), ("tests.apps:Nested.app", ["--interface", "wsgi"]),
                           ("tests.apps:factory", ["--wsgi", "--factory"]), ("tests.apps:native", [])):
            process = self.process(name, *more)
            self.assertNotEqual(pid_of(process.address), process.process.pid)
            self.assertEqual(process.stop(), 0)

    def test_applications_that_cannot_be_loaded(self):
        for name, why in (("tests.none:app", b"ModuleNotFoundError"), ("tests.apps:none", b"AttributeError"), ("tests.apps", b"AttributeError")):
            process = self.process(name, "--wsgi", "--workers", "2")
            self.assertEqual(process.wait(), 3)
            self.assertIn(why, process.log)

    def test_arguments_that_are_not_valid(self):
        for wrong in (["--workers", "0"], ["--static", "x"], ["--no-such"], ["--host", "192.0.2.1"], ["--wsgi", "--asgi"]):
            process = self.process("tests.apps:wsgi", *wrong)
            self.assertIn(process.wait(), (1, 2), wrong)

    def test_workers_share_the_listener(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--workers", "3")
        pids = set()
        eventually(lambda: pids.add(pid_of(process.address)) or len(pids) > 1)
        self.assertEqual(process.stop(), 0)
        for pid in pids:
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)

    def test_a_worker_that_dies_is_started_again(self):
        process = self.process("tests.apps:wsgi", "--wsgi")
        before = pid_of(process.address)
        with self.assertRaises((EOFError, ConnectionResetError)):
            get(process.address, "/exit")
        # Connections wait meanwhile: none is refused.
        after = pid_of(process.address)
        self.assertNotEqual(before, after)
        process.says(b"ended with code 7")
        os.kill(after, signal.SIGKILL)
        self.assertNotEqual(pid_of(process.address), after)
        self.assertEqual(process.stop(), 0)

    def test_max_requests(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--max-requests", "5", "--max-requests-jitter", "3")
        pids = set()
        eventually(lambda: pids.add(pid_of(process.address)) or len(pids) > 3)
        self.assertEqual(process.stop(), 0)
        self.assertNotIn(b"ended with code", process.log)

    @unittest.skipUnless(sys.platform == "linux", "the memory of a process is in /proc")
    def test_max_rss(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--workers-max-rss", "1")
        before = pid_of(process.address)
        eventually(lambda: pid_of(process.address) != before)
        process.says(b"MiB of memory")
        self.assertEqual(process.stop(), 0)
        self.assertNotIn(b"ended with code", process.log)
        process = self.process("tests.apps:wsgi", "--wsgi", "--workers-max-rss", "0")
        self.assertEqual(process.wait(), 1)

    def test_hangup_replaces_workers(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--workers", "2")
        before = pid_of(process.address)
        process.signal(signal.SIGHUP)

        def is_gone():
            get(process.address)
            try:
                os.kill(before, 0)
            except ProcessLookupError:
                return True

        eventually(is_gone)
        self.assertEqual(process.stop(), 0)

    def test_hangup_with_a_mistake(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "replaced.py")

            def write(text):
                with open(path, "w") as file:
                    file.write(text)

            app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
            write(app % "one")
            process = self.process(
                "replaced:app", "--wsgi", "--workers", "2", cwd=folder, env={"PYTHONDONTWRITEBYTECODE": "1"}
            )
            self.assertEqual(get(process.address).body, b"one")
            write("syntax error")
            process.signal(signal.SIGHUP)
            # It is tried again and again. The old workers serve meanwhile.
            eventually(lambda: process.log.count(b"SyntaxError") > 1)
            for _ in range(10):
                self.assertEqual(get(process.address).body, b"one")
            write(app % "two")
            # Every worker is replaced.
            eventually(lambda: [get(process.address).body for _ in range(20)] == [b"two"] * 20)
            self.assertEqual(process.stop(), 0)

    def test_ctrl_c(self):
        process = self.process("tests.apps:wsgi", "--wsgi")
        get(process.address)
        # A terminal sends it to all processes of the group.
        process.signal(signal.SIGINT)
        self.assertEqual(process.wait(), 0)

    def test_workers_end_without_the_first_process(self):
        process = self.process("tests.apps:wsgi", "--wsgi")
        pid = pid_of(process.address)
        process.signal(signal.SIGKILL)
        process.wait()

        def is_gone():
            try:
                with open(f"/proc/{pid}/stat") as file:
                    return file.read().split()[2] == "Z"
            except FileNotFoundError:
                return True

        eventually(is_gone)

    def test_forks_and_programs_of_the_application(self):
        for more in ([], ["--threads", "4"]):
            process = self.process("tests.apps:wsgi", "--wsgi", *more)
            for _ in range(5):
                for path in ("/fork", "/child"):
                    get(process.address, path)
            self.assertEqual(process.stop(), 0)
            self.assertNotIn(b"Error", process.log)

    def test_a_request_gets_its_response_during_the_stop(self):
        for more in ([], ["--threads", "4"]):
            process = self.process("tests.apps:wsgi", "--wsgi", *more)
            with Client(process.address) as client, Client(process.address) as idle:
                idle.get()
                client.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
                # The server has read it when it responds to a later one.
                get(process.address)
                process.signal()
                self.assertEqual(client.answer().status, 200)
            self.assertEqual(process.wait(), 0)

    def test_what_never_ends_is_aborted(self):
        for path, more in (("/stream", []), ("/stream", ["--threads", "2"]), ("/stuck", ["--threads", "2"])):
            process = self.process("tests.apps:wsgi", "--wsgi", "--timeout-graceful-shutdown", "0.3", *more)
            with Client(process.address) as client:
                client.send(ENDLESS.replace(b"/stream", path.encode()))
                if path == "/stream":
                    client.take(100)
                else:
                    process.says(b"the application is stuck")
                self.assertEqual(process.stop(), 0, process.log)
                self.assertIn(b"aborted", process.log)

    def test_an_application_that_blocks_the_event_loop_is_killed(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--timeout-graceful-shutdown", "0")
        with Client(process.address) as client:
            client.send(ENDLESS.replace(b"/stream", b"/stuck"))
            process.says(b"the application is stuck")
            process.signal()
            self.assertEqual(process.wait(), 1)
            self.assertIn(b"is killed", process.log)

    def test_a_second_signal_aborts(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--threads", "2", "--timeout-graceful-shutdown", "1000")
        with Client(process.address) as client:
            client.send(ENDLESS)
            client.take(100)
            process.signal()
            process.says(b"stopping")
            process.signal()
            self.assertEqual(process.wait(), 0)
            self.assertIn(b"aborting", process.log)

    def test_starts_and_stops_under_load(self):
        """Many starts; SIGTERM while requests and streams run. No hang, no crash, no response cut in two."""
        for turn in range(STOPS):
            more = (
                ["tests.apps:wsgi", "--wsgi", "--threads", "4"], ["tests.asgi_app:app", "--asgi"],
                ["tests.apps:wsgi", "--wsgi"], ["tests.apps:native", "--workers", "2"],
            )[turn % 4]
            process = self.process(*more, "--timeout-graceful-shutdown", str(PATIENCE))
            address, stopping, done, wrong = process.address, threading.Event(), [], []

            def load():
                try:
                    while True:
                        with Client(address) as client:
                            for _ in range(20):
                                client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                                answer = client.answer()
                                done.append(answer.status)
                                if answer.field("connection") == "close":
                                    break
                except (OSError, EOFError) as error:
                    if not stopping.is_set():
                        wrong.append(error)

            threads = [threading.Thread(target=load) for _ in range(4)]
            for thread in threads:
                thread.start()
            eventually(lambda: len(done) > 40 * (turn % 5) or wrong)
            stopping.set()
            self.assertEqual(process.stop(), 0, process.log)
            for thread in threads:
                thread.join(PATIENCE)
            self.assertEqual((wrong, set(done) - {200}), ([], set()))
            for word in (b"panick", b"Fatal", b"Traceback", b"aborted"):
                self.assertNotIn(word, process.log)

    def test_reload(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "reloaded.py")

            def write(text):
                with open(path, "w") as file:
                    file.write(text)

            app = "def app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'%s']\n"
            write(app % "one")
            process = self.process("reloaded:app", "--wsgi", "--reload", cwd=folder)
            self.assertEqual(get(process.address).body, b"one")
            write(app % "two" + "# longer\n")
            eventually(lambda: get(process.address).body == b"two")
            # A mistake does not end the server; its correction is served.
            write("syntax error")
            process.says(b"SyntaxError")
            write(app % "three")
            eventually(lambda: get(process.address).body == b"three")
            self.assertEqual(process.stop(), 0)

    def test_inherited_listener(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            command = ["-m", "peregrine", "tests.apps:wsgi", "--wsgi", "--fd", str(listener.fileno())]
            program = self.program(*command, pass_fds=[listener.fileno()])
            self.assertEqual(get(listener.getsockname()).status, 200)
            self.assertEqual(program.stop(), 0)

    def test_access_log(self):
        process = self.process("tests.apps:wsgi", "--wsgi", "--access-log")
        get(process.address, "/seen")
        process.says(b"/seen")
        self.assertEqual(process.stop(), 0)

    def test_serve_of_a_program(self):
        program = (
            "import os, peregrine, sys\n"
            "def handle(req, res):\n"
            "    res.text(str(os.getpid()))\n"
            "peregrine.serve(handle, '127.0.0.1:0', workers=int(sys.argv[1]))\n"
            "print('after the end')\n"
        )
        for workers in ("1", "2"):
            with tempfile.NamedTemporaryFile("w", suffix=".py") as file, tempfile.NamedTemporaryFile() as out:
                file.write(program)
                file.flush()
                process = self.program(file.name, workers, stdout=out)
                self.assertEqual(get(process.address).status, 200)
                process.signal(signal.SIGINT)
                self.assertEqual(process.wait(), 0, process.log)
                with open(out.name, "rb") as written:
                    self.assertEqual(written.read(), b"after the end\n")


if __name__ == "__main__":
    unittest.main()
