"""The runbook's environment.sh as a fleet, and what is said of one that cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.config import environment
from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.environment import Environment
from tasks.core.errors import UsageError

RUNBOOK = """\
#!/usr/bin/bash
# 集群各机器 IP 数组
export NODE_IPS=(172.27.137.240 172.27.137.239)
export NODE_NAMES=(zhangjun-k8s-01 zhangjun-k8s-02)
export ETCD_ENDPOINTS="https://172.27.137.240:2379,https://172.27.137.239:2379"
export KUBE_APISERVER="https://127.0.0.1:8443"
export PATH=/opt/k8s/bin:$PATH
"""


def read(folder: Path, text: str | bytes) -> Environment:
    path = folder / "environment.sh"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return environment.read(path)


@pytest.mark.parametrize(
    "content",
    [
        RUNBOOK.encode(),
        RUNBOOK.encode("utf-8-sig").replace(b"\n", b"\r\n"),
        RUNBOOK.encode("gb18030"),
        RUNBOOK.replace("(172.27.137.240 172.27.137.239)", '"172.27.137.240 172.27.137.239"').encode(),
    ],
    ids=["as it is", "from Windows", "in another encoding", "a string for an array"],
)
def test_the_runbooks_own(tmp_path: Path, content: bytes) -> None:
    found = read(tmp_path, content)
    assert found.nodes() == (
        NodeSpec("zhangjun-k8s-01", "172.27.137.240"),
        NodeSpec("zhangjun-k8s-02", "172.27.137.239"),
    )
    assert found.apiservers() == (Endpoint("172.27.137.240", 6443), Endpoint("172.27.137.239", 6443))
    assert found.listen() == Endpoint("127.0.0.1", 8443)


def test_names_and_listener_may_be_missing(tmp_path: Path) -> None:
    found = read(tmp_path, "NODE_IPS=(10.0.0.1 fd00::2)")
    assert found.nodes() == (NodeSpec("10.0.0.1", "10.0.0.1"), NodeSpec("fd00::2", "fd00::2"))
    assert found.listen() is None


@pytest.mark.parametrize(
    ("given", "listen"),
    [
        ("https://127.0.0.1:9443", Endpoint("127.0.0.1", 9443)),
        ("https://127.0.0.1:9443/", Endpoint("127.0.0.1", 9443)),
        ("127.0.0.2:9443", Endpoint("127.0.0.2", 9443)),
        ("https://[::1]:8443", Endpoint("::1", 8443)),
    ],
)
def test_listeners(tmp_path: Path, given: str, listen: Endpoint) -> None:
    assert read(tmp_path, f"KUBE_APISERVER={given}").listen() == listen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://10.0.0.100:8443", "not an address that every node has"),
        ("https://0.0.0.0:8443", "not an address that every node has"),
        ("https://api.example.com:8443", "a name, where an IP address is needed"),
        ("https://localhost:8443", "a name, where an IP address is needed"),
        ("https://127.0.0.1", "has no port"),
        ("https://127.0.0.1:84430", "a port is a number"),
        ("http://127.0.0.1:8080", "not https://ADDRESS:PORT"),
        ("'https://127.0.0.1:8443 # x'", "not https://ADDRESS:PORT"),
        ("https://127.0.0.1:443", "only root may listen below port 1024"),
    ],
)
def test_no_listeners(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"\nKUBE_APISERVER={given}\n").listen()
    assert str(caught.value).startswith(f"{tmp_path}/environment.sh: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# NODE_IPS=(10.0.0.1)", "no NODE_IPS; looked for a line such as NODE_IPS=("),
        ("NODE_IPS=()", "no NODE_IPS"),
        ("\nNODE_IPS=($(cat ips))", "line 2: NODE_IPS: only a shell knows its value"),
        ("NODE_IPS=(10.0.0.{1..3})", "give --nodes and --apiservers"),
        ("NODE_IPS=(10.0.0.1", "line 1: NODE_IPS: a quote or bracket is not closed"),
        ("NODE_IPS=(10.0.0.1)\nNODE_IPS=(10.0.0.2)", "line 2: NODE_IPS is not what it is on line 1"),
        ("NODE_IPS=(10.0.0.1 10.0.0.2)\nNODE_NAMES=(a)", "NODE_IPS has 2 entries and NODE_NAMES has 1"),
        ("NODE_IPS=(10.0.0.1)\nNODE_NAMES=(`hostname`)", "line 2: NODE_NAMES: only a shell"),
        ("NODE_IPS=(10.0.0.1 10.0.0.256)", "NODE_IPS[1]: '10.0.0.256' not an IPv4 address"),
        ("NODE_IPS=(10.0.0.1)\nNODE_NAMES=(a/b)", "NODE_NAMES[0]: 'a/b' must be letters"),
        (
            "NODE_IPS=(10.0.0.1 10.0.0.1)\nNODE_NAMES=(a b)",
            "NODE_IPS[1]: is the host and port of NODE_IPS[0]",
        ),
    ],
)
def test_no_nodes(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text).nodes()
    assert str(caught.value).startswith(f"{tmp_path}/environment.sh: ")
    assert words in str(caught.value)


def test_a_large_fleet_does_not_run_as_many_apiservers(tmp_path: Path) -> None:
    found = read(tmp_path, f"NODE_IPS=({' '.join(f'10.0.0.{n}' for n in range(1, 61))})")
    assert len(found.nodes()) == 60
    with pytest.raises(UsageError, match=r"at most 50 are possible.*\n.*--apiservers names others"):
        found.apiservers()


def test_one_bad_variable_does_not_spoil_the_others(tmp_path: Path) -> None:
    found = read(tmp_path, "NODE_IPS=($IPS)\nKUBE_APISERVER=https://127.0.0.1:9443")
    assert found.listen() == Endpoint("127.0.0.1", 9443)


@pytest.mark.parametrize("name", ["missing.sh", "."])
def test_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"--from .*: cannot be read: "):
        environment.read(tmp_path / name)


def test_nothing_is_run(tmp_path: Path) -> None:
    read(tmp_path, f"touch {tmp_path}/run\nX=$(touch {tmp_path}/run)\nNODE_IPS=(10.0.0.1)").nodes()
    assert not (tmp_path / "run").exists()
