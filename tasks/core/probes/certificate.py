"""Certificates of TLS servers: how one is read, and whom to trust."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from ..errors import UsageError, reason
from ..localfiles import read_bounded
from .result import Certificate, printable

_DATES = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID and _HAS_EXPIRED, of any certificate up to the CA's
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, for which Python has no name
_SUITES = (b"\xc0\x2b", b"\xc0\x2f")  # ECDHE with ECDSA, and RSA; AES_128_GCM_SHA256
_RECORD = 1 << 14  # bytes that one record of TLS may have


def parse(der: bytes) -> Certificate | None:
    """Reads a certificate; None if it cannot be read."""
    with suppress(ValueError, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        found = x509.load_der_x509_certificate(der)
        return Certificate(
            subject=printable(found.subject.rfc4514_string()),
            issuer=printable(found.issuer.rfc4514_string()),
            begins=_date(found, "not_valid_before"),
            expires=_date(found, "not_valid_after"),
            names=tuple(map(printable, _names(found))),
        )
    return None


def _date(found: x509.Certificate, which: str) -> datetime:
    """Of cryptography 42 and newer, or older."""
    date: datetime = getattr(found, f"{which}_utc", None) or getattr(found, which).replace(tzinfo=UTC)
    return date


def _names(found: x509.Certificate) -> tuple[str, ...]:
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension):
        return ()
    return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))


class Trust:
    """Whom to believe: who has a certificate that verifies against one of a file's, whatever its name.

    As in Kubernetes' own clients each of them is trusted, be it a root or not. It is OpenSSL that verifies,
    by this machine's clock, and without a connection: of one it would tell no more once it has refused.
    """

    def __init__(self, pem: str) -> None:
        """Raises ssl.SSLError or ValueError: there is no certificate in `pem`."""
        self._dated, self._undated = _context(pem), _context(pem)
        self._undated.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)

    def refusal(self, chain: Sequence[bytes], now: datetime) -> str | None:
        """Why what a server sent, its own certificate first, in DER, does not verify; None if it does.

        "": it has but expired, or not begun, itself, which is told from its own dates. `now` is by the
        clock that decides about those.
        """
        if not chain:
            return "it sent no certificate"
        why, code = _verified(chain, self._dated)
        if code in _DATES:
            other, _ = _verified(chain, self._undated)
            own = parse(chain[0])
            if not other and own and not own.valid(datetime.now(UTC)):
                return None if own.valid(now) else ""
            why = other or f"{why}: its CA's, not its own"
        return f"its certificate does not verify: {why}" if why else None


def trusting(ca: Path) -> Trust:
    """Believes who has a certificate that verifies against those in `ca`.

    Raises UsageError: the file cannot be read, or holds no certificate.
    """
    where = f'[check] ca = "{ca}"'
    try:
        return Trust(read_bounded(ca, 1 << 20).decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        raise UsageError(
            f"{where}: holds no certificate in PEM; it is the file that kube-apiserver's clients trust, "
            "often /etc/kubernetes/pki/ca.crt"
        ) from None
    except OSError as error:
        raise UsageError(f"{where}: cannot be read: {reason(error)}") from None


def _context(pem: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2  # what `_flight` speaks
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return context


def _verified(chain: Sequence[bytes], context: ssl.SSLContext) -> tuple[str, int]:
    """What OpenSSL says against the certificates, and its X509_V_ERR_ number; "" and 0: nothing."""
    for suite in _SUITES:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing)
        with suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        incoming.write(_flight(chain, suite))
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:  # it takes the certificates, and waits for what would prove the key
            return "", 0
        except ssl.SSLCertVerificationError as error:
            return error.verify_message, error.verify_code
        except ssl.SSLError as error:
            why = str(error.reason or "cannot be read").lower().replace("_", " ")
    return why, -1


def _flight(chain: Sequence[bytes], suite: bytes) -> bytes:
    """How a server of TLS 1.2 begins: ServerHello and Certificate (RFC 5246, 7.4)."""
    secure_renegotiation = b"\xff\x01\x00\x01\x00"  # RFC 5746: without it OpenSSL 3 ends it here
    hello = b"\x03\x03" + bytes(32) + b"\0" + suite + b"\0" + _sized(secure_renegotiation, 2)
    certificates = _sized(b"".join(_sized(der, 3) for der in chain), 3)
    flight = b"\x02" + _sized(hello, 3) + b"\x0b" + _sized(certificates, 3)
    records = (flight[at : at + _RECORD] for at in range(0, len(flight), _RECORD))
    return b"".join(b"\x16\x03\x03" + _sized(record, 2) for record in records)


def _sized(data: bytes, octets: int) -> bytes:
    return len(data).to_bytes(octets, "big") + data
