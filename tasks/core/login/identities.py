"""Which keys are offered, and in which order: pubkey_prepare of OpenSSH's sshconnect2.c."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko

from .keyfile import KeyFile
from .keys import PublicKey


@dataclass(frozen=True)
class Identity:
    """Something that can be offered. `source` says where it is from.

    `public` is None for an encrypted file of which nothing public is known. What signs: the agent that
    holds it, or `given`, or `file`; a certificate of its own file has none of them.
    """

    source: str
    public: PublicKey | None = None
    file: KeyFile | None = None
    in_agent: bool = False
    given: paramiko.PKey | None = None

    def __str__(self) -> str:
        return f"{self.source} ({self.public})" if self.public else self.source


def identities(
    given: paramiko.PKey | None,
    files: Iterable[KeyFile],
    certificates: Iterable[tuple[Path, PublicKey]],
    agent: Sequence[PublicKey],
    only: bool,
    last: Iterable[KeyFile] = (),
) -> list[Identity]:
    """What is offered, in order, each once.

    `given` is paramiko's pkey; `files` are those of IdentityFile, `certificates` of CertificateFile, `agent`
    what the agent holds; `only` is IdentitiesOnly. The files that come `last` are ours: OpenSSH has none.
    """
    explicit = [
        Identity(f"the certificate {shown(path)}", certificate, in_agent=certificate in agent)
        for path, certificate in certificates
    ]
    named = [*_of_files(files, not explicit)]
    held, others = [], []
    for key in agent:
        if not key.is_of_users:
            continue
        mine = next((identity for identity in named if identity.public == key), None)
        if mine:
            named.remove(mine)
            held.append(Identity(mine.source, key, mine.file, in_agent=True))
        elif not only:
            name = f" {key.comment}" if key.comment else ""
            others.append(Identity(f"the agent's{name}", key, in_agent=True))
    first = [Identity("connect_kwargs.pkey", _public(given), given=given)] if given else []
    return _each_once([*first, *explicit, *held, *others, *named, *_of_files(last, True)])


def signers(identity: Identity, all_of_them: Sequence[Identity]) -> list[Identity]:
    """Who can sign for an identity, the best first: itself, or for a certificate whoever has its key."""
    if identity.in_agent or identity.given or identity.public is None or not identity.public.is_certificate:
        return [identity]
    plain = identity.public.plain
    others = [
        other
        for other in all_of_them
        if other.public and not other.public.is_certificate and other.public.blob == plain
    ]
    return [*others, identity] if identity.file else others


def shown(path: Path) -> str:
    """A path as people write it."""
    home = os.path.expanduser("~").rstrip("/")
    text = str(path)
    return f"~{text[len(home) :]}" if home and text.startswith(f"{home}/") else text


def _of_files(files: Iterable[KeyFile], certified: bool) -> Iterator[Identity]:
    for file in files:
        yield Identity(shown(file.path), file.public, file)
        if file.certificate and certified:
            yield Identity(f"the certificate {shown(file.path)}-cert.pub", file.certificate, file)


def _public(key: paramiko.PKey) -> PublicKey:
    certificate = getattr(key, "public_blob", None)
    return PublicKey(certificate.key_blob if certificate else key.asbytes())


def _each_once(found: Iterable[Identity]) -> list[Identity]:
    kept: list[Identity] = []
    for identity in found:
        if identity.public is None or identity.public not in [other.public for other in kept]:
            kept.append(identity)
    return kept
