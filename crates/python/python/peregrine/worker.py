"""One process that serves."""

import atexit
import os
import selectors
import signal
import sys
import threading
import traceback

from . import log
from .running import Running
from .signals import handled

# Signals that the first process and the workers handle, each in its own way.
SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD}
# Seconds that a process has after its own deadline before it is killed.
GRACE = 5.0


def _give_up():
    log.logger.error("a handler did not stop: the process ends")
    sys.stderr.flush()
    os._exit(1)


def run_until_signal(make, signals, life=None, on_start=lambda running: None, on_quota=lambda: None, most=None):
    """Starts the server that `make` makes, and serves until a signal, until the quota of requests is used up, or until
    `life` ends: the process that has started this one. A second signal, and SIGQUIT, abort the open connections.
    `most` seconds after a signal the process ends in any case, if no other one ends it.
    Returns the server, which has ended."""
    asked, started = [], []
    deadline = threading.Timer(most or 0, _give_up)
    deadline.daemon = True

    def on_signal(number, _frame):
        asked.append(number)
        if most is not None and len(asked) == 1:
            deadline.start()
        is_first = len(asked) == 1 and number != signal.SIGQUIT
        for running in started:
            running.stop() if is_first else running.stop_now()

    # Before the start, so that no signal ends a process that serves.
    with handled(signals, on_signal) as wake:
        try:
            running = make()
            started.append(running)
            if asked:
                running.stop()
            on_start(running)
            _wait(running, wake, life, on_quota)
            running.join()
        finally:
            deadline.cancel()
    return running


def _wait(running, wake, life, on_quota):
    with selectors.DefaultSelector() as selector:
        for end in (running.notices, wake, *([life] if life is not None else [])):
            selector.register(end, selectors.EVENT_READ)
        notices = b""
        while b"e" not in notices:
            for key, _ in selector.select():
                if key.fileobj is running.notices:
                    notices = running.notices.recv(16) or b"e"
                    if b"m" in notices:
                        on_quota()
                        running.stop()
                elif key.fileobj is wake:
                    # The handler has run, or runs before the next wait.
                    wake.recv(4096)
                else:
                    selector.unregister(life)
                    running.stop()


def work(load, options, listener, life, notices, **hooks):
    """The life of a worker process, from its fork to its end. It does not return."""
    code = 1
    try:
        # Functions that the first process has registered are its own.
        atexit._clear()
        signal.set_wakeup_fd(-1)
        # Ctrl-C goes to all processes; the first one tells this one.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in SIGNALS - {signal.SIGINT}:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = _serve(load(), options, listener, life, notices, **hooks)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
        if isinstance(error.code, str):
            log.logger.error("%s", error.code)
    except BaseException:
        traceback.print_exc()
    finally:
        # Threads of the application may still run, so the interpreter is not taken down around them.
        try:
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _serve(app, options, listener, life, notices, **hooks):
    def on_start(running):
        # The socket file belongs to the first process.
        running._path = None
        os.write(notices, b"r")

    running = run_until_signal(
        lambda: Running(app, options, listener, **hooks),
        (signal.SIGTERM, signal.SIGQUIT),
        life,
        on_start,
        lambda: os.write(notices, b"q"),
    )
    drained, aborted = running.join()
    if aborted:
        log.logger.warning("%d connections were aborted, %d ended", aborted, drained)
    if running.is_stuck():
        log.logger.warning("a thread of the application did not end")
    return 1 if running.is_lost() else 0
