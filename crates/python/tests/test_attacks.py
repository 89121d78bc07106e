"""Applications that fork, end their loop, or never return: clients get one response, and the process ends when it is told to."""

import os
import re
import signal
import subprocess
import sys
import unittest

from .wire import PATIENCE, Client, Process, eventually, get, serving

FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WAYS = (["native"], ["wsgi", "--wsgi"], ["wsgi", "--wsgi", "--threads", "3"], ["asgi", "--asgi"])


class Attacks(unittest.TestCase):
    def process(self, name, *arguments):
        process = Process(f"tests.attack_apps:{name}", *arguments, cwd=FOLDER)
        self.addCleanup(process.__exit__)
        return process

    def test_a_child_that_leaves_its_handler(self):
        """The connection is the parent's: its child writes nothing to it, and serves nothing."""
        for way in WAYS:
            with self.subTest(way):
                process = self.process(*way)
                with Client(process.address) as client:
                    for path in ("/exit", "/raise", "/return") * 3:
                        self.assertEqual(client.get(path).body, b"parent")
                    self.assertEqual(client.get("/").body, b"fine")
                    self.assertEqual(client.unread, b"")
                self.assertEqual(process.stop(), 0)

    def test_a_loop_that_ends(self):
        """The worker cannot serve any more, so another one is started."""
        for path in ("/loop", "/task"):
            with self.subTest(path):
                process = self.process("asgi", "--asgi")
                with Client(process.address) as client:
                    client.send(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
                    self.assertTrue(client.is_closed())
                eventually(lambda: b"the event loop of the application has ended" in process.log)
                self.assertEqual(get(process.address).body, b"fine")
                self.assertEqual(process.stop(), 0)

    def test_a_handler_that_never_returns(self):
        """Without a first process, nothing else ends the program."""
        program, address = self.without_workers()
        with Client(address) as client:
            client.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            while program.stderr.readline() != b"in the handler\n":
                pass
            program.send_signal(signal.SIGTERM)
            self.assertEqual(program.wait(PATIENCE), 1)
            self.assertIn(b"did not stop", program.stderr.read())

    def test_headers_that_send(self):
        """A generator of fields that sends, and one that another thread uses, are errors of the application."""
        raised = []

        async def app(scope, receive, send):
            if scope["type"] != "http":
                raise RuntimeError("HTTP only")

            def fields():
                yield b"x-a", b"1"
                try:
                    send({"type": "http.response.start", "status": 200, "headers": []})
                except Exception as error:
                    raised.append(error)

            await send({"type": "http.response.start", "status": 200, "headers": fields()})
            await send({"type": "http.response.body", "body": b"x"})

        with serving(app, "asgi") as running, self.assertLogs("peregrine", "ERROR") as logs:
            self.assertEqual(get(running.address).status, 500)
        self.assertIn("http.response.start was sent before", "\n".join(logs.output))
        self.assertEqual(raised, [])

    def program(self, *arguments):
        """A program of its own group, all of whose processes are killed after the test."""
        program = subprocess.Popen(
            [sys.executable, *arguments], cwd=FOLDER, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

        def kill():
            program.stderr.close()
            try:
                os.killpg(program.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            program.wait()

        self.addCleanup(kill)
        return program

    def without_workers(self):
        """A program without a first process, and its address."""
        program = self.program("-m", "tests.attack_apps")
        found = None
        while not found:
            line = program.stderr.readline()
            self.assertTrue(line, "it has ended")
            found = re.search(rb"listening on http://([\d.]+):(\d+)", line)
        return program, (found[1].decode(), int(found[2]))

    def ends(self, program):
        """Waits for all processes of a program, which has got its signal: the pipe is closed then. Returns its code."""
        try:
            _, log = program.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired as late:
            self.fail(f"it goes on: {late.stderr}")
        self.assertNotIn(b"panicked", log)
        return program.returncode

    def test_a_signal_at_any_time(self):
        """SIGTERM from the first instruction of the program on, and Ctrl-C from the line that it listens on: Python itself may
        ignore one during an import."""
        command = ["-m", "peregrine", "tests.attack_apps:asgi", "--asgi", "--port", "0", "--workers", "2"]
        for number, delays in ((signal.SIGTERM, 12), (signal.SIGINT, 6)):
            for delay in range(delays):
                with self.subTest(number, delay=delay):
                    program = self.program(*command)
                    if number == signal.SIGINT:
                        self.assertIn(b"listening on ", program.stderr.readline())
                    # Each time a little later; what it meets is different on each machine.
                    try:
                        program.wait(delay * 0.06)
                    except subprocess.TimeoutExpired:
                        pass
                    program.send_signal(number)
                    # Before the first process has handlers, the signal ends it.
                    self.assertIn(self.ends(program), (0, -number))

    def test_a_signal_between_two_steps(self):
        """The signal comes right after each call that prepares for signals."""
        # The wake-up descriptor and two or four handlers.
        for workers, steps in (1, 3), (2, 5):
            for step in range(1, steps + 1):
                with self.subTest(workers=workers, step=step):
                    program = self.program("-m", "tests.attack_apps", "signal", str(step), str(workers))
                    self.assertIn(self.ends(program), (0, -signal.SIGTERM))

    def test_a_signal_on_another_thread(self):
        """It does not interrupt the wait of the main thread, which ends all the same."""
        program, address = self.without_workers()
        with Client(address) as client:
            self.assertEqual(client.get("/signal").body, b"sent")
        self.assertEqual(self.ends(program), 0)


if __name__ == "__main__":
    unittest.main()
