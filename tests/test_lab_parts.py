"""What the lab is made of, without a lab."""

from __future__ import annotations

import base64
import io
import json
import ssl
import time
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from rich.console import Console

from tests.lab import keys, kubernetes, network, progress
from tests.lab.lab import Lab
from tests.lab.machine import LabError


def test_a_lab_has_apiservers_of_a_known_kind() -> None:
    with pytest.raises(LabError, match="apiservers are stand-in or real, not relay"):
        Lab("parts", apiservers="relay")


def test_addresses_are_of_networks_that_nobody_uses() -> None:
    for lab in ("lab", "testgw15", "some"):
        v4, v6 = network.subnet(lab)[11]
        assert v4 in network.BENCHMARK
        assert v6 in network.BENCHMARK6
    assert network.subnet("lab") != network.subnet("test")


def test_an_authority_issues_for_names_and_addresses(tmp_path: Path) -> None:
    pki = keys.Authority(tmp_path / "pki")
    pki.issue(tmp_path / "server", "api", addresses=["127.0.0.1", "::1"], names=["api"])
    certificate = x509.load_pem_x509_certificate((tmp_path / "server.crt").read_bytes())
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert held.get_values_for_type(x509.IPAddress) == [ip_address("127.0.0.1"), ip_address("::1")]
    authority = x509.load_pem_x509_certificate(pki.certificate.read_bytes())
    certificate.verify_directly_issued_by(authority)
    ssl.create_default_context().load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    pki = keys.Authority(tmp_path / "pki")
    pki.issue(tmp_path / "server", "api")
    before = [path.read_bytes() for path in (pki.certificate, pki.service_accounts, tmp_path / "server.crt")]
    pki.issue(tmp_path / "server", "api")
    assert [
        path.read_bytes() for path in (pki.certificate, pki.service_accounts, tmp_path / "server.crt")
    ] == before


def test_a_kubeconfig_carries_its_certificates(tmp_path: Path) -> None:
    pki = keys.Authority(tmp_path / "pki")
    pki.issue(tmp_path / "client", "lab-node-1", organization="system:masters")
    config = json.loads(pki.kubeconfig("https://127.0.0.1:8443", tmp_path / "client"))
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:8443"
    data = config["users"][0]["user"]["client-certificate-data"]
    assert base64.b64decode(data) == (tmp_path / "client.crt").read_bytes()


def test_a_step_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "HEARTBEAT", 0.01)
    paper = io.StringIO()
    with progress.Progress(Console(file=paper, width=80)).step("building") as show:
        show("building: 3 of 5")
        deadline = time.monotonic() + 10
        while "building: 3 of 5 ... 0 s" not in paper.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "building: 3 of 5 ... 0 s" in paper.getvalue()


def test_another_recipe_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = kubernetes.folder()
    monkeypatch.setattr(kubernetes, "SUITE", "trixie")
    assert kubernetes.folder() != before
    assert kubernetes.folder().is_relative_to(tmp_path)
