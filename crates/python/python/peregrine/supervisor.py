"""The first process: it has the listener, starts the workers, and starts them again."""

import os
import select
import signal
import socket
import sys
import time

from . import listening, log
from .reload import Watcher
from .worker import SIGNALS, work

# Seconds that a worker has after its own deadline before it is killed.
GRACE = 5.0
# The longest pause before a worker that died is started again.
LONGEST_PAUSE = 5.0


class Worker:
    def __init__(self, pid, notices):
        self.pid = pid
        self.notices = notices
        self.is_ready = False
        self.is_old = False
        """It is to be replaced."""
        self.born = time.monotonic()
        self.told = None
        """When it was told to stop."""
        self.is_killed = False


class Supervisor:
    """Runs `options.workers` processes until SIGINT or SIGTERM. SIGHUP replaces them one after the other: an old one stops
    when a new one serves. If the new ones do not start, the old ones go on."""

    def __init__(self, options, listener, load, *, reload_dirs=(), **hooks):
        self.options = options
        self.listener = listener
        self.load = load
        self.hooks = hooks
        self.workers = {}
        self.signals = []
        self.stopping = False
        self.has_served = False
        self.failures = 0
        self.next_start = 0.0
        self.code = 0
        self.watcher = Watcher(reload_dirs) if reload_dirs else None
        # Workers read the other end; its close tells them that this process is gone.
        self.life, self.life_of_workers = socket.socketpair()

    def run(self):
        """Returns the exit code."""
        wake, woken = socket.socketpair()
        for end in (wake, woken):
            end.setblocking(False)
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        before = {number: signal.signal(number, lambda *_: None) for number in handled}
        wake_before = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
        log.logger.info("listening on %s", listening.url(self.listener))
        try:
            while not (self.stopping and not self.workers):
                self.start_missing()
                self.wait(wake)
                self.reap()
                self.kill_late()
        finally:
            signal.set_wakeup_fd(wake_before)
            for number, handler in before.items():
                signal.signal(number, handler)
            for worker in self.workers.values():
                os.kill(worker.pid, signal.SIGKILL)
                os.waitpid(worker.pid, 0)
            wake.close()
            woken.close()
            self.life.close()
            self.life_of_workers.close()
            self.listener.close()
            if self.options.uds:
                try:
                    os.unlink(self.options.uds)
                except OSError:
                    pass
        return self.code

    def missing(self):
        """How many workers are to be started. While old ones are replaced, there is one more."""
        if self.stopping:
            return 0
        serving = [worker for worker in self.workers.values() if worker.told is None]
        return self.options.workers + any(worker.is_old for worker in serving) - len(serving)

    def start_missing(self):
        while self.missing() > 0 and time.monotonic() >= self.next_start:
            self.fork()

    def fork(self):
        notices, tells = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal for the new process waits until that has its own handlers.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            os.close(notices)
            self.life.close()
            for worker in self.workers.values():
                if worker.notices is not None:
                    os.close(worker.notices)
            work(self.load, self.options, self.listener, self.life_of_workers, tells, **self.hooks)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(tells)
        self.workers[pid] = Worker(pid, notices)

    def wait(self, wake):
        """Waits for a signal, for a notice of a worker, or until there is something to do."""
        workers = {worker.notices: worker for worker in self.workers.values() if worker.notices is not None}
        timeout = self.watcher.INTERVAL if self.watcher else None
        if self.missing() > 0:
            pause = max(0.0, self.next_start - time.monotonic())
            timeout = pause if timeout is None else min(pause, timeout)
        elif any(worker.told is not None for worker in self.workers.values()):
            timeout = 0.5
        ready, _, _ = select.select([wake, *workers], [], [], timeout)
        for end in ready:
            if end is wake:
                for number in wake.recv(4096):
                    self.on_signal(number)
            else:
                self.on_notice(workers[end])
        if self.watcher and not self.stopping:
            changed = self.watcher.changed()
            if changed:
                log.logger.info("%s has changed", changed)
                self.failures = 0
                self.next_start = 0.0
                self.replace_all()

    def on_notice(self, worker):
        """A worker says `r` when it serves, and `q` when it stops because it has served its number of requests."""
        notices = os.read(worker.notices, 16)
        if b"r" in notices:
            worker.is_ready = self.has_served = True
            self.retire()
        if b"q" in notices and worker.told is None:
            worker.told = time.monotonic()
        if not notices:
            os.close(worker.notices)
            worker.notices = None

    def on_signal(self, number):
        if number in (signal.SIGINT, signal.SIGTERM):
            # A second signal aborts the connections that are open. It is another one for the workers: two equal
            # ones that come soon after each other may arrive as one.
            log.logger.info("aborting" if self.stopping else "stopping")
            for worker in self.workers.values():
                if self.stopping:
                    os.kill(worker.pid, signal.SIGQUIT)
                else:
                    self.tell(worker)
            self.stopping = True
        elif number == signal.SIGHUP and not self.stopping:
            self.replace_all()

    def replace_all(self):
        for worker in self.workers.values():
            worker.is_old = True
            if not worker.is_ready and worker.told is None:
                self.tell(worker)

    def retire(self):
        """Tells an old worker to stop, if there are enough without it."""
        serving = [worker for worker in self.workers.values() if worker.told is None and worker.is_ready]
        old = [worker for worker in serving if worker.is_old]
        if old and len(serving) > self.options.workers:
            self.tell(old[0])

    def tell(self, worker):
        if worker.told is None:
            worker.told = time.monotonic()
        os.kill(worker.pid, signal.SIGTERM)

    def kill_late(self):
        most = self.options.timeout_graceful_shutdown + GRACE
        for worker in self.workers.values():
            if worker.told is not None and time.monotonic() - worker.told > most and not worker.is_killed:
                log.logger.error("worker %d did not stop and is killed", worker.pid)
                worker.is_killed = True
                os.kill(worker.pid, signal.SIGKILL)

    def reap(self):
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            worker = self.workers.pop(pid, None)
            if worker is not None:
                self.on_end(worker, os.waitstatus_to_exitcode(status))

    def on_end(self, worker, code):
        while worker.notices is not None:
            self.on_notice(worker)
        if worker.is_killed:
            self.code = 1
        if self.stopping or worker.told is not None or code == 0:
            # A worker that ends with 0 has served its number of requests.
            self.failures = 0
            return
        log.logger.error("worker %d ended with code %d", worker.pid, code)
        if not self.has_served and self.watcher is None:
            # The application cannot be loaded.
            self.stopping, self.code = True, 3
            for other in self.workers.values():
                self.tell(other)
            return
        lived = time.monotonic() - worker.born
        self.failures = 0 if lived > 10 else self.failures + 1
        if self.failures:
            pause = min(LONGEST_PAUSE, 0.1 * 2 ** min(self.failures - 1, 10))
            self.next_start = time.monotonic() + pause
            if self.watcher is not None and not worker.is_ready:
                # It is started when a file changes.
                self.next_start = float("inf")
