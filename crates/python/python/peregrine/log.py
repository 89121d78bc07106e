"""What the server logs: to the logger `peregrine`, or to standard error if logging is not set up."""

import logging
import sys

logger = logging.getLogger("peregrine")


def set_up(level):
    """Gives the logger a handler, if neither it nor the root has one."""
    logger.setLevel(level.upper())
    if not logger.hasHandlers():
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
        logger.addHandler(handler)


def report(what, exception):
    """Logs an exception that no caller sees."""
    logger.error("exception in %s", what, exc_info=exception)
