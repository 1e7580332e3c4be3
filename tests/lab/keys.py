"""Keys and certificates that the lab makes for itself."""

import datetime
import ipaddress
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that it is there either whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    draft.replace(path)


def ssh_key(path: Path) -> str:
    """Make the ed25519 key at path, unless it is there; return its public line."""
    if not path.exists():
        private = ed25519.Ed25519PrivateKey.generate()
        write(path, _pem(private, serialization.PrivateFormat.OpenSSH), 0o600)
    key = serialization.load_ssh_private_key(path.read_bytes(), None)
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return key.public_key().public_bytes(*form).decode()


def certificate(folder: Path, name: str, address: ipaddress.IPv4Address) -> None:
    """Make folder/tls.crt and tls.key, unless they are there: self-signed.

    Its subject is name; it holds for name, the address and 127.0.0.1.
    """
    if (folder / "tls.crt").exists():
        return
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    addresses = [x509.IPAddress(a) for a in (address, ipaddress.IPv4Address("127.0.0.1"))]
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name), *addresses]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    write(folder / "tls.key", _pem(key, serialization.PrivateFormat.PKCS8), 0o600)
    write(folder / "tls.crt", built.public_bytes(serialization.Encoding.PEM))


def _pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat,
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
