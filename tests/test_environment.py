"""The runbook's environment.sh as a fleet, and what is said of one that cannot be one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.errors import UsageError
from tasks.core.setup import source
from tasks.core.setup.environment import Environment
from tasks.core.sources.assignments import assignments
from tasks.core.sources.looks import text_of

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
    return Environment(path, tuple(assignments(text_of(path.read_bytes(), path))))


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
        ("https://[0:0:0:0:0:0:0:1]:8443", Endpoint("::1", 8443)),
    ],
)
def test_listeners(tmp_path: Path, given: str, listen: Endpoint) -> None:
    assert read(tmp_path, f"KUBE_APISERVER={given}").listen() == listen


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://localhost:8443", "must be an IP address and a port"),
        ("https://127.0.0.1", "has no port"),
        ("https://127.0.0.1:84430", "a port is a number"),
        ("http://127.0.0.1:8080", "without https:// and path"),
        ("'https://127.0.0.1:8443 # x'", "a port is a number"),
        ("https://127.0.0.1:443", "only root may listen below port 1024"),
        ("https:/127.0.0.1:9443", "It is taken as the address where the proxy listens"),
        ("https//127.0.0.1:9443", "a host is a name of letters"),
        ("HTTPS://127.0.0.1:9443", "without https:// and path"),
        ("https://10.0.0.300:8443", "not an IPv4 address"),
        ("https://10.0.0.1:84430", "a port is a number"),
        ("https://10.0.0.1:8443/x", "without https:// and path"),
        ("ftp://x", "without https:// and path"),
        ("https://127.0.0.1:${PORT}", "only a shell knows its value"),
    ],
)
def test_no_listeners(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"\nKUBE_APISERVER={given}\n").listen()
    assert str(caught.value).startswith(f"{tmp_path}/environment.sh: line 2: KUBE_APISERVER: ")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        *("https://10.0.0.100:8443", "https://0.0.0.0:8443", "https://api.example.com:8443", "10.0.0.100"),
        *("https://localhost.localdomain:8443", "https://127.0.0.1.nip.io:8443"),
        *("http://10.0.0.100:8080", '"https://${MASTER_VIP}:8443"', "https://$VIP", "https://$(vip):8443"),
    ],
)
def test_a_virtual_ip_is_told_and_the_rest_is_read(tmp_path: Path, given: str) -> None:
    found = read(tmp_path, f"NODE_IPS=(10.0.0.1)\nKUBE_APISERVER={given}\n")
    assert found.listen() is None
    assert found.note().startswith(
        f"KUBE_APISERVER is {given.strip(chr(34))!r}, not an address that every node"
    )
    assert "the proxy listens on 127.0.0.1:8443 instead" in found.note()
    assert found.nodes() == (NodeSpec("10.0.0.1", "10.0.0.1"),)


MASTERS = """export MASTER_IPS=(10.0.0.1 10.0.0.2)
export MASTER_NAMES=(master-1 master-2)
"""
ALL = """export NODE_IPS=(10.0.0.1 10.0.0.2 10.0.0.3)
export NODE_NAMES=(m1 m2 w1)
"""


@pytest.mark.parametrize(
    ("text", "nodes"),
    [
        ("NODE_IPS=(10.0.0.3 10.0.0.4)\nNODE_NAMES=(w1 w2)", {"w1": "10.0.0.3", "w2": "10.0.0.4"}),
        (ALL, {"m1": "10.0.0.1", "m2": "10.0.0.2", "w1": "10.0.0.3"}),
        ("NODE_IPS=(10.0.0.1 10.0.0.3)", {"10.0.0.1": "10.0.0.1", "10.0.0.3": "10.0.0.3"}),
        ("WORKER_IPS=(10.0.0.3)\nWORKER_NAMES=(w1)", {"w1": "10.0.0.3"}),
        ("WORK_IPS=(10.0.0.3)", {"10.0.0.3": "10.0.0.3"}),
        ("", {"master-1": "10.0.0.1", "master-2": "10.0.0.2"}),
    ],
    ids=["workers", "all", "no names", "another list", "a third", "masters alone"],
)
def test_the_apiservers_are_the_masters(tmp_path: Path, text: str, nodes: dict[str, str]) -> None:
    found = read(tmp_path, MASTERS + text)
    assert {node.name: node.host for node in found.nodes()} == nodes
    assert found.apiservers() == (Endpoint("10.0.0.1", 6443), Endpoint("10.0.0.2", 6443))
    assert found.labels() == ("master-1", "master-2")
    assert not found.assumed()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("NODE_IPS=(10.0.0.3)\nMASTER_IPS=(${OTHER[@]:0:3})", "line 2: MASTER_IPS: only a shell knows its"),
        ("NODE_IPS=(10.0.0.3)\nMASTER_IPS=(10.0.0.256)", "MASTER_IPS[0]: '10.0.0.256' not an IPv4"),
        ("NODE_IPS=(10.0.0.3)\nMASTER_IPS=(0.0.0.0)", "apiservers are taken from MASTER_IPS; --apiservers"),
        ("WORKER_IPS=(10.0.0.3)", "no MASTER_IPS, and WORKER_IPS are not the apiservers; give --apiservers"),
    ],
)
def test_no_apiservers(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text).apiservers()
    assert words in str(caught.value)


def test_what_is_made_of_variables_above(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "WORKERS=(10.0.0.3 10.0.0.4)\nA=10.0.0.1; B=10.0.0.2\nK8S_DIR=/data/k8s\nVIP=10.0.0.9\n"
        'MASTER_IPS=($A "${B}")\nNODE_IPS=(${MASTER_IPS[@]} "${WORKERS[@]}")\n'
        'KUBE_NGINX_DIR="$K8S_DIR/kube-nginx"\n'
        'KUBE_APISERVER="https://${VIP}:8443"\n',
    )
    assert [node.host for node in found.nodes()] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert [server.host for server in found.apiservers()] == ["10.0.0.1", "10.0.0.2"]
    assert found.prefix() == "/data/k8s/kube-nginx"
    assert "'https://10.0.0.9:8443'" in found.note()


def test_nodes_need_no_masters(tmp_path: Path) -> None:
    found = read(tmp_path, "NODE_IPS=(10.0.0.3)\nMASTER_IPS=(${OTHER[@]:0:3})")
    assert found.nodes() == (NodeSpec("10.0.0.3", "10.0.0.3"),)


def test_names_that_do_not_fit_the_masters(tmp_path: Path) -> None:
    found = read(tmp_path, "MASTER_IPS=(10.0.0.1 10.0.0.2)\nMASTER_NAMES=(m1)")
    with pytest.raises(UsageError, match="MASTER_IPS has 2 entries and MASTER_NAMES has 1"):
        found.labels()
    with pytest.raises(UsageError, match=r"MASTER_NAMES\[0\]: 'm/1' must be letters"):
        read(tmp_path, "MASTER_IPS=(10.0.0.1)\nMASTER_NAMES=(m/1)").labels()


@pytest.mark.parametrize(
    ("given", "prefix"),
    [("/usr/local/kube-nginx", "/usr/local/kube-nginx"), ('"/opt/k8s/kube-nginx/"', "/opt/k8s/kube-nginx")],
)
def test_the_folder(tmp_path: Path, given: str, prefix: str) -> None:
    assert read(tmp_path, f"export KUBE_NGINX_DIR={given}").prefix() == prefix
    assert read(tmp_path, "X=1").prefix() == "/opt/k8s/kube-nginx"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("/opt/k8s", "line 2: KUBE_NGINX_DIR: '/opt/k8s' is, or is in, a folder that is not for kube-nginx"),
        ("$K8S_DIR/kube-nginx", "line 2: KUBE_NGINX_DIR: only a shell knows its value"),
        ("/", "line 2: KUBE_NGINX_DIR: '/' must be an absolute path"),
    ],
)
def test_no_folder(tmp_path: Path, given: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, f"\nKUBE_NGINX_DIR={given}\n").prefix()
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "declare -A NODE_IPS=([worker-1]=10.0.0.1 [worker-2]=10.0.0.2)",
        "declare -A NODE_IPS=(\n  [worker-1]=10.0.0.1  # one\n  [worker-2]=10.0.0.2\n)",
        'declare -A NODE_IPS\nNODE_IPS["worker-1"]=10.0.0.1',
        "declare -A NODE_IPS\nNODE_IPS=(worker-1 10.0.0.1)",
        "declare -x -A NODE_IPS=()",
        "typeset -gA NODE_IPS; NODE_IPS[worker-1]=10.0.0.1",
        "export NODE_IPS=([0]=10.0.0.1 [1]=10.0.0.2)",
    ],
)
def test_an_array_with_keys_is_explained(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text).nodes()
    assert "NODE_IPS: only a shell knows its value" in str(caught.value)
    assert "two lists in the same order, without keys (declare -A)" in str(caught.value)
    assert "NODE_IPS=(10.0.0.11 10.0.0.12) and NODE_NAMES=(worker-1 worker-2)" in str(caught.value)


def test_an_array_with_keys_of_somebody_else(tmp_path: Path) -> None:
    found = read(tmp_path, "declare -A PORTS=([a]=1)\nPORTS[b]=2\nNODE_IPS=(10.0.0.1)\n")
    assert found.nodes() == (NodeSpec("10.0.0.1", "10.0.0.1"),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# NODE_IPS=(10.0.0.1)\nX=1", "no NODE_IPS; looked for a line such as NODE_IPS=("),
        ("NODE_IPS=()", "no NODE_IPS"),
        ("\nNODE_IPS=($(cat ips))", "line 2: NODE_IPS: only a shell knows its value"),
        ("NODE_IPS=(10.0.0.{1..3})", "give --nodes and --apiservers"),
        (
            "NODE_IPS=(10.0.0.1",
            "line 1: NODE_IPS: only a shell knows its value (or a quote or",
        ),
        ("NODE_IPS=(10.0.0.1)\nNODE_IPS=(10.0.0.2)", "line 2: NODE_IPS is not what it is on line 1"),
        ("(NODE_IPS=(9.9.9.9))\nNODE_IPS=(1.1.1.1)", "line 2: NODE_IPS is not what it is on line 1"),
        ("p() { NODE_IPS=(10.0.0.1); }\nNODE_IPS=(1.1.1.1)", "line 2: NODE_IPS is not what it is on line 1"),
        ("env NODE_IPS=10.0.0.2 x\nNODE_IPS=(1.1.1.1)", "line 2: NODE_IPS is not what it is on line 1"),
        ("env NODE_IPS=10.0.0.2 x", "line 1: NODE_IPS: only a shell knows its value"),
        ("declare -A X=([a]=1) NODE_IPS\nNODE_IPS=(a 10.0.0.1)", "line 2: NODE_IPS: only a shell knows"),
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
    with pytest.raises(UsageError, match=r"--from .*: (cannot be read: |is a folder)"):
        source.read(str(tmp_path / name), source.Flags())


def test_nothing_is_run(tmp_path: Path) -> None:
    read(tmp_path, f"touch {tmp_path}/run\nX=$(touch {tmp_path}/run)\nNODE_IPS=(10.0.0.1)").nodes()
    assert not (tmp_path / "run").exists()
