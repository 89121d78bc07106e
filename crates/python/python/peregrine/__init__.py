"""peregrine: an HTTP and WebSocket server.

The first program::

    import peregrine

    def handle(req, res):
        res.text("Hello, World!")

    peregrine.serve(handle)
"""

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
