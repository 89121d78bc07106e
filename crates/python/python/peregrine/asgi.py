"""ASGI: a thread with an asyncio loop that runs the application."""

import asyncio
import contextlib
import socket
import sys
import threading

from . import listening, log
from ._peregrine import Bridge

# Seconds after which the end of a client is noticed by an application that waits in `receive` and has sent nothing.
POLL = 0.25
# Seconds that tasks have to end after they were cancelled.
CANCEL = 1.0
# Seconds that the shutdown of the lifespan may take.
SHUTDOWN = 3.0


class ClientDisconnected(OSError):
    """What `send` raises when the client has gone (ASGI specification, version 2.4)."""


class LifespanFailed(RuntimeError):
    """The application has refused to start."""


def _new_loop(name):
    if name != "asyncio":
        try:
            import uvloop

            return uvloop.new_event_loop()
        except ImportError:
            if name == "uvloop":
                raise
    return asyncio.new_event_loop()


class Lifespan:
    """The lifespan of an application. If it raises at the start, it has none, unless the mode is `on`."""

    def __init__(self, app, mode, state):
        self.app, self.mode, self.state = app, mode, state
        self.task = None
        self.inbox = asyncio.Queue()
        self.answers = asyncio.Queue()

    async def _run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.app(scope, self.inbox.get, self._send)
        except BaseException as error:
            await self.answers.put(("raised", error))
            if not isinstance(error, Exception):
                raise
        else:
            await self.answers.put(("returned", None))

    async def _send(self, message):
        kinds = ("lifespan.startup.complete", "lifespan.startup.failed", "lifespan.shutdown.complete", "lifespan.shutdown.failed")
        if message["type"] not in kinds:
            raise RuntimeError(f"{message['type']!r} is no message of lifespan")
        await self.answers.put((message["type"], message.get("message", "")))

    async def start(self):
        if self.mode == "off":
            return
        self.task = asyncio.ensure_future(self._run())
        await self.inbox.put({"type": "lifespan.startup"})
        kind, detail = await self.answers.get()
        if kind == "lifespan.startup.complete":
            return
        if kind == "raised" and self.mode == "auto" and isinstance(detail, Exception):
            log.logger.info("the application has no lifespan")
            self.task = None
            return
        if kind == "returned" and self.mode == "auto":
            self.task = None
            return
        raise LifespanFailed(f"lifespan: {kind} {detail}") from (detail if kind == "raised" else None)

    async def stop(self, timeout):
        if self.task is None or self.task.done():
            return
        await self.inbox.put({"type": "lifespan.shutdown"})
        try:
            kind, detail = await asyncio.wait_for(self.answers.get(), timeout)
        except asyncio.TimeoutError:
            log.logger.error("lifespan: no answer to the shutdown within %s s", timeout)
        else:
            if kind in ("lifespan.shutdown.failed", "raised"):
                log.logger.error("lifespan: %s %s", kind, detail)
        self.task.cancel()


class LoopThread:
    """Runs the application on a loop of its own. The server gives it events through `bridge`."""

    def __init__(self, app, options, listener):
        self.app, self.options = app, options
        self.loop = _new_loop(options.loop)
        self.tasks = set()
        self.state = {}
        wakes, sleeps = socket.socketpair()
        wakes.setblocking(False)
        sleeps.setblocking(False)
        self._sleeps = sleeps.detach()
        self.bridge = Bridge(
            wakes.detach(), self._sleeps, options.limit_concurrency, self.loop.create_future,
            ClientDisconnected, self._poll_later, self._spawner(), self._scopes(listener),
        )
        self._started = threading.Event()
        self._ends = asyncio.Event()
        self._failure = None
        # Called if the loop ends before `stop`, which only the application can do.
        self.on_lost = None
        self.is_lost = False
        self.thread = threading.Thread(target=self._run, name="peregrine-asgi", daemon=True)

    def _scopes(self, listener):
        host, port = listening.name_and_port(listener)
        server = (listener.getsockname(), None) if listener.family == socket.AF_UNIX else (host, int(port))
        common = {
            "asgi": {"version": "3.0", "spec_version": "2.5"}, "server": server, "root_path": self.options.root_path,
            "state": self.state,
        }
        http = {"type": "http", **common, "extensions": {}}
        websocket = {"type": "websocket", **common, "extensions": {"websocket.http.response": {}}}
        return http, websocket, self.options.root_path

    def _spawner(self):
        app, loop, tasks = self.app, self.loop, self.tasks

        async def run(scope, exchange):
            try:
                await app(scope, exchange.receive, exchange.send)
            except BaseException as error:
                exchange.finish(error)
                if isinstance(error, asyncio.CancelledError):
                    raise
            else:
                exchange.finish()

        if sys.version_info >= (3, 12):
            # The task begins at once: an application that waits for nothing needs no turn of the loop.
            def spawn(scope, exchange):
                task = asyncio.Task(run(scope, exchange), loop=loop, eager_start=True)
                if not task.done():
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        else:
            def spawn(scope, exchange):
                task = loop.create_task(run(scope, exchange))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

        return spawn

    def _poll_later(self):
        self.loop.call_later(POLL, self._poll)

    def _poll(self):
        if self.bridge.poll():
            self._poll_later()

    def start(self):
        """Returns when the application has started. Raises what its lifespan has raised."""
        self.thread.start()
        self._started.wait()
        if self._failure is not None:
            self.thread.join()
            raise self._failure

    def _run(self):
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            has_started = self._started.is_set()
            self._started.set()
            with contextlib.suppress(Exception):
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()
            if has_started and not self._ends.is_set():
                log.logger.error("the event loop of the application has ended: %r", self._failure)
                self.is_lost = True
                if self.on_lost:
                    self.on_lost()

    async def _serve(self):
        lifespan = Lifespan(self.app, self.options.lifespan, self.state)
        await lifespan.start()
        self.loop.add_reader(self._sleeps, self.bridge.drain)
        self._started.set()
        await self._ends.wait()
        self.bridge.drain()
        # Their clients have gone.
        tasks = set(self.tasks)
        if tasks:
            await asyncio.wait(tasks, timeout=POLL)
            for task in tasks:
                task.cancel()
            _, stuck = await asyncio.wait(tasks, timeout=CANCEL)
            if stuck:
                log.logger.warning("%d tasks of the application did not end", len(stuck))
        await lifespan.stop(SHUTDOWN)
        self.loop.remove_reader(self._sleeps)

    def stop(self):
        """Ends the loop, after the server. Waits for it, but not for an application that blocks it."""
        try:
            self.loop.call_soon_threadsafe(self._ends.set)
        except RuntimeError:
            pass
        self.thread.join(SHUTDOWN + CANCEL + 2 * POLL)
        return not self.thread.is_alive()
