"""A plain TCP server in an apiserver's place: it sends every byte back, or, after an F, as many as it can.

Run as a script inside the apiserver's network namespace; the standard library is all it needs.
"""

import asyncio
import resource
import sys
from contextlib import suppress

BLOCK = bytes(1 << 18)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one client until it closes."""
    with suppress(OSError):
        while data := await reader.read(65536):
            while data == b"F":
                writer.write(BLOCK)
                await writer.drain()
            writer.write(data)
    writer.close()


async def main(port: int) -> None:
    """Serve until killed."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    server = await asyncio.start_server(serve, "0.0.0.0", port, backlog=4096)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
