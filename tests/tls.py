"""Certificates of the tests' own, and HTTPS servers that have them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

Serve = Callable[[socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Identity:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        """The certificate as TLS sends it."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        """The certificate as a file has it."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def private(self) -> bytes:
        """The key as a file has it."""
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        return self.key.private_bytes(*form)

    def server(self, folder: Path, *above: Identity) -> ssl.SSLContext:
        """TLS of a server that is this, and sends those `above` it too; it writes into `folder`."""
        path = folder / f"{self.certificate.serial_number}.pem"
        path.write_bytes(b"".join(i.pem for i in (self, *above)) + self.private)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def identity(
    name: str,
    by: Identity | None = None,
    days: float = 365,
    addresses: Sequence[str] = ("127.0.0.1",),
    names: x509.ExtensionType | None = None,
    ca: bool = False,
    lasts: float = 1000,
    key: Key | None = None,
) -> Identity:
    """A certificate that ends in so many days, and `lasts` so many; signed by `by`, else by itself.

    It holds for `name` and `addresses`, or else for `names`.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    own = [x509.DNSName(name), *(x509.IPAddress(ip_address(a)) for a in addresses)]
    ends = datetime.now(UTC) + timedelta(days=days)
    built = (
        x509.CertificateBuilder(by.certificate.subject if by else subject, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(ends - timedelta(days=lasts))
        .not_valid_after(ends)
        .add_extension(names or x509.SubjectAlternativeName(own), False)
        .add_extension(x509.BasicConstraints(ca=ca or by is None, path_length=None), True)
        .sign(by.key if by else key, hashes.SHA256())
    )
    return Identity(built, key)


def https(context: ssl.SSLContext, *answers: bytes) -> Serve:
    """Answers the requests of each connection in turn, the last answer again and again; b"" hangs up."""

    def serve(connection: socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            turns = iter(answers)
            while tls.recv(65536):
                answer = next(turns, answers[-1])
                if not answer:
                    return
                tls.sendall(answer)

    return serve


def answer(status: str, body: str = "", date: str = "") -> bytes:
    """An HTTP answer."""
    dated = f"Date: {date}\r\n" if date else ""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{dated}\r\n{body}".encode()
