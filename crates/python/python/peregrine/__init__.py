"""peregrine: an HTTP and WebSocket server.

The first program::

    import peregrine

    def handle(req, res):
        res.text("Hello, World!")

    peregrine.serve(handle)
"""

import os as _os

from ._peregrine import after_fork as _after_fork
from ._peregrine import BodyReader, FileWrapper, Hub, Request, Responder, Response, Stream, WebSocket
from .options import Options
from .running import Running, serve, start

__all__ = [
    "BodyReader",
    "FileWrapper",
    "Hub",
    "Options",
    "Request",
    "Responder",
    "Response",
    "Running",
    "Stream",
    "WebSocket",
    "serve",
    "start",
]

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_after_fork)
