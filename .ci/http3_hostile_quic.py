"""Hostile clients of QUIC."""
import asyncio, contextlib, os, random, struct, time

from aioquic.buffer import encode_uint_var as var
from aioquic.quic.connection import QuicConnectionId
from aioquic.tls import Epoch

from http3_attacker import *


# ---- QUIC: streams


@case(ends=[STREAM_LIMIT])
async def streams_that_are_not_allowed(one):
    one.put(stream(4 * 100_000, 0, GET, fin=True))
    await one.ended()


@case(memory=12 * MIB)
async def highest_streams_first(one):
    """The highest stream that is allowed opens all below it."""
    most = one._quic._remote_max_streams_bidi
    assert most <= 1000, most
    one._quic._get_or_create_stream_for_send(4 * (most - 1))
    one.put(stream(4 * (most - 1), 0, GET, fin=True))
    await asyncio.sleep(0.2)
    assert not one.end, one.end


@case(memory=16 * MIB)
async def holes(one):
    """Every second byte of the windows of 90 streams, one in a datagram of full length: what holds the byte could be all of it."""
    one.deaf = True
    def payload(i):
        return stream(4 * (1 + i % 90), 2 * (i // 90) + 1, b"x") + bytes(1100)
    await one.flood(payload, most=30_000)


@case(memory=16 * MIB)
async def holes_in_many_frames(one):
    """The same, with 200 frames in a datagram."""
    one.deaf = True
    def payload(i):
        return b"".join(stream(4 * (1 + i % 90), 2 * (200 * (i // 90) + j) + 1, b"x") for j in range(150))
    await one.flood(payload, most=10_000)


@case(ends=[FLOW_CONTROL])
async def beyond_the_window(one):
    one.put(stream(await one.open(), 1 << 24, b"x"))
    await one.ended()


@case(ends=[FINAL_SIZE])
async def two_final_sizes(one):
    number = await one.open()
    one.put(stream(number, 10, b"x", fin=True) + stream(number, 20, b"x", fin=True))
    await one.ended()


@case(ends=[STREAM_STATE, STREAM_LIMIT])
async def streams_of_the_server(one):
    one.put(stream(1, 0, b"x"))
    await one.ended()


@case()
async def stop_sending_flood(one):
    await one.flood(lambda i: (b"\x05" + var(0) + var(0x10C)) * 200)


@case()
async def max_data_flood(one):
    await one.flood(lambda i: b"".join(b"\x10" + var(1 << 20 | i * 200 + j) for j in range(200)))


# ---- QUIC: connection


@case(memory=2 * MIB)
async def new_connection_ids(one):
    """Each one retires those before it, and what the server says of that is never acknowledged."""
    one._quic._write_ack_frame = lambda *_, **__: None
    # aioquic has to know the new ids, and to have nothing to say when they are retired.
    handlers = one._quic._QuicConnection__frame_handlers
    handlers[0x19] = (lambda _, __, frame: frame.pull_uint_var(), handlers[0x19][1])

    def payload(i):
        number, cid = 10 + i, struct.pack("!Q", i)
        one._quic._host_cids.append(QuicConnectionId(cid, number, was_sent=True))
        return b"\x18" + var(number) + var(number) + b"\x08" + cid + os.urandom(16)

    await one.flood(payload)


def ignored_connection_id(_, __, frame):
    frame.pull_uint_var(), frame.pull_uint_var()
    frame.pull_bytes(frame.pull_uint8() + 16)


@case(memory=2 * MIB)
async def retired_connection_ids(one):
    """All ids but the one in use are given back, again and again, before they come. Nothing is acknowledged."""
    one._quic._write_ack_frame = lambda *_, **__: None
    count = len(one._quic._peer_cid_available)
    handlers = one._quic._QuicConnection__frame_handlers
    handlers[0x18] = (ignored_connection_id, handlers[0x18][1])
    for i in range(250):
        one.put(b"".join(b"\x19" + var(count * i + j + 1) for j in range(count)))
        # Not faster than the server issues them: it ends the connection for an id that it has not issued, too.
        await asyncio.sleep(0.02)
        if one._quic._close_event:
            return await one.ended()
    await one.gone()


@case(memory=2 * MIB)
async def path_challenges(one):
    one.deaf = True
    await one.flood(lambda i: b"".join(b"\x1a" + os.urandom(8) for _ in range(100)))


@case(memory=2 * MIB)
async def path_responses(one):
    await one.flood(lambda i: b"".join(b"\x1b" + os.urandom(8) for _ in range(100)))


@case(memory=4 * MIB)
async def paths(one):
    """Each datagram comes from another port: challenges of the server go to each, at most three times what came."""
    for _ in range(200):
        with udp(one.address) as other:
            for _ in range(3):
                other.send(one.packet(b"\1"))
            await asyncio.sleep(0)


@case(memory=2 * MIB)
async def amplification_by_a_path(one):
    """What the server sends to an address that is not validated: at most three times what came from there. In a move its
    challenge and a probe of the size of datagrams may be more; there are at most `QuicLimits::moves` of them."""
    more = 1200 + 1500
    for payload, more in [(b"\x1a" + bytes(8), 0), (b"\1", more), (b"\1" * 500, more)]:
        with udp(one.address) as other:
            sent = sum(other.send(one.packet(payload)) for _ in range(2))
            total, _ = await received(other)
            assert total <= 3 * sent + more, f"{total} bytes for {sent}"


@case(ends=[PROTOCOL_VIOLATION])
async def optimistic_ack(one):
    """Packets that the server has not sent are acknowledged."""
    one.put(b"\x02" + var(1_000_000) + var(0) + b"\0" + var(1_000))
    await one.ended()


@case(on="files")
async def optimistic_ack_of_a_download(one):
    """All that may have been sent is acknowledged, before it comes. The server leaves out numbers to find this out."""
    one.send("GET", "/large")
    one._quic._write_ack_frame = lambda *_, **__: None

    def all_of_them():
        largest = max((range_.stop for range_ in one._quic._spaces[Epoch.ONE_RTT].ack_queue), default=1) - 1
        return b"\x02" + var(largest) + var(0) + b"\0" + var(largest)

    await one.gone(all_of_them, pause=0.001)
    assert not one.end or one.end.error_code == PROTOCOL_VIOLATION, one.end


@case(memory=2 * MIB)
async def ack_ranges(one):
    """As many ranges as fit, in each packet."""
    for _ in range(50):
        await asyncio.gather(*(one.ask("GET", "/") for _ in range(20)))
    one._quic._write_ack_frame = lambda *_, **__: None
    largest = one._quic._spaces[Epoch.ONE_RTT].largest_received_packet
    count = min(500, largest // 2 - 2)
    await one.flood(lambda i: b"\x02" + var(largest) + var(0) + var(count) + b"\0" + b"\0\0" * count)


@case(memory=4 * MIB)
async def holes_in_packet_numbers(one):
    """Every second packet is left out, so what the server acknowledges has a range for each packet."""
    one.deaf = True
    for i in range(10_000):
        one._quic._packet_number += 1
        one.put(b"\1")
        if i % 20 == 0:
            await asyncio.sleep(0)


@case(ends=[CRYPTO_BUFFER_EXCEEDED])
async def crypto_far_ahead(one):
    one.put(crypto(1 << 20, b"x" * 1000))
    await one.ended()


@case(memory=2 * MIB)
async def crypto_with_holes(one):
    """CRYPTO frames out of order, within what may be kept."""
    await one.flood(lambda i: b"".join(crypto(2 * ((i * 50 + j) % 4000) + 1000, b"x") for j in range(50)))


@case(memory=2 * MIB)
async def unknown_frames(one):
    one.put(b"\x40\x80\1\2\3")
    await one.ended()


@case(memory=2 * MIB)
async def pings(one):
    one.deaf = True
    await one.flood(lambda i: b"\1" * 1000)


@case(memory=2 * MIB)
async def key_updates(one):
    """As fast as they are allowed."""
    for _ in range(300):
        one.request_key_update()
        await one.ask("GET", "/")


# ---- before a connection


@case(memory=64 * MIB)
async def uncompleted_handshakes(address):
    """First datagrams, of which nothing follows: more than may be under way."""
    said = hello()
    with udp(address) as one:
        for _ in range(3000):
            one.send(first_datagram(said))
            await asyncio.sleep(0)
        yield


@case(memory=4 * MIB)
async def amplification(address):
    """A client that does not answer: three times what it sent is the most that comes, repetitions included."""
    with udp(address) as one:
        sent = one.send(first_datagram(hello()))
        total, _ = await received(one, 2.0, first=PATIENCE)
        assert 0 < total <= 3 * sent, f"{total} bytes for {sent}"
    yield


@case(memory=4 * MIB)
async def small_first_datagrams(address):
    """A first datagram below 1,200 bytes gets nothing."""
    with udp(address) as one:
        one.send(first_datagram(hello())[:1100])
        total, _ = await received(one)
        assert total == 0, total
    yield


@case(memory=4 * MIB)
async def garbage(address):
    """Datagrams of any bytes: no answer is longer than what it answers."""
    chance = random.Random(9000)
    with udp(address) as one:
        sent = 0
        until = time.monotonic() + EFFORT
        while time.monotonic() < until:
            for _ in range(50):
                data = chance.randbytes(chance.randrange(1, 1400))
                with contextlib.suppress(OSError):
                    sent += one.send(data)
            await asyncio.sleep(0)
        total, _ = await received(one)
        assert total <= sent, f"{total} bytes for {sent}"
    yield


@case(memory=4 * MIB)
async def changed_first_datagrams(address):
    """First datagrams whose ClientHello has changed bytes, transport parameters included."""
    chance, said = random.Random(9001), hello()
    with udp(address) as one:
        until = time.monotonic() + EFFORT
        while time.monotonic() < until:
            quic, words = said
            words = bytearray(words)
            for _ in range(chance.randrange(1, 4)):
                words[chance.randrange(4, len(words))] = chance.randrange(256)
            with contextlib.suppress(OSError):
                one.send(first_datagram((quic, bytes(words))))
            await asyncio.sleep(0)
    yield


@case(memory=4 * MIB)
async def forged_tokens(address):
    """Tokens of a Retry that was never sent."""
    said = hello()
    with udp(address) as one:
        for length in [1, 16, 64, 100, 500]:
            for _ in range(20):
                one.send(first_datagram(said, os.urandom(length)))
                await asyncio.sleep(0)
        await received(one)
    yield
