"""A TLS connection from a node to an endpoint, through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

import _ssl
import io
import ssl
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import paramiko

from ..config.address import Endpoint
from ..shell.pool import together
from .forward import FORBIDDEN, Unreached, forwarded

R = TypeVar("R")

__all__ = ["FORBIDDEN", "Answer", "Tunnel", "Unreached", "each"]

_CLOSED = "accepted the connection and closed it before TLS"
_MOST = 1 << 20  # bytes of a body that are read: who answers may be anybody
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake message begin


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read after `seconds`; its `body` ends at 1 MiB."""

    status: int
    headers: Message
    body: bytes
    seconds: float


class Tunnel:
    """A TLS connection that the node's sshd opens (direct-tcpip), so names are resolved there.

    A wildcard address is reached at its loopback address. No certificate is checked: `chain` are those
    that the peer sent, its own first, in DER; `seconds` what opening took. It is for one thread at a time.
    """

    chain: tuple[bytes, ...]
    seconds: float

    def __init__(
        self,
        transport: paramiko.Transport,
        endpoint: Endpoint,
        timeout: float,
    ) -> None:
        """Opens it and shakes hands, within `timeout` seconds in all.

        Raises Unreached for whatever the network does, a broken SSH connection included.
        """
        began = monotonic()
        self._transport = transport
        self._host = endpoint.host
        self._authority = str(endpoint)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self._worded(began + timeout, timeout, _CLOSED):
            self._channel = forwarded(transport, endpoint, timeout)
            try:
                # of an address Python makes no SNI
                self._tls = _unchecked().wrap_bio(
                    self._incoming, self._outgoing, server_hostname=endpoint.host
                )
                self._shake_hands(began + timeout)
            except BaseException:
                self.close()
                raise
        self.chain = _chain(self._tls)
        self.seconds = monotonic() - began

    def get(self, path: str, timeout: float, since: float | None = None) -> Answer:
        """What GET `path` is answered with, within `timeout` seconds; may be repeated.

        They count from `since`, in monotonic time, if that is given. Raises Unreached; the tunnel is of no
        use after that.
        """
        began = monotonic()
        deadline = (began if since is None else since) + timeout
        request = f"GET {path} HTTP/1.1\r\nHost: {self._authority}\r\nUser-Agent: kube-nginx\r\n\r\n"
        with self._worded(deadline, timeout, "closed the connection instead of answering"):
            self._pump(lambda: self._tls.write(request.encode()), deadline)
            response = HTTPResponse(_Reader(lambda most: self._read(most, deadline)))  # type: ignore[arg-type]
            with closing(response):
                response.begin()
                body = response.read(_MOST)
                if response.length and len(body) < _MOST:  # http.client itself is silent about it
                    raise IncompleteRead(body)
            return Answer(response.status, response.headers, body, monotonic() - began)

    def close(self) -> None:
        """Closes it, without a goodbye in TLS."""
        with suppress(paramiko.SSHException, OSError, EOFError):
            self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _worded(self, deadline: float, timeout: float, closed: str) -> Iterator[None]:
        """Turns whatever the network does into Unreached."""
        silent = f"did not answer within {timeout:g} s"
        try:
            try:
                yield
            except ssl.SSLError as error:
                raise Unreached(False, f"broke off TLS: {_reason(error)}", "TLS failed") from None
            except TimeoutError:
                raise Unreached(False, silent, "no answer") from None
            except (paramiko.SSHException, OSError, EOFError):
                # without a code it was opened, and closed before paramiko came to look at it
                late = monotonic() >= deadline
                raise Unreached(False, *((silent, "no answer") if late else (closed, "closed"))) from None
            except HTTPException as error:
                raise Unreached(False, _not_http(error), "not HTTP") from None
        except Unreached as error:
            if error.ok is False and not self._transport.is_active():
                raise Unreached(False, "could not be tried: the SSH connection broke", "no SSH") from None
            raise

    def _shake_hands(self, deadline: float) -> None:
        heard = bytearray()
        try:
            self._pump(self._tls.do_handshake, deadline, heard)
        except ssl.SSLError as error:
            raise _not_tls(bytes(heard), error) from None
        except EOFError:
            text = "closed the connection during the TLS handshake" if heard else _CLOSED
            raise Unreached(False, text, "closed") from None

    def _pump(self, work: Callable[[], R], deadline: float, heard: bytearray | None = None) -> R:
        """Does `work`, a call of TLS, with what it needs from the network. Raises EOFError at its end."""
        while True:
            result: list[R] = []
            with suppress(ssl.SSLWantReadError):
                result.append(work())
            self._channel.settimeout(max(deadline - monotonic(), 0))
            with suppress(OSError):  # closed over there: what was said before is still to be read
                self._channel.sendall(self._outgoing.read())
            if result:
                return result[0]
            data = self._channel.recv(16384)
            if not data:
                raise EOFError
            if heard is not None:
                heard += data
            self._incoming.write(data)

    def _read(self, most: int, deadline: float) -> bytes:
        try:
            return self._pump(lambda: self._tls.read(most), deadline)
        except (ssl.SSLZeroReturnError, EOFError):
            return b""


def each(endpoints: Sequence[Endpoint], ask: Callable[[Endpoint], R]) -> dict[Endpoint, R]:
    """What `ask` says of each, of all at once."""
    return dict(zip(endpoints, together(endpoints, ask), strict=True))


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class _Reader(io.RawIOBase):
    """What HTTPResponse reads an answer from: a socket, as far as it needs one."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        super().__init__()
        self._take = read

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _chain(tls: Any) -> tuple[bytes, ...]:
    """The certificates that the server sent, its own first, in DER."""
    if sys.version_info >= (3, 13):
        return tuple(tls.get_unverified_chain())
    # 3.11 and 3.12, which change no more, have it without a public name
    found = tls._sslobj.get_unverified_chain()
    return tuple(certificate.public_bytes(_ssl.ENCODING_DER) for certificate in found or ())


def _not_tls(heard: bytes, error: ssl.SSLError) -> Unreached:
    if heard.startswith(_TLS_RECORDS):
        text = f"answered in TLS, but the handshake failed: {_reason(error)}"
        return Unreached(False, text, "TLS failed")
    line = heard.partition(b"\n")[0].strip().decode(errors="replace")
    return Unreached(False, f"answered, but not in TLS: {line[:60]!r}", "not TLS")


def _not_http(error: HTTPException) -> str:
    if isinstance(error, IncompleteRead):
        return "closed the connection in the middle of its answer"
    line = str(error).strip().strip("'")
    said = f": {line[:60]!r}" if isinstance(error, BadStatusLine) and line else ""
    return f"answered in TLS, but not in HTTP{said}"


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason).lower().replace("_", " ")
