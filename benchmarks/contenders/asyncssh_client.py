"""asyncssh: one command a host, 32 at a time. Given: hosts.json."""

import asyncio
import json
import sys
from pathlib import Path

import asyncssh

file = Path(sys.argv[1])
hosts = json.loads(file.read_text())
key = asyncssh.read_private_key(file.parent / "id_ed25519")
known = asyncssh.read_known_hosts(str(file.parent / "known_hosts"))


async def ask(name: str, limit: asyncio.Semaphore) -> None:
    async with (
        limit,
        asyncssh.connect(
            hosts[name], username="root", client_keys=[key], known_hosts=known, config=None, agent_path=None
        ) as connection,
    ):
        ended = await connection.run("survey", check=True)
        if "kn.end=" in str(ended.stdout):
            print("answered", name)


async def main() -> None:
    limit = asyncio.Semaphore(32)
    await asyncio.gather(*(ask(name, limit) for name in hosts))


asyncio.run(main())
