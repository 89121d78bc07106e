"""Applications that fork, end their loop, or never return: clients get one response, and the process ends when it is told to."""

import contextlib
import signal
import subprocess
import unittest

from .wire import Case, Client, Process, Program, get, serving

WAYS = (["native"], ["wsgi", "--wsgi"], ["wsgi", "--wsgi", "--threads", "3"], ["asgi", "--asgi"])


class Attacks(Case):
    def process(self, name, *arguments):
        process = Process(f"tests.attack_apps:{name}", *arguments)
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
                process.says(b"the event loop of the application has ended")
                self.assertEqual(get(process.address).body, b"fine")
                self.assertEqual(process.stop(), 0)

    def test_a_handler_that_never_returns(self):
        """Without a first process, nothing else ends the program."""
        program = self.program("-m", "tests.attack_apps")
        with Client(program.address) as client:
            client.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
            program.says(b"in the handler\n")
            self.assertEqual(program.stop(), 1)
            self.assertIn(b"did not stop", program.log)

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
        program = Program(*arguments)
        self.addCleanup(program.__exit__)
        return program

    def ends(self, program):
        """Waits for all processes of a program, which has got its signal. Returns its code."""
        code = program.wait()
        self.assertNotIn(b"panicked", program.log)
        return code

    def test_a_signal_at_any_time(self):
        """SIGTERM from the first instruction of the program on, and Ctrl-C from the line that it listens on: Python itself may
        ignore one during an import."""
        command = ["-m", "peregrine", "tests.attack_apps:asgi", "--asgi", "--port", "0", "--workers", "2"]
        for number, delays in ((signal.SIGTERM, 12), (signal.SIGINT, 6)):
            for delay in range(delays):
                with self.subTest(number, delay=delay):
                    program = self.program(*command)
                    if number == signal.SIGINT:
                        program.says(b"listening on ")
                    # Each time a little later; what it meets is different on each machine.
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        program.process.wait(delay * 0.06)
                    program.signal(number)
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
        program = self.program("-m", "tests.attack_apps")
        with Client(program.address) as client:
            self.assertEqual(client.get("/signal").body, b"sent")
        self.assertEqual(self.ends(program), 0)


if __name__ == "__main__":
    unittest.main()
