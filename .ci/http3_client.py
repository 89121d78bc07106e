"""A client of HTTP/3 above aioquic, for .ci/http3_server and .ci/http3_hostile."""
import asyncio, contextlib, hashlib, os, ssl

from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.buffer import Buffer, BufferReadError
from aioquic.h3.connection import FrameType, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StopSendingReceived, StreamDataReceived, StreamReset

# Seconds that only a failure reaches.
PATIENCE = int(os.environ.get("PATIENCE", 240))


class Response:
    """A response under way. `done` has its result when it has ended: None, or what ended it before its end."""

    def __init__(self):
        self.fields, self.kept, self.length, self.digest = [], [], 0, hashlib.sha256()
        self.done = asyncio.get_running_loop().create_future()
        self.arrived = asyncio.Event()

    @property
    def status(self):
        return int(dict(self.fields)[b":status"])

    @property
    def body(self):
        return b"".join(self.kept)

    def take(self, piece):
        self.length += len(piece)
        self.digest.update(piece)
        if self.length < 1 << 24:
            self.kept.append(piece)

    def end(self, fault=None):
        if not self.done.done():
            self.done.set_result(fault)
        self.arrived.set()


class Http(H3Connection):
    """Keeps what GOAWAY says, which aioquic does not look at, and knows that responses to HEAD have no body."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.goaways, self.goaway, self.heads, self.control = [], asyncio.Event(), set(), b""

    def _check_content_length(self, stream):
        # aioquic asks for the body of a response to HEAD.
        if stream.stream_id not in self.heads:
            super()._check_content_length(stream)

    def handle_event(self, event):
        # The only stream that the server opens.
        if isinstance(event, StreamDataReceived) and event.stream_id % 4 == 3:
            self.control += event.data
            self.goaways = list(goaways(Buffer(data=self.control[1:])))
            if self.goaways:
                self.goaway.set()
        return super().handle_event(event)


def goaways(control):
    """What the frames GOAWAY of a control stream say."""
    with contextlib.suppress(BufferReadError):
        while not control.eof():
            kind, payload = control.pull_uint_var(), control.pull_bytes(control.pull_uint_var())
            if kind == FrameType.GOAWAY:
                yield Buffer(data=payload).pull_uint_var()


class Client(QuicConnectionProtocol):
    """One connection."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.http, self.responses, self.end, self.stops, self.moved = None, {}, None, {}, []

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.http = self.http or Http(self._quic)
        elif isinstance(event, ConnectionTerminated):
            self.end = event
            for response in self.responses.values():
                response.end(f"closed: {event.error_code:#x} {event.reason_phrase}")
        elif isinstance(event, StreamReset):
            if event.stream_id in self.responses:
                self.responses[event.stream_id].end(f"reset: {event.error_code:#x}")
        elif isinstance(event, StopSendingReceived):
            self.stops[event.stream_id] = event.error_code
        for said in self.http.handle_event(event) if self.http else []:
            self.said(said)

    def said(self, event):
        response = self.responses.get(event.stream_id)
        if response is None:
            return
        if isinstance(event, HeadersReceived):
            # A final response, or trailers.
            response.fields = response.fields or event.headers
            response.arrived.set()
        elif isinstance(event, DataReceived):
            response.take(event.data)
            response.arrived.set()
        if event.stream_ended:
            response.end()

    def send(self, method, path, body=b"", fields=(), ended=True):
        """Begins a request. Returns the number of its stream, and what will be the response."""
        stream = self._quic.get_next_available_stream_id()
        self.responses[stream] = response = Response()
        head = [(b":method", method.encode()), (b":scheme", b"https"), (b":authority", b"localhost"),
                (b":path", path.encode()), *fields]
        if method == "HEAD":
            self.http.heads.add(stream)
        self.http.send_headers(stream, head, end_stream=ended and not body)
        if body:
            self.http.send_data(stream, body, end_stream=ended)
        self.transmit()
        return stream, response

    async def ask(self, method, path, body=b"", fields=()):
        """A request and its complete response."""
        stream, response = self.send(method, path, body, fields)
        fault = await asyncio.wait_for(response.done, PATIENCE)
        del self.responses[stream]
        assert fault is None, f"{method} {path}: {fault}"
        return response

    async def upload(self, path, pieces, length):
        """A PUT, with at most 4 MiB of the body in memory."""
        fields = [(b"content-length", str(length).encode())]
        stream, response = self.send("PUT", path, fields=fields, ended=False)
        unsent = self._quic._streams[stream].sender
        for piece in pieces:
            self.http.send_data(stream, piece, end_stream=False)
            self.transmit()
            while len(unsent._buffer) > 4 << 20 and not response.done.done():
                await asyncio.sleep(0.001)
        self.http.send_data(stream, b"", end_stream=True)
        self.transmit()
        fault = await asyncio.wait_for(response.done, PATIENCE)
        assert fault is None, fault
        return response

    async def move(self, host="127.0.0.1", new_id=True):
        """Goes on from another port, and address. Without a new connection id it is as if a NAT had forgotten it."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: Receiver(self), local_addr=(host, 0))
        self.moved.append(self._transport)
        self._transport = transport
        if new_id:
            self._quic.change_connection_id()
        self._quic.send_ping(id(transport))
        self.transmit()

    def connection_lost(self, _):
        pass


class Receiver(asyncio.DatagramProtocol):
    """The socket after a move."""

    def __init__(self, client):
        self.client = client

    def datagram_received(self, data, address):
        self.client.datagram_received(data, address)


def configuration(**options):
    known = dict(is_client=True, alpn_protocols=["h3"], verify_mode=ssl.CERT_NONE, server_name="localhost",
                 idle_timeout=PATIENCE, max_data=16 << 20, max_stream_data=8 << 20)
    return QuicConfiguration(**{**known, **options})


@contextlib.asynccontextmanager
async def client(address, kind=Client, **options):
    """A connection to `HOST:PORT`."""
    host, port = address.rsplit(":", 1)
    quic = QuicConnection(configuration=configuration(**options))
    bound = asyncio.get_running_loop().create_datagram_endpoint(lambda: kind(quic), local_addr=("0.0.0.0", 0))
    first, one = await bound
    try:
        one.connect((host, int(port)))
        await asyncio.wait_for(one.wait_connected(), PATIENCE)
        yield one
    finally:
        # It does not wait for what the server still has to say.
        one.close()
        for transport in {first, *one.moved, one._transport}:
            transport.close()
