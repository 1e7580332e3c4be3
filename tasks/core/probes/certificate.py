"""Certificates of TLS servers: what one says of itself, and whom to trust."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ..errors import UsageError, reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """`subject` and `issuer` as in RFC 4514; `names` are the DNS names and IP addresses it holds for."""

    subject: str
    issuer: str
    expires: datetime
    names: tuple[str, ...] = ()

    def days(self, now: datetime) -> float:
        """How long it is valid from `now`; less than 0: for how long it has been expired."""
        return (self.expires - now).total_seconds() / 86400


def parse(der: bytes) -> Certificate | None:
    """Reads a certificate; None if it cannot be read."""
    with suppress(ValueError, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=_printable(found.subject.rfc4514_string()),
            issuer=_printable(found.issuer.rfc4514_string()),
            expires=_expires(found),
            names=tuple(map(_printable, _names(found))),
        )
    return None


def _printable(text: str) -> str:
    # whoever listens there chooses it, and may not write to a terminal with it
    return "".join(c if c.isprintable() else "?" for c in text)


def _expires(found: x509.Certificate) -> datetime:
    if hasattr(found, "not_valid_after_utc"):  # cryptography 42 and newer
        return found.not_valid_after_utc
    return found.not_valid_after.replace(tzinfo=UTC)


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def trusting(ca: Path) -> ssl.SSLContext:
    """TLS that takes only what verifies against the certificates in `ca`, whatever name is asked for.

    As in Kubernetes' own clients each of them is trusted, be it a root or not.
    Raises UsageError: the file cannot be read, or holds no certificate.
    """
    where = f'[check] ca = "{ca}"'
    try:
        text = ca.read_bytes().decode(errors="replace")
    except OSError as error:
        raise UsageError(f"{where}: cannot be read: {reason(error)}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=text.encode("ascii", "replace").decode())
    except (ssl.SSLError, ValueError):
        raise UsageError(
            f"{where}: holds no certificate in PEM; it is the file that kube-apiserver's clients trust, "
            "often /etc/kubernetes/pki/ca.crt"
        ) from None
    return context
