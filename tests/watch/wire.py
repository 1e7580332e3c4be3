"""A wire that is slow or loses packets, between two network interfaces; kernels without netem have no other.

Run as a script in their namespace: `wire.py ONE OTHER DELAY JITTER LOSS`; seconds, seconds, and a part of 1.
"""

import asyncio
import random
import socket
import sys

SOL_PACKET, VNET_HDR, IGNORE_OUTGOING = 263, 15, 23
EVERYTHING = 3


def end(interface: str) -> socket.socket:
    """Open one end; with each packet comes what its sender left to the hardware, checksums say."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    opened.setsockopt(SOL_PACKET, VNET_HDR, 1)
    opened.setsockopt(SOL_PACKET, IGNORE_OUTGOING, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 24)
    opened.bind((interface, EVERYTHING))
    opened.setblocking(False)
    return opened


def carry(come_from: socket.socket, to: socket.socket, delay: float, jitter: float, loss: float) -> None:
    """Take one packet, and let it out later."""
    packet = come_from.recv(1 << 17)
    if random.random() >= loss:
        later = delay + random.uniform(-jitter, jitter)
        asyncio.get_running_loop().call_later(max(later, 0), to.send, packet)


async def main(one: str, other: str, *numbers: str) -> None:
    """Carry until killed."""
    ends = end(one), end(other)
    delay, jitter, loss = map(float, numbers)
    loop = asyncio.get_running_loop()
    for come_from, to in (ends, ends[::-1]):
        loop.add_reader(come_from, carry, come_from, to, delay, jitter, loss)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
