"""Hostile clients of HTTP/3, above a QUIC that is well-behaved."""
import asyncio

from aioquic.buffer import encode_uint_var as var

from http3_attacker import *


@case(ends=[H3_EXCESSIVE_LOAD])
async def rapid_reset(one):
    while not one.end:
        number = await one.open()
        one.put(stream(number, 0, GET) + b"\x04" + var(number) + var(0x10C) + var(len(GET)))
        await asyncio.sleep(0)


@case(ends=[H3_EXCESSIVE_LOAD])
async def made_you_reset(one):
    # A field with an upper-case name: the server has to reset the stream.
    section = bytes.fromhex("0000d1d7c1") + b"\x50\x01a" + b"\x23ABC\x01x"
    while not one.end:
        one._quic.send_stream_data(await one.open(), b"\x01" + var(len(section)) + section)
        one.transmit()
        await asyncio.sleep(0)


@case(ends=[H3_EXCESSIVE_LOAD])
async def empty_data_frames(one):
    number, _ = one.send("POST", "/echo", ended=False)
    one._quic.send_stream_data(number, b"\0\0" * 200_000)
    one.transmit()
    await one.ended()


@case(ends=[H3_EXCESSIVE_LOAD])
async def reserved_frames(one):
    number = one._quic.get_next_available_stream_id()
    one._quic.send_stream_data(number, (var(0x21) + b"\0") * 200_000)
    one.transmit()
    await one.ended()


@case(ends=[H3_EXCESSIVE_LOAD, H3_STREAM_CREATION, STREAM_LIMIT])
async def reserved_streams(one):
    while not one.end:
        one._quic.send_stream_data(await one.open(uni=True), var(0x21) + b"ignored", end_stream=True)
        one.transmit()
        await asyncio.sleep(0)


@case(ends=[H3_CLOSED_CRITICAL_STREAM])
async def control_stream_that_ends(one):
    one._quic.send_stream_data(one.http._local_control_stream_id, b"", end_stream=True)
    one.transmit()
    await one.ended()


@case(ends=[H3_CLOSED_CRITICAL_STREAM])
async def control_stream_that_is_reset(one):
    one._quic.reset_stream(one.http._local_control_stream_id, 0x100)
    one.transmit()
    await one.ended()


@case(ends=[H3_STREAM_CREATION])
async def second_control_stream(one):
    number = one._quic.get_next_available_stream_id(is_unidirectional=True)
    one._quic.send_stream_data(number, b"\0\4\0")
    one.transmit()
    await one.ended()


@case(ends=[H3_EXCESSIVE_LOAD])
async def large_frame_on_the_control_stream(one):
    control = one.http._local_control_stream_id
    one._quic.send_stream_data(control, var(0x21) + var(1 << 30) + bytes(100_000))
    one.transmit()
    await one.ended()


@case(ends=[H3_EXCESSIVE_LOAD])
async def frames_of_the_control_stream(one):
    one._quic.send_stream_data(one.http._local_control_stream_id, b"\x0d\1\x3f" * 100_000)
    one.transmit()
    await one.ended()


@case(ends=[QPACK_ENCODER, H3_EXCESSIVE_LOAD])
async def qpack_instructions(one):
    one._quic.send_stream_data(one.http._local_encoder_stream_id, b"\x20" * 200_000)
    one.transmit()
    await one.ended()


@case(ends=[QPACK_ENCODER])
async def qpack_table_that_is_not_allowed(one):
    one._quic.send_stream_data(one.http._local_encoder_stream_id, b"\x3f\xe1\x1f" + b"\x41a\x01b" * 1000)
    one.transmit()
    await one.ended()


@case(ends=[QPACK_DECOMPRESSION])
async def qpack_blocked_streams(one):
    for _ in range(50):
        number = one._quic.get_next_available_stream_id()
        one._quic.send_stream_data(number, b"\x01\x04\x05\x00\x80\x81", end_stream=True)
    one.transmit()
    await one.ended()


@case(memory=4 * MIB)
async def header_bomb(one):
    """Two bytes for a field of 76: a head that is far larger than its bytes, on all streams."""
    section = bytes.fromhex("0000d1d7c1") + b"\x50\x01a" + b"\xff\x23" * 15_000
    numbers = []
    for _ in range(90):
        number = one._quic.get_next_available_stream_id()
        one._quic.send_stream_data(number, b"\x01" + var(len(section)) + section, end_stream=True)
    one.transmit()
    await asyncio.sleep(EFFORT)


@case(memory=12 * MIB)
async def incomplete_heads(one):
    """The first 8 KiB of a head that has 16, on each of 100 streams."""
    for _ in range(100):
        number = one._quic.get_next_available_stream_id()
        one._quic.send_stream_data(number, b"\x01" + var(16_000) + b"\0\0" + b"\x23abc\x01x" * 1300)
    one.transmit()
    await asyncio.sleep(EFFORT)


@case(memory=16 * MIB)
async def incomplete_bodies(one):
    """64 KiB of a body of 1 MB, on each of 100 streams."""
    for _ in range(100):
        number, _ = one.send("POST", "/echo", fields=[(b"content-length", b"1000000")], ended=False)
        one.http.send_data(number, bytes(1 << 16), end_stream=False)
    one.transmit()
    await asyncio.sleep(EFFORT)


@case(memory=24 * MIB, on="files")
async def slow_read(one):
    """A large file on each of 100 streams, of which nothing more is acknowledged."""
    for _ in range(100):
        one.send("GET", "/large")
    await asyncio.sleep(0.2)
    one.deaf = True
    await asyncio.sleep(EFFORT)


@case(memory=24 * MIB, on="files")
async def windows_that_stay_closed(one):
    """The same, but what comes is acknowledged; the windows of its streams are never opened again."""
    one._quic._write_stream_limits = lambda *_, **__: None
    one._quic._write_connection_limits = lambda *_, **__: None
    for _ in range(100):
        one.send("GET", "/large")
    await asyncio.sleep(EFFORT)
