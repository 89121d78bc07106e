"""Checks of a server of HTTP/3 with aioquic, qh3 and curl's library: see .ci/http3_server."""
import asyncio, hashlib, os, pathlib, signal, socket, sys, time

from aioquic.buffer import Buffer
from aioquic.h3.connection import Setting
from aioquic.quic.packet import QuicProtocolVersion, pull_quic_header
from aioquic.tls import Epoch

from http3_attacker import first_datagram, hello as first_words, udp
from http3_client import PATIENCE, client

HELLO = b"Hello, World!"
checks = {}


def check(function):
    checks[function.__name__] = function
    return function


def ok(name):
    print("ok", name, flush=True)


async def hello(one):
    response = await one.ask("GET", "/")
    assert (response.status, response.body) == (200, HELLO), (response.fields, response.body)


# ---- the example hello


@check
async def requests(address):
    """What any client asks for."""
    async with client(address) as one:
        await hello(one)
        ok("aioquic GET")
        head = await one.ask("HEAD", "/")
        assert (head.status, head.body, dict(head.fields)[b"content-length"]) == (200, b"", b"13"), head.fields
        ok("aioquic HEAD")
        for length in [1, 100, 1200, 65536, 1_000_000]:
            body = os.urandom(length)
            assert (await one.ask("POST", "/echo", body)).body == body, length
        ok("aioquic POST")
        assert (await one.ask("GET", "/none")).status == 404
        ok("aioquic 404")
        assert (await one.ask("POST", "/echo", bytes(3_000_000))).status == 413
        ok("aioquic 413")
        assert (await one.ask("GET", "/echo")).status == 405
        await hello(one)
        ok("aioquic goes on after errors")


@check
async def many_streams(address):
    """1,000 requests at once: the client waits for streams that the server allows."""
    async with client(address) as one:
        bodies = [b"%d" % i * 50 for i in range(1000)]
        sent = [one.send("POST", "/echo", body)[1] for body in bodies]
        for response, body in zip(sent, bodies):
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.body == body
    ok("1,000 streams")


@check
async def no_websockets(address):
    """RFC 9220 is not offered, and CONNECT of it is refused."""
    async with client(address) as one:
        await hello(one)
        settings = one.http.received_settings
        assert Setting.ENABLE_CONNECT_PROTOCOL not in settings, settings
        _, response = one.send("CONNECT", "/", fields=[(b":protocol", b"websocket")], ended=False)
        fault = await asyncio.wait_for(response.done, PATIENCE)
        assert fault or response.status >= 400, (fault, response.fields)
        await hello(one)
    ok("WebSockets are not offered")


@check
async def key_update(address):
    """RFC 9001 section 6: the server follows each change of keys."""
    async with client(address) as one:
        keys = one._quic._cryptos[Epoch.ONE_RTT]
        for phase in [1, 0, 1]:
            await hello(one)
            one.request_key_update()
            await hello(one)
            assert keys.recv.key_phase == phase, (keys.recv.key_phase, phase)
    ok("key update")


@check
async def migration(address):
    """Another port, another address, and with the old connection id, as behind a NAT; with requests under way."""
    async with client(address) as one:
        for host, new_id in [("127.0.0.1", True), ("127.0.0.1", False), ("127.0.0.2", True), ("127.0.0.3", False)]:
            body = os.urandom(900_000)
            _, response = one.send("POST", "/echo", body)
            await one.move(host, new_id)
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.body == body
            await hello(one)
    ok("migration")


