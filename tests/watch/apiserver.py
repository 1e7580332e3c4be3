"""An apiserver for thousands of sessions.

It answers a TLS hello with OpenSSL's, and any other byte with its own number. Run as a script inside its
namespace: `apiserver.py NUMBER CERTIFICATE KEY`. SIGUSR1 makes each answer in a session 5 s late, not that
to a hello; SIGUSR2 ends that.
"""

import asyncio
import contextlib
import signal
import socket
import ssl
import sys

SLOW = 5.0


class Apiserver(asyncio.Protocol):
    """One connection."""

    number = b""
    delay = 0.0
    context: ssl.SSLContext

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it, to answer on."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.first = True

    def data_received(self, data: bytes) -> None:
        """Answer a hello, or each byte."""
        if self.first and data[:1] == b"\x16":
            self.transport.write(self._hello(data))
        elif self.delay:
            asyncio.get_running_loop().call_later(self.delay, self.transport.write, self.number * len(data))
        else:
            self.transport.write(self.number * len(data))
        self.first = False

    def _hello(self, data: bytes) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self.context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(data)
        with contextlib.suppress(ssl.SSLError):
            tls.do_handshake()
        return outgoing.read()


def slow(seconds: float) -> None:
    """Answer so late from now on."""
    Apiserver.delay = seconds


async def main(number: str, certificate: str, key: str) -> None:
    """Serve until killed."""
    Apiserver.number = number.encode()
    Apiserver.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Apiserver.context.load_cert_chain(certificate, key)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, slow, SLOW)
    loop.add_signal_handler(signal.SIGUSR2, slow, 0.0)
    listener = socket.create_server(("::", 6443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
    await (await loop.create_server(Apiserver, sock=listener)).serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
