"""What the cases of .ci/http3_hostile have in common."""
import asyncio, contextlib, os, socket, struct, time

from aioquic.buffer import encode_uint_var as var
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import Epoch

from http3_client import PATIENCE, Client, client, configuration

# Seconds for each of the cases that the server need not end.
EFFORT = 1.5
MIB = 1 << 20
# A GET of / on :authority a, as HEADERS with the static table of QPACK.
GET = bytes.fromhex("01080000d1d7c1500161")
# Codes of RFC 9114 section 8.1, RFC 9204 section 6, and of QUIC (RFC 9000 section 20.1).
H3_STREAM_CREATION, H3_CLOSED_CRITICAL_STREAM, H3_EXCESSIVE_LOAD = 0x103, 0x104, 0x107
QPACK_DECOMPRESSION, QPACK_ENCODER = 0x200, 0x201
FLOW_CONTROL, STREAM_LIMIT, STREAM_STATE, FINAL_SIZE, FRAME_ENCODING = 0x03, 0x04, 0x05, 0x06, 0x07
PROTOCOL_VIOLATION, CRYPTO_BUFFER_EXCEEDED = 0x0A, 0x0D
cases = []


def case(memory=8 * MIB, ends=(), on="hello"):
    """A case, with the most memory that it may make the server take, and the codes of which one ends its connection."""
    def add(function):
        cases.append((function, memory, ends, on))
        return function

    return add


class Attacker(Client):
    """A connection whose packets can be made by hand, and which may be deaf. `is_forgotten`: a stateless reset has come."""
    deaf = is_forgotten = False

    def datagram_received(self, data, address):
        self.is_forgotten |= data[-16:] == self._quic._peer_cid.stateless_reset_token
        if not self.deaf:
            super().datagram_received(data, address)

    def packet(self, payload, cid=None):
        """A packet with these frames."""
        quic = self._quic
        crypto, number = quic._cryptos[Epoch.ONE_RTT], quic._packet_number
        quic._packet_number += 1
        first = bytes([0x41 | crypto.key_phase << 2])
        header = first + (cid or quic._peer_cid.cid) + struct.pack("!H", number & 0xFFFF)
        return crypto.encrypt_packet(header, payload.ljust(4, b"\0"), number)

    def put(self, payload):
        # Not after a close of the server, which is an event only when the time for repetitions has passed.
        if not self._quic._cryptos[Epoch.ONE_RTT].send.is_valid():
            return
        self._transport.sendto(self.packet(payload), self._quic._network_paths[0].addr)

    async def open(self, uni=False):
        """The number of a new stream, when the server allows one."""
        quic = self._quic
        allowed = lambda: quic._remote_max_streams_uni if uni else quic._remote_max_streams_bidi
        until = time.monotonic() + PATIENCE
        while quic.get_next_available_stream_id(uni) // 4 >= allowed() and not self.end:
            assert time.monotonic() < until, "the server allows no more streams"
            await asyncio.sleep(0.001)
        number = quic.get_next_available_stream_id(uni)
        quic._get_or_create_stream_for_send(number)
        return number

    async def flood(self, payload, most=20_000, each=20):
        """What `payload(i)` gives, until the server closes the connection or for as long as the effort."""
        until = time.monotonic() + EFFORT
        for i in range(most):
            self.put(payload(i))
            if i % each == each - 1:
                await asyncio.sleep(0)
            if self.end or time.monotonic() > until:
                return

    async def ended(self):
        """The server has to close the connection."""
        await asyncio.wait_for(self._closed.wait(), PATIENCE)

    async def gone(self, payload=lambda: b"\1", pause=0.1):
        """The same, while it sends what `payload()` gives. If the close does not fit into the window of the server, the
        server forgets the connection."""
        until = time.monotonic() + PATIENCE
        while not self.is_forgotten and not self.end:
            assert time.monotonic() < until, "the connection goes on"
            self.put(payload())
            await asyncio.sleep(pause)


def attacker(address, **options):
    return client(address, kind=Attacker, **options)


def stream(number, offset, data, fin=False):
    """A STREAM frame."""
    return bytes([0x0E | fin]) + var(number) + var(offset) + var(len(data)) + data


def crypto(offset, data):
    return b"\x06" + var(offset) + var(len(data)) + data


def hello(**options):
    """A client that has begun a connection, and its first words."""
    quic = QuicConnection(configuration=configuration(**options))
    quic.connect(("127.0.0.1", 1), now=0)
    return quic, bytes(quic._crypto_streams[Epoch.INITIAL].sender._buffer)


def first_datagram(said, token=b""):
    """The first datagram of a new connection, with what `hello` has said."""
    quic, words = said
    to, keys = os.urandom(8), CryptoPair()
    keys.setup_initial(cid=to, is_client=True, version=QuicProtocolVersion.VERSION_1)
    header = b"\xc1\0\0\0\1\x08" + to + bytes([len(quic.host_cid)]) + quic.host_cid + var(len(token)) + token
    # The length of the packet and its number have two bytes each, and what protects it has 16.
    length = 1200 - len(header) - 2
    payload = crypto(0, words).ljust(length - 2 - 16, b"\0")
    return keys.encrypt_packet(header + struct.pack("!HH", 0x4000 | length, 0), payload, 0)


@contextlib.contextmanager
def udp(address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        host, port = address.rsplit(":", 1)
        one.connect((host, int(port)))
        yield one


async def received(one, quiet=1.0, first=None):
    """Bytes that come until nothing comes any more. `first`: seconds in which something has to come."""
    one.setblocking(False)
    total = count = 0
    with contextlib.suppress(TimeoutError):
        while True:
            limit = quiet if total or first is None else first
            data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(one, 2000), limit)
            total, count = total + len(data), count + 1
    return total, count
