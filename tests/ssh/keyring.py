"""The keys of the table, made anew for each run: those that sshds let in, and those that they do not."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.machine import run
from tests.ssh.securitykey import SecurityKey

PASSPHRASE = "correct horse"
ED25519 = "-t", "ed25519"
ECDSA = "-t", "ecdsa", "-b", "256"
RSA = "-t", "rsa", "-b", "2048"
HOST_KINDS = {"ed25519": ED25519, "ecdsa": ECDSA, "rsa": RSA}
PEM, PKCS8 = ("-m", "PEM"), ("-m", "PKCS8")
LOCKED = "-N", PASSPHRASE
OPEN = "-N", ""

LET_IN = {
    "good": (*ED25519, *OPEN),
    "second": (*ED25519, *OPEN),
    "third": (*ED25519, *OPEN),
    "ecdsa": (*ECDSA, *OPEN),
    "ecdsa384": ("-t", "ecdsa", "-b", "384", *OPEN),
    "ecdsa521": ("-t", "ecdsa", "-b", "521", *OPEN),
    "ecdsa-pem": (*ECDSA, *PEM, *OPEN),
    "ecdsa-pkcs8": (*ECDSA, *PKCS8, *OPEN),
    "rsa": (*RSA, *OPEN),
    "rsa-pem": (*RSA, *PEM, *OPEN),
    "rsa-pkcs8": (*RSA, *PKCS8, *OPEN),
    "locked": (*ED25519, *LOCKED),
    "locked-gcm": (*ED25519, *LOCKED, "-Z", "aes256-gcm@openssh.com"),
    "locked-chacha": (*ED25519, *LOCKED, "-Z", "chacha20-poly1305@openssh.com"),
    "locked-pem": (*RSA, *PEM, *LOCKED),
    "locked-pkcs8": (*RSA, *PKCS8, *LOCKED),
}
"""By name, how ssh-keygen makes a key that every sshd lets in, whoever logs in."""

SHUT_OUT = {f"stranger{number}": (*ED25519, *OPEN) for number in range(1, 8)}
"""Keys that no sshd knows."""

SIGNED = dict.fromkeys(("certified", "signed", "expired", "for-ops", "loose"), (*ED25519, *OPEN))
"""Keys that sshds let in by a certificate alone: see `_sign`."""

TOUCH = "touch"
"""A security key, which sshds let in, too."""


@dataclass(frozen=True)
class Keyring:
    """All keys: `folder` has them for whoever logs in, `host_keys` those of hosts."""

    folder: Path
    host_keys: Path
    names: dict[str, str]
    security_key: SecurityKey

    def authorized(self) -> str:
        """The authorized_keys of every sshd."""
        return "".join((self.folder / f"{name}.pub").read_text() for name in (*LET_IN, TOUCH))

    def known_host(self, host: str, kind: str = "ed25519") -> str:
        """A host's key of a kind, as known_hosts has it."""
        return " ".join((self.host_keys / host / f"{kind}.pub").read_text().split()[:2])


def make(folder: Path, host_keys: Path, hosts: Sequence[str]) -> Keyring:
    """Make all keys in two folders that are not there yet."""
    folder.mkdir(parents=True)
    wanted = {folder / name: options for name, options in (LET_IN | SHUT_OUT | SIGNED).items()}
    for name in ("ca", "host-ca"):
        wanted[host_keys / name] = (*ED25519, *OPEN)
    for host in hosts:
        (host_keys / host).mkdir(parents=True)
        kinds = HOST_KINDS if host == "node" else ("ed25519",)  # rsa takes long
        wanted |= {host_keys / host / kind: (*HOST_KINDS[kind], *OPEN) for kind in kinds}
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda item: _generate(*item), wanted.items()))
    _sign(folder, host_keys)
    security_key = SecurityKey()
    security_key.write(folder / TOUCH)
    names = {
        _fingerprint(path.with_name(f"{path.name}.pub")): path.name for path in [*wanted, folder / TOUCH]
    }
    return Keyring(folder, host_keys, names, security_key)


def _sign(folder: Path, host_keys: Path) -> None:
    """Certificates: beside their keys as ssh looks for them, `signed`'s and `loose`'s elsewhere."""
    for name, more in (
        ("certified", ["-n", "root,ops"]),
        ("signed", ["-n", "root"]),
        ("expired", ["-n", "root", "-V", "20200101:20200102"]),
        ("for-ops", ["-n", "ops"]),
        ("loose", ["-n", "root"]),
    ):
        public = folder / f"{name}.pub"
        run(["ssh-keygen", "-q", "-s", str(host_keys / "ca"), "-I", f"{name} of the lab", *more, str(public)])
    sign = ["ssh-keygen", "-q", "-s", str(host_keys / "host-ca"), "-I", "node", "-h", "-n", "node.example"]
    run([*sign, str(host_keys / "node" / "ed25519.pub")])
    run(
        [
            "ssh-keygen",
            "-q",
            "-k",
            "-f",
            str(folder / "revoked.krl"),
            str(host_keys / "inner" / "ed25519.pub"),
        ]
    )
    (folder / "certificates").mkdir()
    for name in ("signed", "loose"):
        shutil.move(folder / f"{name}-cert.pub", folder / "certificates" / f"{name}.pub")


def _generate(path: Path, options: Sequence[str]) -> None:
    run(["ssh-keygen", "-q", *options, "-C", path.name, "-f", str(path)])


def _fingerprint(public: Path) -> str:
    return run(["ssh-keygen", "-lf", str(public)]).stdout.split()[1]
