"""The first process: it has the listener, starts the workers, and starts them again."""

import os
import select
import signal
import socket
import sys
import time

from . import listening, log, signals
from .reload import Watcher
from .worker import GRACE, SIGNALS, work

# How often the memory of workers is looked at, in seconds, and how old a worker must be, so that one whose application needs
# more than the limit from the beginning is not replaced all the time.
MEMORY_INTERVAL = 1.0
MEMORY_AGE = 5.0
# The longest pause before a worker that died is started again.
LONGEST_PAUSE = 5.0


def resident(pid):
    """Bytes of memory of a process that are in RAM; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


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
        self.stopping = False
        self.has_served = False
        self.failures = 0
        self.next_start = 0.0
        self.code = 0
        self.next_look = 0.0
        self.watcher = Watcher(reload_dirs) if reload_dirs else None
        # Workers read the other end; its close tells them that this process is gone.
        self.life, self.life_of_workers = socket.socketpair()

    def run(self):
        """Returns the exit code."""
        handled = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        with signals.handled(handled, lambda *_: None) as wake:
            log.logger.info("listening on %s", listening.url(self.listener, self.options))
            try:
                while not (self.stopping and not self.workers):
                    self.start_missing()
                    self.wait(wake)
                    self.reap()
                    self.kill_late()
                    self.check_memory()
            finally:
                self.close()
        return self.code

    def close(self):
        for worker in self.workers.values():
            os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
        self.life.close()
        self.life_of_workers.close()
        self.listener.close()
        if self.options.uds:
            try:
                os.unlink(self.options.uds)
            except OSError:
                pass

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
        if self.options.workers_max_rss is not None:
            timeout = MEMORY_INTERVAL if timeout is None else min(timeout, MEMORY_INTERVAL)
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

    def check_memory(self):
        """Replaces workers that have too much memory, after new ones serve."""
        now = time.monotonic()
        if self.options.workers_max_rss is None or now < self.next_look or self.stopping:
            return
        self.next_look = now + MEMORY_INTERVAL
        for worker in self.workers.values():
            may_be_replaced = worker.is_ready and not worker.is_old and worker.told is None
            if may_be_replaced and now - worker.born > MEMORY_AGE:
                used = resident(worker.pid) >> 20
                if used > self.options.workers_max_rss:
                    log.logger.info("worker %d has %d MiB of memory and is replaced", worker.pid, used)
                    worker.is_old = True

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
