"""What a node has, against what hosts.toml says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.check.drift import Drift, drift
from tasks.core.config.model import Settings
from tasks.core.config.settings import parse
from tasks.core.facts.facts import Facts, File, Folder, Process
from tasks.core.facts.layout import folders
from tasks.core.facts.paths import UNIT_PATH, conf_path
from tasks.core.release import render

DATA: dict[str, Any] = {
    "nodes": ["a"],
    "apiservers": ["10.0.0.1", "[fd00::2]:6443", "api-3:7443"],
    "build": {"version": "1.26.3"},
}
ADDRESSES = {"api-3": ("10.0.0.3", "10.0.0.4")}
SETTINGS = parse(DATA, Path("hosts.toml"))
CONF = conf_path(SETTINGS.proxy)
BINARY = "/opt/k8s/kube-nginx/sbin/kube-nginx"
PREFIX = SETTINGS.proxy.prefix
AS_IT_SHOULD_BE = Facts(
    user_id="998",
    directories={path: Folder(owner, "755") for path, owner in folders(SETTINGS.proxy, "998").items()},
    files={
        BINARY: File("b", "755", changed=100.0),
        CONF: File("c", changed=100.0),
        UNIT_PATH: File("u", changed=100.0),
    },
    texts={CONF: render.conf(SETTINGS, ADDRESSES), UNIT_PATH: render.unit(SETTINGS)},
    unit={"LoadState": "loaded", "ActiveState": "active", "SubState": "running"},
    process=Process(7, BINARY, "b", "1.26.3", 200.0, "boot:7:1", {8: 200.0}, owner="998"),
    installed="1.26.3",
    addresses=ADDRESSES,
)


def with_conf(text: str) -> Facts:
    """Where kube-nginx.conf is this text."""
    return replace(AS_IT_SHOULD_BE, texts={**AS_IT_SHOULD_BE.texts, CONF: text})


def without(*paths: str) -> dict[str, Any]:
    """Where these files are not."""
    files = {path: file for path, file in AS_IT_SHOULD_BE.files.items() if path not in paths}
    return {"files": files, "texts": {k: v for k, v in AS_IT_SHOULD_BE.texts.items() if k not in paths}}


def changed(**process: Any) -> dict[str, Any]:
    """Where the main process is otherwise."""
    assert AS_IT_SHOULD_BE.process is not None
    return {"process": replace(AS_IT_SHOULD_BE.process, **process)}


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
    (found,) = drift(SETTINGS, with_conf(text))
    assert found == Drift("conf", "its kube-nginx.conf has other settings than hosts.toml")


def test_a_comment_is_no_setting() -> None:
    text = f"# mine\n{AS_IT_SHOULD_BE.texts[CONF]}"
    assert drift(SETTINGS, with_conf(text)) == ()


def test_the_unit() -> None:
    unit = render.unit(SETTINGS).replace("RestartSec=5", "RestartSec=50")
    texts = {**AS_IT_SHOULD_BE.texts, UNIT_PATH: unit}
    (found,) = drift(SETTINGS, replace(AS_IT_SHOULD_BE, texts=texts))
    assert found == Drift("unit", "its kube-nginx.service is not the one of hosts.toml")


def test_the_order_of_servers_is_nothing() -> None:
    assert drift(wanted("api-3:7443", "fd00::2", "10.0.0.1"), AS_IT_SHOULD_BE) == ()


def test_a_name_that_resolves_otherwise_now() -> None:
    facts = replace(AS_IT_SHOULD_BE, addresses={"api-3": ("10.0.0.3", "10.0.0.5")})
    (found,) = drift(SETTINGS, facts)
    assert found.detail.startswith("its kube-nginx.conf lacks 10.0.0.5:7443 and has 10.0.0.4:7443, which")


def test_a_name_that_stands_in_the_file_is_what_it_resolves_to() -> None:
    assert drift(SETTINGS, with_conf(render.conf(SETTINGS))) == ()


def test_a_name_that_does_not_resolve_cannot_be_compared() -> None:
    (found,) = drift(SETTINGS, replace(AS_IT_SHOULD_BE, addresses={"api-3": ()}))
    assert found == Drift(
        "servers?", "api-3: does not resolve there, so servers cannot be compared", known=False
    )


def test_servers_as_others_write_them() -> None:
    text = "upstream b {\n\tserver 10.0.0.1:6443;\n # server 10.0.0.7:1;\n server [fd00::2]:6443 weight=2;\n"
    text += "server api-3:7443 backup;server unix:/run/x;\n}\nserver {\n listen 127.0.0.1:8443;\n}\n"
    found, others = drift(SETTINGS, with_conf(text.replace(";server", ";\nserver")))
    assert others.what == "conf"
    assert found.detail == "its kube-nginx.conf has unix:/run/x, which hosts.toml does not name"


@pytest.mark.parametrize(
    ("changes", "word", "text"),
    [
        ({"installed": "1.22.1"}, "version", "nginx 1.22.1 is installed, not 1.26.3"),
        (
            {"installed": ""},
            "version",
            "the binary is not there, or tells no version; hosts.toml says 1.26.3",
        ),
        (without(CONF), "servers", f"there is no {CONF}"),
        (without(UNIT_PATH), "unit", f"there is no {UNIT_PATH}, so that nothing starts it again"),
        ({"unit": {"LoadState": "masked"}}, "masked", "its unit is masked"),
        (
            {"unit": {**AS_IT_SHOULD_BE.unit, "DropInPaths": "/etc/x.conf"}},
            "drop-in",
            "/etc/x.conf changes its unit",
        ),
        (
            {"unit": {**AS_IT_SHOULD_BE.unit, "NeedDaemonReload": "yes"}},
            "modes",
            "systemd has not read the unit as it is now",
        ),
        (
            {"unit": {**AS_IT_SHOULD_BE.unit, "LimitNOFILE": "1024"}},
            "limits",
            "the unit allows 1024 open files (LimitNOFILE), fewer than proxy.worker_connections, 4096",
        ),
        (
            {"journal": "none"},
            "limits",
            "journald stores nothing there (Storage=none), so that fab logs stays empty",
        ),
        ({"user_id": ""}, "modes", "the user kube-nginx is missing"),
        (
            {"directories": {**AS_IT_SHOULD_BE.directories, f"{PREFIX}/logs": Folder("0", "755")}},
            "modes",
            f"{PREFIX}/logs belongs to 0, not to 998",
        ),
        (
            {"files": {**AS_IT_SHOULD_BE.files, CONF: File("c", "600", changed=100.0)}},
            "modes",
            "kube-nginx.conf has mode 600, not 644",
        ),
        (changed(named=False), "modes", "nginx.pid does not name its main process"),
        (
            {"files": {**AS_IT_SHOULD_BE.files, BINARY: File("other", "755")}},
            "binary",
            "it runs another binary (nginx 1.26.3) than the one that is installed",
        ),
        (
            {"files": {**AS_IT_SHOULD_BE.files, CONF: File("c", changed=300.0)}},
            "conf",
            "it is not known to have read the kube-nginx.conf that is there",
        ),
        (
            {"files": {**AS_IT_SHOULD_BE.files, UNIT_PATH: File("u", changed=300.0)}},
            "unit",
            "it was started before its unit was changed",
        ),
        (changed(owner="0"), "processes", "it runs as user 0, and kube-nginx is 998"),
        (changed(workers={}), "processes", "it has no worker process"),
        (changed(beside=(9,)), "processes", "another process of it accepts connections, too (PID 9)"),
        (changed(stopped=(8,)), "processes", "a process of it is stopped (PID 8)"),
    ],
)
def test_other_differences(changes: dict[str, Any], word: str, text: str) -> None:
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, **changes)) == (Drift(word, text),)


def test_a_drop_in_that_systemd_does_not_know_yet() -> None:
    assert drift(SETTINGS, replace(AS_IT_SHOULD_BE, new_drop_ins=("/etc/x.conf",))) == (
        Drift("drop-in", "/etc/x.conf changes its unit"),
        Drift("modes", "systemd has not read the unit as it is now"),
    )


def test_each_drop_in_is_named() -> None:
    unit = {**AS_IT_SHOULD_BE.unit, "DropInPaths": "/etc/x.conf /run/y.conf", "LimitNOFILE": "512"}
    first, second, limit = drift(SETTINGS, replace(AS_IT_SHOULD_BE, unit=unit))
    assert (first.detail, second.detail) == ("/etc/x.conf changes its unit", "/run/y.conf changes its unit")
    assert limit.detail.endswith("; see /etc/x.conf /run/y.conf")
