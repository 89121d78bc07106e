"""`wsgi.input` of a body that comes while the application reads it."""

import io

# Bytes that are read ahead for lines.
AHEAD = 65536


class _Raw(io.RawIOBase):
    def __init__(self, source):
        self._source = source

    def readable(self):
        return True

    def readinto(self, into):
        data = self._source.read(len(into))
        into[: len(data)] = data
        return len(data)


def open_input(source):
    return io.BufferedReader(_Raw(source), AHEAD)