@check
async def versions(address):
    """RFC 9000 section 6: what has an unknown version gets the list of those that are known, once, if it is long enough."""
    host, port = address.rsplit(":", 1)

    def initial(name, length):
        one = bytes([0xC0]) + bytes.fromhex("1a2a3a4a") + bytes([8]) + name + bytes([8]) + b"a client"
        return one.ljust(length, b"\0")

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(PATIENCE)
        udp.connect((host, int(port)))
        udp.send(initial(b"tooshort", 300))
        udp.send(initial(b"complete", 1200))
        # A list is no reason for a list.
        udp.send(bytes([0xC0, 0, 0, 0, 0, 8]) + b"complete" + bytes([8]) + b"a client" + bytes.fromhex("00000001"))
        answer = pull_quic_header(Buffer(data=udp.recv(2000)))
        assert answer.version == 0 and answer.destination_cid == b"a client", answer
        assert answer.source_cid == b"complete", answer
        assert QuicProtocolVersion.VERSION_1 in answer.supported_versions, answer
        udp.send(initial(b"the last", 1200))
        assert pull_quic_header(Buffer(data=udp.recv(2000))).source_cid == b"the last"
    ok("version negotiation")
    options = dict(supported_versions=[0x1A2A3A4A, QuicProtocolVersion.VERSION_1], original_version=0x1A2A3A4A)
    async with client(address, **options) as one:
        assert one._quic._version == QuicProtocolVersion.VERSION_1
        await hello(one)
    ok("a client that begins with an unknown version")


@check
async def several_workers(address):
    """Connections from many ports, of which the kernel gives some to each worker; they move, all at once."""
    async def one_of_them(number):
        async with client(address) as one:
            for _ in range(3):
                await hello(one)
                await one.move(new_id=number % 2 == 0)
            await hello(one)
    await asyncio.gather(*(one_of_them(number) for number in range(20)))
    ok("migration between workers")


@check
async def lossy(address):
    """Behind the relay."""
    async with client(address) as one:
        body = os.urandom(900_000)
        for _ in range(3):
            assert (await one.ask("POST", "/echo", body)).body == body
        sent = [one.send("GET", "/")[1] for _ in range(200)]
        for response in sent:
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.body == HELLO
    for _ in range(10):
        async with client(address) as one:
            await hello(one)
    ok("loss, repetition and other order")


@check
async def qh3_hello(address):
    """qh3 behind the relay."""
    async with qh3_client(address) as one:
        for _ in range(20):
            assert await one.ask("/") == HELLO
        body = os.urandom(900_000)
        assert await one.ask("/echo", "POST", body) == body
    ok("qh3: loss, repetition and other order")


@check
async def rebound(address, relay):
    """The relay goes on from another port, while a body is under way in both directions."""
    async with client(address) as one:
        for _ in range(3):
            body = os.urandom(900_000)
            _, response = one.send("POST", "/echo", body)
            os.kill(int(relay), signal.SIGUSR1)
            fault = await asyncio.wait_for(response.done, PATIENCE)
            assert fault is None, (fault, one.end)
            assert response.body == body
    ok("a NAT that forgets")


# ---- Retry


@check
async def retry(address):
    """When many handshakes are under way, a client has to show that it can be reached; and then is served."""
    async def is_asked_again():
        async with client(address) as one:
            await hello(one)
            return one._quic._retry_source_connection_id is not None

    assert not await is_asked_again()
    said = first_words()
    # Made before, because those that have begun are given up after some seconds.
    datagrams = [first_datagram(said) for _ in range(2500)]
    with udp(address) as one:
        for _ in range(50):
            for _ in range(50):
                one.send(datagrams.pop())
                await asyncio.sleep(0)
            if await is_asked_again():
                return ok("Retry")
    sys.exit("FAILED Retry: none came")


# ---- examples dir, upload, events, late


@check
async def files(address, folder):
    small = pathlib.Path(folder, "small").read_bytes()
    async with client(address) as one:
        sent = [one.send("GET", "/small")[1] for _ in range(100)]
        for response in sent:
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.body == small
        ok("aioquic: files")
        large = pathlib.Path(folder, "large").read_bytes()
        response = await one.ask("GET", "/large", fields=[(b"range", b"bytes=1000-1999")])
        assert (response.status, response.body) == (206, large[1000:2000]), response.fields
        ok("aioquic: a range")
        response = await one.ask("GET", "/large")
        assert response.digest.digest() == hashlib.sha256(large).digest()
        ok("aioquic: a large file")


@check
async def upload(address):
    piece = os.urandom(1 << 16)
    count = 256
    digest = hashlib.sha1(piece * count).hexdigest()
    async with client(address) as one:
        response = await one.upload("/aioquic", (piece for _ in range(count)), count << 16)
        assert response.body == f"{count << 16} {digest} aioquic\n".encode(), response.body
    ok("aioquic: an upload of 16 MiB")


