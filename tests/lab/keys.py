"""Keys and certificates that the lab makes for itself."""

import base64
import datetime
import ipaddress
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

_MAKING = threading.Lock()  # apiservers are started at once, and share what is made for the first


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
    addresses = [str(address), "127.0.0.1"]
    built = _builder(_subject(name), _subject(name), key, addresses, [name]).sign(key, hashes.SHA256())
    write(folder / "tls.key", _pem(key, serialization.PrivateFormat.PKCS8), 0o600)
    write(folder / "tls.crt", built.public_bytes(serialization.Encoding.PEM))


@dataclass(frozen=True)
class Authority:
    """A certificate authority in a folder, made when it is first asked for something."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """Its own certificate."""
        path = self.folder / "ca.crt"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            key, name = ec.generate_private_key(ec.SECP256R1()), _subject("kube-nginx lab")
            write(self.folder / "ca.key", _pem(key, serialization.PrivateFormat.PKCS8), 0o600)
            built = _builder(name, name, key, authority=True).sign(key, hashes.SHA256())
            write(path, built.public_bytes(serialization.Encoding.PEM))
        return path

    @property
    def service_accounts(self) -> Path:
        """The key that signs the tokens of service accounts."""
        path = self.folder / "service-accounts.key"
        with _MAKING:
            if not path.exists():
                key = ec.generate_private_key(ec.SECP256R1())
                write(path, _pem(key, serialization.PrivateFormat.TraditionalOpenSSL), 0o600)
        return path

    def issue(
        self,
        path: Path,
        name: str,
        *,
        organization: str = "",
        addresses: Sequence[str] = (),
        names: Sequence[str] = (),
    ) -> None:
        """Make path.crt and path.key, unless they are there: for a server and a client."""
        if path.with_suffix(".crt").exists():
            return
        authority = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        signer = serialization.load_pem_private_key((self.folder / "ca.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name, organization)
        built = _builder(subject, authority.subject, key, addresses, names, authority=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path.with_suffix(".key"), _pem(key, serialization.PrivateFormat.PKCS8), 0o600)
        signed = built.sign(signer, hashes.SHA256())
        write(path.with_suffix(".crt"), signed.public_bytes(serialization.Encoding.PEM))

    def kubeconfig(self, server: str, client: Path) -> bytes:
        """Give a kubeconfig, which is YAML and so may be JSON, for the certificate client.crt."""

        def data(path: Path) -> str:
            return base64.b64encode(path.read_bytes()).decode()

        cluster = {"server": server, "certificate-authority-data": data(self.certificate)}
        user = {
            "client-certificate-data": data(client.with_suffix(".crt")),
            "client-key-data": data(client.with_suffix(".key")),
        }
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
        return json.dumps(config, indent=2).encode()


def _subject(name: str, organization: str = "") -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    return x509.Name(
        [*([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []), *names]
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
    *,
    authority: bool = True,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    holds = [
        *map(x509.DNSName, names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=365))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), True)
    )
    return builder.add_extension(x509.SubjectAlternativeName(holds), False) if holds else builder


def _pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
    form: serialization.PrivateFormat,
) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
