"""A TLS connection from a node to an endpoint, through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

import _ssl
import io
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from typing import Any, Self, TypeVar

import paramiko

from ..config.address import Endpoint
from ..transport import Transport
from .forward import forwarded
from .result import Reason, Unreached

R = TypeVar("R")

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
    """A TLS connection to `endpoint` that the node's sshd opens (direct-tcpip), to `address` if one is given.

    A wildcard address is reached at its loopback address. No certificate is checked. `seconds` is what
    opening took. It is for one thread at a time.
    """

    seconds: float

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        timeout: float,
        address: Endpoint | None = None,
    ) -> None:
        """Opens it and shakes hands, within `timeout` seconds in all.

        Raises Unreached for whatever the network does, a broken SSH connection included.
        """
        began = monotonic()
        self._transport = transport
        self._authority = str(endpoint)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self._explained(began + timeout, timeout, Reason.CLOSED):
            self._channel = forwarded(transport, address or endpoint, timeout)
            try:
                # of an address Python makes no SNI
                self._tls = _unchecked().wrap_bio(
                    self._incoming, self._outgoing, server_hostname=endpoint.host
                )
                self._shake_hands(began + timeout)
            except BaseException:
                self.close()
                raise
        self.seconds = monotonic() - began

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates that the peer sent, its own first, in DER."""
        if sys.version_info >= (3, 13):
            return tuple(self._tls.get_unverified_chain())
        # 3.11 and 3.12, which change no more, have it without a public name
        found: Any = self._tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
        return tuple(certificate.public_bytes(_ssl.ENCODING_DER) for certificate in found or ())

    def get(self, path: str, timeout: float, since: float | None = None) -> Answer:
        """What GET `path` is answered with, within `timeout` seconds; may be repeated.

        They count from `since`, in monotonic time, if that is given. Raises Unreached; the tunnel is of no
        use after that.
        """
        began = monotonic()
        deadline = (began if since is None else since) + timeout
        request = f"GET {path} HTTP/1.1\r\nHost: {self._authority}\r\nUser-Agent: kube-nginx\r\n\r\n"
        with self._explained(deadline, timeout, Reason.CLOSED_UNANSWERED):
            self._pump(lambda: self._tls.write(request.encode()), deadline)
            reader = _Reader(lambda most: self._pump(lambda: self._tls.read(most), deadline))
            response = HTTPResponse(reader)  # type: ignore[arg-type]
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

    def __exit__(self, *error: object) -> None:
        self.close()

    @contextmanager
    def _explained(self, deadline: float, timeout: float, closed: Reason) -> Iterator[None]:
        """Turns whatever the network does into Unreached."""
        try:
            yield
            return
        except Unreached as error:
            unreached = error
        except ssl.SSLError as error:
            unreached = Unreached(Reason.TLS_BROKEN, _reason(error))
        except TimeoutError:
            unreached = Unreached(Reason.SILENT, timeout)
        except (paramiko.SSHException, OSError, EOFError):
            # without a code it was opened, and closed before paramiko came to look at it
            late = monotonic() >= deadline
            unreached = Unreached(Reason.SILENT, timeout) if late else Unreached(closed)
        except HTTPException as error:
            unreached = _not_http(error)
        if unreached.reason.is_known and not self._transport.is_active():
            unreached = Unreached(Reason.NO_SSH)
        raise unreached from None

    def _shake_hands(self, deadline: float) -> None:
        heard = bytearray()
        try:
            self._pump(self._tls.do_handshake, deadline, heard)
        except ssl.SSLError as error:
            raise _not_tls(bytes(heard), error) from None
        except EOFError:
            raise Unreached(Reason.CLOSED_IN_HANDSHAKE if heard else Reason.CLOSED) from None

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


@cache  # making one costs as much as a handshake
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
        data = b""
        with suppress(ssl.SSLZeroReturnError, EOFError):
            data = self._take(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _not_tls(heard: bytes, error: ssl.SSLError) -> Unreached:
    if heard.startswith(_TLS_RECORDS):
        return Unreached(Reason.HANDSHAKE_FAILED, _reason(error))
    line = heard.partition(b"\n")[0].strip().decode(errors="replace")
    return Unreached(Reason.NOT_TLS, f": {line[:60]!r}")


def _not_http(error: HTTPException) -> Unreached:
    if isinstance(error, IncompleteRead):
        return Unreached(Reason.CUT_OFF)
    line = str(error).strip().strip("'")
    return Unreached(Reason.NOT_HTTP, f": {line[:60]!r}" if isinstance(error, BadStatusLine) and line else "")


def _reason(error: ssl.SSLError) -> str:
    return str(error.reason).lower().replace("_", " ")