@check
async def events(address):
    async with client(address) as one:
        _, response = one.send("GET", "/events")
        while response.body.count(b"data:") < 2:
            response.arrived.clear()
            await asyncio.wait_for(response.arrived.wait(), PATIENCE)
            assert not response.done.done(), response.done
        assert dict(response.fields)[b"content-type"].startswith(b"text/event-stream")
    ok("server-sent events")


@check
async def late(address):
    """Responses that come later do not hold up others."""
    async with client(address) as one:
        # Longer than ten requests take, even on a busy machine.
        _, slow = one.send("GET", "/slow?ms=8000")
        _, blocking = one.send("GET", "/blocking?ms=8000")
        for _ in range(10):
            assert (await one.ask("GET", "/fast")).body == b"fast\n"
        assert not slow.done.done() and not blocking.done.done()
        for response in [slow, blocking]:
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.status == 200, response.fields
    ok("late responses")


# ---- the end


@check
async def stop(address, server):
    """GOAWAY, while requests are under way: those are answered, and none is lost."""
    async with client(address) as one:
        await one.ask("GET", "/fast")
        under_way = [one.send("GET", f"/{kind}?ms=1500")[1] for kind in ["slow", "blocking"] for _ in range(5)]
        # This one comes after them, so they have arrived.
        await one.ask("GET", "/fast")
        os.kill(int(server), signal.SIGTERM)
        await asyncio.wait_for(one.http.goaway.wait(), PATIENCE)
        for response in under_way:
            fault = await asyncio.wait_for(response.done, PATIENCE)
            assert fault is None and response.status == 200, fault
        await asyncio.wait_for(one._closed.wait(), PATIENCE)
        first, last = one.http.goaways[0], one.http.goaways[-1]
        assert first >= last >= max(number for number in one.responses) + 4, one.http.goaways
        # H3_NO_ERROR
        assert one.end.error_code == 0x100, one.end
    ok("GOAWAY with requests under way")


@check
async def hand_over(address, server):
    """The example restart on SIGHUP: what the old process has goes on there until its end, and the new one serves others."""
    async with client(address) as one:
        old = (await one.ask("GET", "/pid")).body
        slow = [one.send("GET", "/slow")[1] for _ in range(10)]
        assert (await one.ask("GET", "/pid")).body == old
        os.kill(int(server), signal.SIGHUP)
        until = time.monotonic() + PATIENCE
        while True:
            async with client(address) as other:
                new = (await other.ask("GET", "/pid")).body
            if new != old:
                break
            assert time.monotonic() < until, "no new process"
        for response in slow:
            assert await asyncio.wait_for(response.done, PATIENCE) is None
            assert response.body == b"slowly\n", response.body
        await asyncio.wait_for(one._closed.wait(), PATIENCE)
        assert one.http.goaways and one.end.error_code == 0x100, (one.http.goaways, one.end)
    for _ in range(20):
        async with client(address) as other:
            assert (await other.ask("GET", "/pid")).body == new
    os.kill(int(new), signal.SIGTERM)
    ok("hand-over")


# ---- other clients


def qh3_client(address):
    from qh3.asyncio.client import connect
    from qh3.asyncio.protocol import QuicConnectionProtocol
    from qh3.h3.connection import H3Connection
    from qh3.h3.events import DataReceived
    from qh3.quic.configuration import QuicConfiguration

    class Protocol(QuicConnectionProtocol):
        def __init__(self, quic, *args, **options):
            super().__init__(quic, *args, **options)
            self.http, self.bodies, self.ended = H3Connection(quic), {}, {}

        def quic_event_received(self, event):
            for said in self.http.handle_event(event):
                if isinstance(said, DataReceived):
                    self.bodies[said.stream_id] += said.data
                if getattr(said, "stream_ended", False):
                    self.ended[said.stream_id].set()

        async def ask(self, path, method="GET", body=b""):
            stream = self._quic.get_next_available_stream_id()
            self.bodies[stream], self.ended[stream] = bytearray(), asyncio.Event()
            self.http.send_headers(stream, [(b":method", method.encode()), (b":scheme", b"https"),
                                            (b":authority", b"localhost"), (b":path", path.encode())], not body)
            if body:
                self.http.send_data(stream, body, True)
            self.transmit()
            await asyncio.wait_for(self.ended[stream].wait(), PATIENCE)
            return bytes(self.bodies[stream])

    host, port = address.rsplit(":", 1)
    options = QuicConfiguration(is_client=True, alpn_protocols=["h3"], verify_mode=0, server_name="localhost")
    return connect(host, int(port), configuration=options, create_protocol=Protocol)


