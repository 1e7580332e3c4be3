"""What a node has, against what hosts.toml says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config import render
from tasks.core.config.settings import Settings, parse
from tasks.core.probes.drift import Drift, drift
from tasks.core.remote.commands import UNIT_PATH, conf_path
from tasks.core.remote.facts import Facts, File, Process

DATA: dict[str, Any] = {
    "nodes": ["a"],
    "apiservers": ["10.0.0.1", "[fd00::2]:6443", "api-3:7443"],
    "build": {"version": "1.26.3"},
}
ADDRESSES = {"api-3": ("10.0.0.3", "10.0.0.4")}
SETTINGS = parse(DATA, Path("hosts.toml"))
CONF = conf_path(SETTINGS.proxy)
BINARY = "/opt/k8s/kube-nginx/sbin/kube-nginx"
AS_IT_SHOULD_BE = Facts(
    files={BINARY: File("b"), CONF: File("c", changed=100.0)},
    texts={CONF: render.conf(SETTINGS, ADDRESSES)},
    unit={"LoadState": "loaded", "ActiveState": "active", "SubState": "running"},
    process=Process(7, BINARY, "b", "1.26.3", 200.0, "boot:7:1", {8: 200.0}),
    installed="1.26.3",
    addresses=ADDRESSES,
)


def wanted(*apiservers: str) -> Settings:
    """hosts.toml with other apiservers."""
    return parse(DATA | {"apiservers": list(apiservers)}, Path("hosts.toml"))


def test_none() -> None:
    assert drift(SETTINGS, AS_IT_SHOULD_BE) == ()


def test_where_nothing_is_installed_nothing_has_drifted() -> None:
    assert drift(SETTINGS, Facts(addresses=ADDRESSES)) == ()


@pytest.mark.parametrize(
    ("apiservers", "text"),
    [
        (["10.0.0.1", "fd00::2", "api-3:7443", "10.0.0.5"], "lacks 10.0.0.5:6443"),
        (["10.0.0.1", "fd00::2"], "has 10.0.0.3:7443, 10.0.0.4:7443, which hosts.toml does not name"),
        (
            ["10.0.0.9", "fd00::2", "api-3:7443"],
            "lacks 10.0.0.9:6443 and has 10.0.0.1:6443, which hosts.toml does not name",
        ),
    ],
)
def test_servers(apiservers: list[str], text: str) -> None:
    expected = Drift("servers", f"its kube-nginx.conf {text}")
    assert drift(wanted(*apiservers), AS_IT_SHOULD_BE) == (expected,)


@pytest.mark.parametrize("old", ["max_fails=2", "proxy_connect_timeout 1s", "worker_connections 4096"])
def test_other_settings(old: str) -> None:
    text = AS_IT_SHOULD_BE.texts[CONF].replace(old, f"{old}9")
    (found,) = drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts={CONF: text}))
    assert found == Drift("conf", "its kube-nginx.conf has other settings than hosts.toml")


def test_a_comment_is_no_setting() -> None:
    text = f"# mine\n{AS_IT_SHOULD_BE.texts[CONF]}"
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts={CONF: text})) == ()


def test_the_unit() -> None:
    unit = render.unit(SETTINGS)
    texts = {**AS_IT_SHOULD_BE.texts, UNIT_PATH: unit}
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts=texts)) == ()
    texts[UNIT_PATH] = unit.replace("RestartSec=5", "RestartSec=50")
    (found,) = drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts=texts))
    assert found == Drift("unit", "its kube-nginx.service is not the one of hosts.toml")


def test_the_order_of_servers_is_nothing() -> None:
    assert drift(wanted("api-3:7443", "fd00::2", "10.0.0.1"), AS_IT_SHOULD_BE) == ()


def test_a_name_that_resolves_otherwise_now() -> None:
    facts = replace(AS_IT_SHOULD_BE, addresses={"api-3": ("10.0.0.3", "10.0.0.5")})
    (found,) = drift(SETTINGS, facts)
    assert found.text.startswith("its kube-nginx.conf lacks 10.0.0.5:7443 and has 10.0.0.4:7443, which")


def test_a_name_that_stands_in_the_file_is_what_it_resolves_to() -> None:
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts={CONF: render.conf(SETTINGS)})) == ()


def test_a_name_that_does_not_resolve_cannot_be_compared() -> None:
    (found,) = drift(SETTINGS, replace(AS_IT_SHOULD_BE, addresses={"api-3": ()}))
    assert found == Drift(
        "servers?", "api-3: does not resolve there, so servers cannot be compared", known=False
    )


def test_servers_as_others_write_them() -> None:
    text = "upstream b {\n\tserver 10.0.0.1:6443;\n # server 10.0.0.7:1;\n server [fd00::2]:6443 weight=2;\n"
    text += "server api-3:7443 backup;server unix:/run/x;\n}\nserver {\n listen 127.0.0.1:8443;\n}\n"
    facts = replace(AS_IT_SHOULD_BE, texts={CONF: text.replace(";server", ";\nserver")})
    found, others = drift(SETTINGS, facts)
    assert others.word == "conf"
    assert found.text == "its kube-nginx.conf has unix:/run/x, which hosts.toml does not name"


@pytest.mark.parametrize(
    ("changes", "word", "text"),
    [
        ({"installed": "1.22.1"}, "version", "nginx 1.22.1 is installed, not 1.26.3"),
        (
            {"installed": ""},
            "version",
            "the binary is not there, or tells no version; hosts.toml says 1.26.3",
        ),
        ({"texts": {}}, "servers", f"there is no {CONF}"),
        (
            {"files": {**AS_IT_SHOULD_BE.files, BINARY: File("other")}},
            "binary",
            "it runs another binary (nginx 1.26.3) than the one that is installed",
        ),
        (
            {"files": {**AS_IT_SHOULD_BE.files, CONF: File("c", changed=300.0)}},
            "conf",
            "it runs without the changes of the kube-nginx.conf that is there",
        ),
    ],
)
def test_other_differences(changes: dict[str, Any], word: str, text: str) -> None:
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, **changes)) == (Drift(word, text),)
