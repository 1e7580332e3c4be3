"""Clients of the proxy: sessions that are kept, and a new one again and again.

Run as a script inside the node's namespace: `clients.py SESSIONS INTERVAL`. Each session sends a byte each
INTERVAL seconds, and opens another connection when the one it has is closed. Each event is a line of JSON.
"""

import asyncio
import json
import sys
import time

PROXY = ("127.0.0.1", 8443)
NEWCOMER_EACH = 0.2
NEWCOMER_PATIENCE = 10


def tell(what: str, session: int, **more: object) -> None:
    """Write an event; a gap is worth a line from 300 ms on."""
    print(json.dumps({"at": time.monotonic(), "what": what, "session": session, **more}), flush=True)


class Session:
    """One that is kept."""

    def __init__(self, number: int, interval: float) -> None:
        self.number = number
        self.interval = interval
        self.heard = time.monotonic()

    def hear(self, server: str) -> None:
        """Take note of an answer."""
        now = time.monotonic()
        if now - self.heard >= self.interval + 0.3:
            tell("gap", self.number, server=server, seconds=now - self.heard)
        self.heard = now

    async def run(self) -> None:
        """Go on for ever."""
        while True:
            try:
                reader, writer = await asyncio.open_connection(*PROXY)
            except OSError:
                tell("refused", self.number)
                await asyncio.sleep(0.05)
                continue
            server = ""
            sending = asyncio.create_task(self._send(writer))
            try:
                while data := await reader.read(100):
                    if not server:
                        server = data[:1].decode()
                        tell("open", self.number, server=server)
                    self.hear(server)
            except OSError:
                pass
            tell("closed", self.number, server=server)
            sending.cancel()
            writer.close()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b".")
            await asyncio.sleep(self.interval)


async def newcomers() -> None:
    """Open a connection again and again, each for one byte."""
    while True:
        asyncio.get_running_loop().create_task(newcomer())
        await asyncio.sleep(NEWCOMER_EACH)


async def newcomer() -> None:
    """Open one, and tell how long the first answer took, or that none came."""
    begun, server = time.monotonic(), ""
    try:
        async with asyncio.timeout(NEWCOMER_PATIENCE):
            reader, writer = await asyncio.open_connection(*PROXY)
            writer.write(b".")
            server = (await reader.read(1)).decode()
            writer.close()
    except (OSError, TimeoutError):
        pass
    tell("new" if server else "failed", -1, server=server, begun=begun, seconds=time.monotonic() - begun)


async def main(sessions: str, interval: str) -> None:
    """Run until killed."""
    tasks = [Session(number, float(interval)).run() for number in range(int(sessions))]
    await asyncio.gather(*tasks, newcomers())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