@check
async def qh3(address, folder):
    async with qh3_client(address) as one:
        large = pathlib.Path(folder, "large").read_bytes()
        assert await one.ask("/large") == large
        small = pathlib.Path(folder, "small").read_bytes()
        assert all(body == small for body in await asyncio.gather(*(one.ask("/small") for _ in range(50))))
        one.request_key_update()
        assert await one.ask("/small") == small
    ok("qh3")


def curl():
    from curl_cffi import Curl, CurlHttpVersion, CurlInfo, CurlOpt

    one = Curl()
    for option, value in [(CurlOpt.HTTP_VERSION, CurlHttpVersion.V3ONLY), (CurlOpt.SSL_VERIFYPEER, 0),
                          (CurlOpt.SSL_VERIFYHOST, 0), (CurlOpt.PROXY, b""), (CurlOpt.TIMEOUT, 2 * PATIENCE)]:
        one.setopt(option, value)
    version = lambda: one.getinfo(CurlInfo.HTTP_VERSION)
    return one, CurlOpt, version


@check
async def alternative(address, cache):
    """The first request speaks TLS over TCP, and learns of HTTP/3; a next one speaks that, without being told to. curl begins with
    TCP, too, where HTTP/3 is not there in a fifth of a second, so that on a busy machine several requests may be needed."""
    def ask():
        one, option, version = curl()
        for name, value in [(option.HTTP_VERSION, 0), (option.ALTSVC_CTRL, 1 << 5), (option.ALTSVC, cache.encode()),
                            (option.URL, f"https://{address}/".encode()), (option.WRITEFUNCTION, len)]:
            one.setopt(name, value)
        one.perform()
        spoken = version()
        # This writes the cache.
        one.close()
        return spoken

    # CURL_HTTP_VERSION_2_0 and CURL_HTTP_VERSION_3
    assert ask() == 3
    until = time.monotonic() + PATIENCE
    while (spoken := ask()) != 30:
        assert spoken == 3 and time.monotonic() < until, spoken
    ok("curl follows Alt-Svc")


@check
async def curl_download(address, path, wanted):
    """A file, by its SHA-256."""
    one, option, version = curl()
    digest = hashlib.sha256()
    one.setopt(option.URL, f"https://{address}{path}".encode())
    one.setopt(option.WRITEFUNCTION, lambda piece: digest.update(piece) or len(piece))
    began = time.monotonic()
    one.perform()
    # CURL_HTTP_VERSION_3
    assert version() == 30, version()
    assert digest.hexdigest() == wanted, "other bytes"
    print(f"{path}: {time.monotonic() - began:.1f} s")
    ok(f"curl: {path}")


@check
async def curl_upload(address, file, wanted):
    """A file, and what the example upload says of it."""
    one, option, version = curl()
    got = bytearray()
    with open(file, "rb") as body:
        one.setopt(option.URL, f"https://{address}/curl".encode())
        one.setopt(option.UPLOAD, 1)
        one.setopt(option.INFILESIZE_LARGE, os.path.getsize(file))
        one.setopt(option.READFUNCTION, body.read)
        one.setopt(option.WRITEFUNCTION, lambda piece: got.extend(piece) or len(piece))
        began = time.monotonic()
        one.perform()
    assert version() == 30, version()
    assert got.decode() == f"{os.path.getsize(file)} {wanted} curl\n", got
    print(f"upload: {time.monotonic() - began:.1f} s")
    ok("curl: an upload")


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    asyncio.run(checks[name](*arguments))
