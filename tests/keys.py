"""Host keys for tests of known_hosts: those of the host, and another host's."""

from __future__ import annotations

import io

import paramiko
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def ed25519() -> paramiko.PKey:
    private = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return paramiko.Ed25519Key.from_private_key(io.StringIO(private.decode()))


def generate() -> dict[str, paramiko.PKey]:
    return {"ed": ed25519(), "rsa": paramiko.RSAKey.generate(2048), "ec": paramiko.ECDSAKey.generate()}


HOST, STRANGER = generate(), generate()
KEYS = {
    **{name: f"{key.get_name()} {key.get_base64()}" for name, key in HOST.items()},
    **{f"other_{name}": f"{key.get_name()} {key.get_base64()}" for name, key in STRANGER.items()},
    "ed64": HOST["ed"].get_base64(),
    "other64": STRANGER["ed"].get_base64(),
    "rsa64": STRANGER["rsa"].get_base64(),
}
