"""Hostile clients of HTTP/3, with aioquic: see .ci/http3_hostile.

`http3_hostile.py HELLO PID FILES PID [CASE...]`: addresses and processes of the examples `hello` and `dir`. Each case attacks
one of them. While its connections are still there, a polite client must be served, and the peak of the server's memory
must stay below a bound. A case may say with which codes the server has to end the connection.
"""
import asyncio, contextlib, sys, time

import http3_hostile_http, http3_hostile_quic
from http3_attacker import MIB, attacker, cases
from http3_client import PATIENCE, client


def peak(pid):
    """The most memory since `forget`, in bytes."""
    with open(f"/proc/{pid}/status") as status:
        return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) << 10


def forget(pid):
    with open(f"/proc/{pid}/clear_refs", "w") as refs:
        refs.write("5")


async def polite(address):
    async with client(address) as one:
        for _ in range(20):
            assert (await one.ask("GET", "/small")).status in (200, 404)


async def run(function, memory, ends, address, pid):
    """One case."""
    forget(pid)
    before = peak(pid)
    by_address = function.__code__.co_varnames[0] == "address"
    if by_address:
        attack = function(address)
        async with contextlib.aclosing(attack):
            await attack.__anext__()
            await polite(address)
    else:
        async with attacker(address) as one:
            one.address = address
            await one.ask("GET", "/small")
            await asyncio.wait_for(function(one), PATIENCE)
            await polite(address)
            code = one.end and one.end.error_code
            assert not ends or code in ends, f"ended by {one.end}"
    grown = peak(pid) - before
    end = "" if by_address or not one.end else f", closed with {one.end.error_code:#x} {one.end.reason_phrase}"
    print(f"{function.__name__}: {grown / MIB:.1f} MiB{end}", flush=True)
    assert grown <= memory, f"{grown / MIB:.1f} MiB of memory, allowed are {memory / MIB:.1f}"


async def main(hello, hello_pid, files, files_pid, *names):
    failed = 0
    for function, memory, ends, on in cases:
        name = function.__name__
        if names and name not in names:
            continue
        address, pid = (hello, hello_pid) if on == "hello" else (files, files_pid)
        began = time.monotonic()
        try:
            await run(function, memory, ends, address, pid)
            print(f"ok {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except (AssertionError, TimeoutError, ConnectionError) as fault:
            failed += 1
            print(f"FAILED {name}: {type(fault).__name__} {fault}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
