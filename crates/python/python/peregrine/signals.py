"""Signals that no thread misses."""

import contextlib
import signal
import socket


@contextlib.contextmanager
def handled(numbers, handler):
    """Within it `handler` handles these signals on the main thread. Yields a socket that gets the number of each signal as a
    byte: a wait for it ends also if the signal came before the wait, or on another thread."""
    wake, woken = socket.socketpair()
    for end in (wake, woken):
        end.setblocking(False)
    # Before the handlers: a signal that comes between the two must not be lost.
    wake_before = signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield wake
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
        signal.set_wakeup_fd(wake_before)
        wake.close()
        woken.close()
