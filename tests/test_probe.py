"""What a question to an apiserver meets, over a real SSH connection, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from socket import MSG_PEEK, socket
from time import sleep

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtensionOID

from tasks.core.config.address import Endpoint
from tasks.core.errors import UsageError
from tasks.core.probes.certificate import Trust, parse, trusting
from tasks.core.probes.classify import classify
from tasks.core.probes.fallback import ahead
from tasks.core.probes.prober import Prober
from tasks.core.probes.result import Certificate, ProbeResult, Reason
from tasks.core.results import as_json
from tasks.core.ssh.node import Node
from tests.sshd import Sshd, listening, over
from tests.tls import Identity, answer, https, identity

PATIENT = 30  # seconds: a busy machine is no failure
X400 = b"\x30\x02\xa3\x00"  # a name of a kind that cryptography does not know
CA = identity("kubernetes")
APISERVER = identity("apiserver", by=CA)
ODD = identity("odd", names=x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, X400))
READY = answer("200 OK", "ok")
BAD_ETCD = "[+]ping ok\n[-]etcd failed: reason withheld\n[+]log ok\nreadyz check failed\n"


@pytest.fixture
def node() -> Iterator[Node]:
    with Sshd().client() as transport:
        yield over(transport)


def look(
    node: Node, endpoint: Endpoint, timeout: float, trust: Trust | None = None, clock: float = 0.0
) -> ProbeResult:
    (result,) = Prober(node, timeout, trust=trust, clock=clock).ask([endpoint])
    return result


@pytest.fixture
def ca(tmp_path: Path) -> Path:
    path = tmp_path / "ca.crt"
    path.write_bytes(b"# the cluster's\n" + CA.pem)
    return path


class TestNames:
    """What the node resolves them to is what sshd is asked for."""

    def ask(self, sshd: Sshd, addresses: tuple[str, ...], port: int, timeout: float) -> ProbeResult:
        with sshd.client() as transport:
            prober = Prober(over(transport), timeout, addresses={"api": addresses})
            (result,) = prober.ask([Endpoint("api", port)])
            return result

    def test_the_first_address_at_which_somebody_is(self, tmp_path: Path) -> None:
        sshd, asked = Sshd(), []

        def serve(connection: socket) -> None:
            with APISERVER.server(tmp_path).wrap_socket(connection, server_side=True) as secured:
                asked.append(secured.recv(65536))
                secured.sendall(READY)
                secured.recv(1)

        with listening(serve) as port:
            seen = self.ask(sshd, ("10.0.0.1", "127.0.0.1", "10.0.0.2"), port, PATIENT)
        assert seen.ready
        assert sshd.asked == [("10.0.0.1", port), ("127.0.0.1", port)]
        assert f"Host: api:{port}".encode() in asked[0]

    def test_one_that_does_not_resolve_is_not_asked_for(self) -> None:
        sshd = Sshd()
        seen = self.ask(sshd, (), 6443, PATIENT)
        assert (seen.ok, seen.reason, seen.text) == (False, Reason.NO_ADDRESS, "does not resolve")
        assert sshd.asked == []

    def test_whoever_is_silent_is_not_passed_over(self) -> None:
        sshd = Sshd()

        def serve(connection: socket) -> None:
            connection.recv(1 << 20)

        with listening(serve) as port:
            seen = self.ask(sshd, ("127.0.0.1", "localhost"), port, 0.5)
        assert (seen.reason, seen.text) == (Reason.SILENT, "did not answer within 0.5 s")
        assert sshd.asked == [("127.0.0.1", port)]


class TestLook:
    """Against servers that are there."""

    def ask(
        self,
        node: Node,
        folder: Path,
        who: Identity = APISERVER,
        said: bytes = READY,
        ca: Path | None = None,
        clock: float = 0,
    ) -> ProbeResult:
        with listening(https(who.server(folder), said)) as port:
            return look(node, Endpoint("127.0.0.1", port), PATIENT, trusting(ca) if ca else None, clock)

    def test_ready(self, node: Node, tmp_path: Path) -> None:
        seen = self.ask(node, tmp_path)
        assert (seen.ok, seen.status, seen.body, seen.ready) == (True, 200, "ok", True)
        assert seen.certificate == parse(APISERVER.der)
        assert (seen.trusted, seen.clock) == (None, None)
        assert seen.connected is not None
        assert seen.seconds is not None
        assert 0 < seen.connected < seen.seconds

    def test_an_apiserver_of_the_cluster(self, node: Node, tmp_path: Path, ca: Path) -> None:
        seen = self.ask(node, tmp_path, ca=ca)
        assert (seen.ok, seen.trusted, seen.distrust) == (True, True, "")

    def test_somebody_else_is_asked_all_the_same(self, node: Node, tmp_path: Path, ca: Path) -> None:
        seen = self.ask(node, tmp_path, identity("nginx"), ca=ca)
        assert (seen.ok, seen.trusted, seen.ready) == (True, False, True)
        assert seen.distrust == "its certificate does not verify: self-signed certificate"
        assert seen.certificate is not None
        assert seen.certificate.issuer == "CN=nginx"

    def test_an_expired_one_is_told_by_its_date(self, node: Node, tmp_path: Path, ca: Path) -> None:
        seen = self.ask(node, tmp_path, identity("apiserver", by=CA, days=-2), ca=ca)
        assert (seen.trusted, seen.distrust) == (False, "")
        assert classify(seen).word == "expired"
        assert as_json(classify(seen))["state"] == "failed"

    @pytest.mark.parametrize("through", ["", "127.0.0.1"])
    def test_a_ca_that_has_expired_is_not_the_apiservers_own_date(
        self, node: Node, tmp_path: Path, through: str
    ) -> None:
        ended = identity("kubernetes", days=-2)
        (tmp_path / "ca.crt").write_bytes(ended.pem)
        seen = self.ask(node, tmp_path, identity("apiserver", by=ended), ca=tmp_path / "ca.crt")
        assert seen.trusted is False
        cell = classify(seen, (), bool(through))
        assert (cell.state, cell.word, cell.way) == ("failed", "untrusted", False)
        text = "its certificate does not verify: certificate has expired: its CA's, not its own"
        assert cell.detail == f"{text} (issuer CN=kubernetes)"

    def test_one_of_tomorrow_is_told_by_its_date(self, node: Node, tmp_path: Path, ca: Path) -> None:
        tomorrow = identity("apiserver", by=CA, days=100, lasts=99)
        for given in (ca, None):
            seen = self.ask(node, tmp_path, tomorrow, ca=given)
            assert (seen.trusted, seen.distrust) == (False if given else None, "")
            assert classify(seen).word == "not yet valid"

    @pytest.mark.parametrize("days", [365, -2])
    def test_whoever_else_signs_is_told_first(
        self, node: Node, tmp_path: Path, ca: Path, days: float
    ) -> None:
        seen = self.ask(node, tmp_path, identity("x", by=identity("kubernetes"), days=days), ca=ca)
        assert seen.distrust == "its certificate does not verify: certificate signature failure"

    def test_a_ca_in_between(self, node: Node, tmp_path: Path, ca: Path) -> None:
        between = identity("between", by=CA, ca=True)
        apiserver = identity("apiserver", by=between)
        for above, trusted in (((between,), True), ((), False)):
            with listening(https(apiserver.server(tmp_path, *above), READY)) as port:
                seen = look(node, Endpoint("127.0.0.1", port), PATIENT, trusting(ca))
            assert seen.trusted is trusted

    def test_keys_of_all_kinds(self, node: Node, tmp_path: Path, ca: Path) -> None:
        kinds = (rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate())
        for key in kinds:
            seen = self.ask(node, tmp_path, identity("apiserver", by=CA, key=key), ca=ca)
            assert (seen.trusted, seen.ready) == (True, True)

    def test_no_sentence_is_of_two_connections(self, node: Node, tmp_path: Path, ca: Path) -> None:
        """A proxy leads each connection to another one."""
        who = [identity("strange"), APISERVER]
        turns = iter([https(one.server(tmp_path), READY) for one in who])

        def proxy(connection: socket) -> None:
            next(turns)(connection)

        with listening(proxy) as port:
            for one, distrust in ((who[0], True), (who[1], False)):
                seen = look(node, Endpoint("127.0.0.1", port), PATIENT, trusting(ca))
                assert seen.certificate == parse(one.der)
                assert seen.peer == sha256(one.der).hexdigest()
                assert bool(seen.distrust) is distrust

    def test_all_of_it_has_one_deadline(self, node: Node, tmp_path: Path) -> None:
        context = APISERVER.server(tmp_path)

        def serve(connection: socket) -> None:
            connection.recv(1, MSG_PEEK)
            sleep(1.2)
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(65536)
                sleep(1.2)
                tls.sendall(READY)

        with listening(serve) as port:
            seen = look(node, Endpoint("127.0.0.1", port), 2)
        assert seen.reason is Reason.SILENT
        assert seen.text.startswith("did not answer within 2 s, though TLS stood after ")

    def test_an_odd_certificate_is_none_that_can_be_read(self, node: Node, tmp_path: Path) -> None:
        seen = self.ask(node, tmp_path, ODD)
        assert (seen.ready, seen.certificate) == (True, None)

    def test_the_clock_is_compared_with_the_nodes(self, node: Node, tmp_path: Path) -> None:
        date = format_datetime(datetime.now(UTC) + timedelta(seconds=500), usegmt=True)
        seen = self.ask(node, tmp_path, said=answer("200 OK", "ok", date), clock=400)
        assert seen.clock is not None
        assert -PATIENT < seen.clock - 100 < 2

    def test_what_is_known_before_it_fails_is_kept(self, node: Node, tmp_path: Path) -> None:
        seen = self.ask(node, tmp_path, said=b"")
        assert (seen.ok, seen.reason) == (False, Reason.CLOSED_UNANSWERED)
        assert seen.connected is not None
        assert seen.certificate is not None

    def test_a_port_that_is_closed(self, node: Node, ca: Path) -> None:
        seen = look(node, Endpoint("10.0.0.1", 6443), PATIENT, trusting(ca))
        assert (seen.reason, seen.trusted, seen.connected) == (Reason.REFUSED, None, None)


def certificate(days: float = 365, *names: str) -> Certificate:
    now = datetime.now(UTC)
    ends = now + timedelta(days=days, hours=1)
    return Certificate("CN=apiserver", "CN=kubernetes", now - HOUR, ends, names or ("127.0.0.1",))


KEYS = [
    "state",
    "word",
    "detail",
    "reachable",
    "ready",
    "status",
    "connect_ms",
    "total_ms",
    "certificate",
    "trusted",
    "clock_seconds",
    "by",
]
HOUR = timedelta(hours=1)
LATER = datetime(2099, 1, 1, tzinfo=UTC)
GOOD = ProbeResult(
    seconds=0.003,
    connected=0.002,
    status=200,
    body="ok",
    certificate=certificate(),
    trusted=True,
    clock=0.4,
)


@pytest.mark.parametrize(
    ("seen", "state", "word", "detail"),
    [
        (GOOD, "ok", "ready 3 ms", ""),
        (replace(GOOD, seconds=0.0001), "ok", "ready 1 ms", ""),
        (replace(GOOD, status=403, body="Forbidden"), "ok", "answers 3 ms", ""),
        (replace(GOOD, status=401, body=""), "ok", "answers 3 ms", ""),
        (
            replace(GOOD, status=500, body=BAD_ETCD),
            "failed",
            "not ready",
            "/readyz is answered with 500: '[-]etcd failed: reason withheld'",
        ),
        (
            replace(GOOD, body="<html>\x1b[31m"),
            "failed",
            "not ready",
            "/readyz is answered with 200: '<html>\\x1b[31m'",
        ),
        (replace(GOOD, status=404, body=""), "failed", "not ready", "/readyz is answered with 404"),
        (
            replace(GOOD, trusted=False, distrust="its certificate does not verify: unknown"),
            "failed",
            "untrusted",
            "its certificate does not verify: unknown (issuer CN=kubernetes)",
        ),
        (replace(GOOD, certificate=certificate(-3)), "failed", "expired", "its certificate expired on {}"),
        (
            replace(GOOD, certificate=certificate(12)),
            "warning",
            "expires 12 d",
            "its certificate expires on {}, in 12 days",
        ),
        (
            replace(GOOD, certificate=replace(certificate(), begins=LATER)),
            "failed",
            "not yet valid",
            "its certificate is valid from 2099-01-01 00:00 UTC only",
        ),
        (
            replace(GOOD, seconds=2.9, connected=0.009),
            "warning",
            "slow 2900 ms",
            "took 2900 ms: 9 ms until TLS stood, then the answer",
        ),
        (
            replace(GOOD, seconds=1.004, connected=1.001),
            "warning",
            "slow 1004 ms",
            "took 1004 ms: 1001 ms until TLS stood, then the answer",
        ),
        (replace(GOOD, seconds=0.3, connected=0.2), "ok", "ready 300 ms", ""),
        (replace(GOOD, certificate=certificate(31)), "ok", "ready 3 ms", ""),
        (replace(GOOD, clock=12.2), "warning", "clock +12 s", "its clock is 12 s ahead of the node's"),
        (replace(GOOD, clock=-5.0), "warning", "clock -5 s", "its clock is 5 s behind the node's"),
        (replace(GOOD, clock=4.9), "ok", "ready 3 ms", ""),
        (
            ProbeResult(Reason.REFUSED, "refused the connection"),
            "failed",
            "refused",
            "refused the connection",
        ),
        (ProbeResult(Reason.OPEN, "who knows", program="bash"), "warning", "open (bash)", "who knows"),
        (replace(GOOD, text="asked by curl", program="curl"), "ok", "ready (curl)", "asked by curl"),
    ],
)
def test_judgement(seen: ProbeResult, state: str, word: str, detail: str) -> None:
    when = f"{seen.certificate.expires:%Y-%m-%d}" if seen.certificate else ""
    cell = classify(seen)
    assert (cell.state, cell.word, cell.detail) == (state, word, detail.format(when))
    assert cell.way is (None if seen.ok is None else state != "failed")


def test_the_worst_is_the_word_and_all_is_told() -> None:
    cell = classify(replace(GOOD, status=500, body="", clock=-60, certificate=certificate(3)))
    assert (cell.state, cell.word) == ("failed", "not ready")
    assert cell.detail.startswith("its certificate expires on ")
    assert cell.detail.endswith("/readyz is answered with 500; its clock is 60 s behind the node's")


def test_it_is_slow_where_others_are_not() -> None:
    seen = replace(GOOD, seconds=1.3, connected=1.2)
    assert [classify(seen, usual=usual).state for usual in (0.0, 0.5, 0.6, 1.2)] == ["warning"] * 2 + [
        "ok"
    ] * 2


def test_the_nodes_clock_decides_what_is_valid() -> None:
    days = [(-2, "not yet valid"), (0, "ready 3 ms"), (400, "expired")]
    seen = [(replace(GOOD, at=datetime.now(UTC) + timedelta(days=n)), word) for n, word in days]
    assert [classify(there).word for there, _ in seen] == [word for _, word in seen]


class TestThroughTheProxy:
    """Where only that matters which keeps kubelet from being served."""

    def test_the_certificate_must_hold_for_the_listener(self) -> None:
        cell = classify(replace(GOOD, certificate=certificate(365, "api", "10.0.0.1")), ("127.0.0.1",), True)
        assert (cell.state, cell.word, cell.way) == ("warning", "wrong name", True)
        text = "its certificate holds for api, 10.0.0.1, not for 127.0.0.1: kubelet will refuse it"
        assert cell.detail == text

    @pytest.mark.parametrize(
        ("held", "name", "holds"),
        [
            ("API.example", "api.example", True),
            ("*.example", "api.example", True),
            ("*.example", "a.b.example", False),
            ("*.example", "example", False),
            ("*.0.0.1", "127.0.0.1", False),
        ],
    )
    def test_names_are_those_of_certificates(self, held: str, name: str, holds: bool) -> None:
        cell = classify(replace(GOOD, certificate=certificate(365, held)), (name,), True)
        assert (cell.word != "wrong name") is holds

    def test_be_it_verified_or_not(self) -> None:
        seen = replace(GOOD, certificate=certificate(365, "api"))
        assert classify(replace(seen, trusted=None), ("127.0.0.1",), True).word == "wrong name"
        assert classify(replace(seen, trusted=None), ("127.0.0.1",)).word == "wrong name"
        strange = classify(replace(seen, trusted=False, distrust="its certificate does not verify"), ("::1",))
        assert "kubelet will refuse it" not in strange.detail

    def test_what_the_apiserver_itself_is_told_for_is_not_told_again(self) -> None:
        assert (
            classify(replace(GOOD, clock=60, certificate=certificate(3)), ("127.0.0.1",), True).state == "ok"
        )

    def test_an_expired_one_serves_nobody(self) -> None:
        assert classify(replace(GOOD, certificate=certificate(-3)), ("127.0.0.1",), True).way is False


class TestCa:
    """The file that [check] ca names."""

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"ca\.crt\": cannot be read: No such file or directory"):
            trusting(tmp_path / "ca.crt")

    @pytest.mark.parametrize(
        "text", [b"", b"hello", "schön".encode(), b"-----BEGIN CERTIFICATE-----\nAAAA\n"]
    )
    def test_no_certificate(self, tmp_path: Path, text: bytes) -> None:
        (tmp_path / "ca.crt").write_bytes(text)
        with pytest.raises(UsageError, match="holds no certificate in PEM"):
            trusting(tmp_path / "ca.crt")

    def test_one_that_is_signed_by_another_is_trusted_by_itself(self, node: Node, tmp_path: Path) -> None:
        (tmp_path / "ca.crt").write_bytes(APISERVER.pem)
        with listening(https(APISERVER.server(tmp_path), READY)) as port:
            seen = look(node, Endpoint("127.0.0.1", port), PATIENT, trusting(tmp_path / "ca.crt"))
        assert seen.trusted is True


def test_a_certificate_is_read() -> None:
    found = parse(identity("api\x1b[1m", by=CA, addresses=("10.0.0.1", "fd00::1")).der)
    assert found is not None
    assert (found.subject, found.issuer) == ("CN=api?[1m", "CN=kubernetes")
    assert found.names == ("api?[1m", "10.0.0.1", "fd00::1")
    assert 364 < found.days(datetime.now(UTC)) < 365


@pytest.mark.parametrize(
    "der",
    [b"nonsense", ODD.der, APISERVER.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05", 1)],
    ids=["no certificate", "an X.400 address", "version 6"],
)
def test_a_certificate_that_cannot_be_read(der: bytes) -> None:
    assert parse(der) is None


@pytest.mark.parametrize(
    ("date", "seconds"),
    [("Thu, 01 Jan 1970 00:01:40 GMT", 10.5), ("", None), ("tomorrow", None), ("Thu, 99 Jan 1970", None)],
)
def test_the_date_of_an_answer(date: str, seconds: float | None) -> None:
    assert ahead(date, 90) == seconds


def test_a_cell_for_programs() -> None:
    document = as_json(classify(GOOD))
    assert [*document] == KEYS
    assert (document["state"], document["word"], document["detail"]) == ("ok", "ready 3 ms", "")
    assert [*document["certificate"]] == ["subject", "issuer", "begins", "expires", "names"]
    assert document["certificate"]["issuer"] == "CN=kubernetes"
    assert (document["reachable"], document["ready"], document["by"]) == (True, True, "ssh")
    assert (document["connect_ms"], document["total_ms"]) == (2.0, 3.0)
    assert as_json(classify(ProbeResult(Reason.REFUSED, "x", program="curl")))["total_ms"] is None


@pytest.mark.parametrize(
    ("seen", "ready"),
    [
        (GOOD, True),
        (replace(GOOD, status=401, body=""), None),
        (replace(GOOD, status=403, body="Forbidden"), None),
        (replace(GOOD, status=500, body=BAD_ETCD), False),
        (replace(GOOD, body="<html>"), False),
        (ProbeResult(Reason.REFUSED, "x"), False),
        (ProbeResult(Reason.FORBIDDEN, "x"), None),
    ],
)
def test_only_what_says_so_is_ready_for_programs(seen: ProbeResult, ready: bool | None) -> None:
    assert as_json(classify(seen))["ready"] is ready
