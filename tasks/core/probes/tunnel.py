"""A TLS connection from a node to an endpoint, through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

import io
import ssl
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from email.message import Message
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar

import paramiko

from ..config.address import REACHED_AT, Endpoint

R = TypeVar("R")

FORBIDDEN = "sshd there forbids forwarding"
_CLOSED = "accepted the connection and closed it before TLS"
_MOST = 1 << 20  # bytes of a body that are read: who answers may be anybody
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake message begin


class Unreached(Exception):  # noqa: N818 - it tells, and is caught where it is told
    """What kept an endpoint from answering, in words; `ok` is None where sshd forbids trying.

    `word` is the same in a word or two.
    """

    def __init__(self, ok: bool | None, text: str, word: str) -> None:
        super().__init__(text)
        self.ok = ok
        self.text = text
        self.word = word


class Untrusted(Unreached):
    """Its certificate does not verify; `code` is OpenSSL's X509_V_ERR_ number."""

    def __init__(self, error: ssl.SSLCertVerificationError) -> None:
        super().__init__(False, f"its certificate does not verify: {error.verify_message}", "untrusted")
        self.code = error.verify_code


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read after `seconds`; its `body` ends at 1 MiB."""

    status: int
    headers: Message
    body: bytes
    seconds: float


class Tunnel:
    """A TLS connection that the node's sshd opens (direct-tcpip), so names are resolved there.

    A wildcard address is reached at its loopback address. `certificate` is the peer's, in DER;
    `seconds` what opening took. It is for one thread at a time.
    """

    certificate: bytes
    seconds: float

    def __init__(
        self,
        transport: paramiko.Transport,
        endpoint: Endpoint,
        timeout: float,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Opens it and shakes hands, within `timeout` seconds in all.

        Without `context` no certificate is checked. Raises Unreached for whatever the network does,
        a broken SSH connection included, and Untrusted where `context` refuses the certificate.
        """
        began = monotonic()
        self._transport = transport
        self._host = endpoint.host
        self._authority = str(endpoint)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        with self._worded(began + timeout, timeout, _CLOSED):
            self._channel = _opened(transport, endpoint, timeout)
            try:
                # of an address Python makes no SNI
                self._tls = (context or unchecked()).wrap_bio(
                    self._incoming, self._outgoing, server_hostname=endpoint.host
                )
                self._shake_hands(began + timeout)
            except BaseException:
                self.close()
                raise
        self.certificate = self._tls.getpeercert(binary_form=True) or b""
        self.seconds = monotonic() - began

    def get(self, path: str, timeout: float) -> Answer:
        """What GET `path` is answered with, within `timeout` seconds; may be repeated.

        Raises Unreached; the tunnel is of no use after that.
        """
        began = monotonic()
        deadline = began + timeout
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
        except ssl.SSLCertVerificationError as error:
            raise Untrusted(error) from None
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


def each(
    endpoints: Sequence[Endpoint], ask: Callable[[Endpoint], R], doubtful: Callable[[R], bool]
) -> dict[Endpoint, R]:
    """What `ask` says of each: of all at once, then again of each alone whose answer is `doubtful`.

    paramiko keeps one error a connection: of those that failed while others did, the reason may be another's.
    """
    if not endpoints:
        return {}
    with ThreadPoolExecutor(len(endpoints)) as pool:
        met = dict(zip(endpoints, pool.map(ask, endpoints), strict=True))
    return {endpoint: ask(endpoint) if doubtful(answer) else answer for endpoint, answer in met.items()}


def unchecked() -> ssl.SSLContext:
    """TLS that takes every certificate."""
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


def _opened(transport: paramiko.Transport, endpoint: Endpoint, timeout: float) -> paramiko.Channel:
    address = (REACHED_AT.get(endpoint.host, endpoint.host), endpoint.port)
    transport.get_exception()  # forgets that of an earlier channel
    try:
        return transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout)
    except paramiko.ChannelException as error:
        if error.code == 1:
            raise Unreached(None, FORBIDDEN, "forbidden") from None
        if error.code == 2:
            raise Unreached(False, _refused(endpoint), "refused") from None
        raise Unreached(False, f"sshd there did not connect: {error.text}", "no way") from None


def _refused(endpoint: Endpoint) -> str:
    # sshd says which it was, but paramiko keeps the code alone: "connect failed"
    named = ":" not in endpoint.host and not endpoint.host.replace(".", "").isdigit()
    return "has no address there, or refused the connection" if named else "refused the connection"


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
