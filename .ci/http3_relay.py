"""A relay of datagrams on loopback, which loses, repeats and delays some of them.

`http3_relay.py SERVER SEED LOST REPEATED DELAYED`: the server's address, and shares between 0 and 1, for each direction.
Prints its own address. SIGUSR1: it goes on from other ports, as a NAT does that has lost its state. It ends with its
standard input. What was done is the same for the same seed and the same datagrams.
"""
import asyncio, random, signal, sys

MOST_CLIENTS = 1000
# Datagrams that are delayed at a time.
MOST_DELAYED = 1000
DELAY = 0.01

server, seed, *shares = sys.argv[1:]
host, port = server.rsplit(":", 1)
lost, repeated, delayed = (float(share) for share in shares)
chance = random.Random(int(seed))
counts = dict(relayed=0, lost=0, repeated=0, delayed=0)
waiting = 0


def pass_on(data, send):
    global waiting
    counts["relayed"] += 1
    draw = chance.random()
    if draw < lost:
        counts["lost"] += 1
    elif draw < lost + repeated:
        counts["repeated"] += 1
        send(data)
        send(data)
    elif draw < lost + repeated + delayed and waiting < MOST_DELAYED:
        counts["delayed"] += 1
        waiting += 1

        def late():
            global waiting
            waiting -= 1
            send(data)

        asyncio.get_running_loop().call_later(DELAY * chance.random(), late)
    else:
        send(data)


class Back(asyncio.DatagramProtocol):
    """A socket to the server, for one client."""

    def __init__(self, reply):
        self.reply = reply

    def datagram_received(self, data, _):
        pass_on(data, self.reply)


class Front(asyncio.DatagramProtocol):
    """The socket that clients know."""

    def __init__(self):
        self.backs = {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if address not in self.backs:
            if len(self.backs) >= MOST_CLIENTS:
                return
            self.backs[address] = asyncio.ensure_future(self.back(address))
        self.backs[address].add_done_callback(lambda back: pass_on(data, lambda one: self.send(back.result(), one)))

    async def back(self, address):
        reply = lambda data: self.transport.sendto(data, address)
        made = asyncio.get_running_loop().create_datagram_endpoint(lambda: Back(reply), remote_addr=(host, int(port)))
        return (await made)[0]

    @staticmethod
    def send(back, data):
        if not back.is_closing():
            back.sendto(data)

    def rebind(self):
        old, self.backs = self.backs, {address: asyncio.ensure_future(self.back(address)) for address in self.backs}
        for back in old.values():
            back.result().close()
        print("rebound", flush=True)


async def main():
    loop = asyncio.get_running_loop()
    transport, front = await loop.create_datagram_endpoint(Front, local_addr=("127.0.0.1", 0))
    loop.add_signal_handler(signal.SIGUSR1, front.rebind)
    print("listening on https://127.0.0.1:%d" % transport.get_extra_info("sockname")[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(" ".join(f"{count} {what}" for what, count in counts.items()), flush=True)


asyncio.run(main())
