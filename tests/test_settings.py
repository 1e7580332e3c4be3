import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config import model
from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Build, Proxy, Rollout, Ssh
from tasks.core.config.rules import PINS
from tasks.core.config.settings import SettingsError, parse
from tasks.core.errors import UsageError

from .hosts_data import FILE, SUM, problems, with_keys


def test_defaults_are_those_of_the_dataclasses() -> None:
    found = parse(with_keys(), FILE)
    assert (found.ssh, found.build, found.proxy, found.rollout) == (Ssh(), Build(), Proxy(), Rollout())
    assert (found.profile, found.path, found.rollout.parallel) == ("recommended", FILE, 32)


def test_profile_runbook_has_the_runbooks_values() -> None:
    found = parse(with_keys(profile="runbook"), FILE)
    assert (found.build.version, found.build.sha256) == ("1.15.3", PINS["1.15.3"])
    assert found.build.work_dir_for("local") == "/opt/k8s/work"
    assert found.proxy == Proxy(
        balance="hash $remote_addr consistent",
        max_fails=3,
        fail_timeout="30s",
        worker_connections=1024,
        proxy_timeout="",
        worker_shutdown_timeout="",
        user="",
    )


def test_settings_cannot_be_changed() -> None:
    proxy: Any = parse(with_keys(), FILE).proxy
    with pytest.raises(dataclasses.FrozenInstanceError):
        proxy.user = "root"


@pytest.mark.parametrize(
    ("dotted", "attribute", "value"),
    [
        ("ssh__user", "ssh.user", "admin"),
        ("ssh__port", "ssh.port", 2222),
        ("ssh__gateway", "ssh.gateway", "root@jump:22"),
        ("ssh__host_keys", "ssh.host_keys", "accept-new"),
        ("ssh__sudo", "ssh.sudo", True),
        ("ssh__connect_timeout", "ssh.connect_timeout", 600),
        ("build__static", "build.static", True),
        ("build__hosts", "build.hosts", ("local", "root@10.0.0.9:22")),
        ("proxy__prefix", "proxy.prefix", "/srv/kube-nginx"),
        ("proxy__max_fails", "proxy.max_fails", 0),
        ("proxy__worker_connections", "proxy.worker_connections", 65000),
        ("proxy__proxy_timeout", "proxy.proxy_timeout", ""),
        ("proxy__user", "proxy.user", ""),
        ("rollout__parallel", "rollout.parallel", 1),
        ("rollout__canary", "rollout.canary", 0),
        ("rollout__batch", "rollout.batch", 5),
        ("rollout__pause", "rollout.pause", 86400),
        ("rollout__max_failures", "rollout.max_failures", 1000),
        ("rollout__timeout", "rollout.timeout", 5),
        ("rollout__settle", "rollout.settle", 19),
        ("rollout__keep", "rollout.keep", 2),
        ("check__timeout", "check.timeout", 60),
    ],
)
def test_a_key_reaches_its_setting(dotted: str, attribute: str, value: Any) -> None:
    given_value = list(value) if isinstance(value, tuple) else value
    found = parse(with_keys(**{dotted: given_value}), FILE)
    section, name = attribute.split(".")
    assert getattr(getattr(found, section), name) == value


@pytest.mark.parametrize("key", [key for key in model.KEYS if "." in key])
def test_every_key_of_a_section_is_read(key: str) -> None:
    name = key.replace(".", "__")
    lines = problems(with_keys(**{name: {"not": "this"}}))
    assert any(line.startswith(f"hosts.toml: {key}") for line in lines)
    assert not any("unknown key" in line for line in lines)


@pytest.mark.parametrize(
    ("data", "key", "words"),
    [
        (with_keys(nodes=None), "nodes", "missing"),
        (with_keys(nodes=[]), "nodes", "at least one"),
        (with_keys(nodes="node-1"), "nodes", "must be a list"),
        (with_keys(nodes=[3]), "nodes[0]", "must be a string or a table"),
        (with_keys(nodes=["a b"]), "nodes[0]", "a host is"),
        (with_keys(nodes=["-oProxyCommand=x"]), "nodes[0]", "a host is"),
        (with_keys(nodes=["-l@host"]), "nodes[0]", "a user is"),
        (with_keys(nodes=["a\nb"]), "nodes[0]", "control characters"),
        (with_keys(nodes=["$(id)"]), "nodes[0]", "a host is"),
        (with_keys(nodes=["a:0"]), "nodes[0]", "1 to 65535"),
        (with_keys(nodes=["a:65536"]), "nodes[0]", "1 to 65535"),
        (with_keys(nodes=["10.0.0.256"]), "nodes[0]", "not an IPv4 address"),
        (with_keys(nodes=["a", "root@a:22"]), "nodes[1]", "host and port of nodes[0]"),
        (with_keys(nodes=["a", {"host": "b", "name": "a"}]), "nodes[1]", "name of nodes[0]"),
        (with_keys(nodes=["a:1", "a:2"]), "nodes[1]", 'name = "..."'),
        (with_keys(nodes=["a", {"host": "b", "name": "A"}]), "nodes[1]", "name of nodes[0]"),
        (
            with_keys(nodes=[{"host": "b", "name": "A"}, {"host": "a", "name": "c"}]),
            "nodes[0]",
            "has the host of nodes[1] for its name, 'A'; give it another: { host = \"b\", ",
        ),
        (
            with_keys(nodes=[{"host": "a:1", "name": "b"}, "a:2"]),
            "nodes[1]",
            "the host of nodes[0] for its name",
        ),
        (with_keys(nodes=["a", {"host": "b", "groups": ["A"]}]), "nodes[0]", "name of a group of nodes[1]"),
        (with_keys(nodes=[{"host": "a", "groups": ["a"]}]), "nodes[0]", "name of a group of nodes[0]"),
        (with_keys(nodes=[{"name": "a"}]), "nodes[0].host", "missing"),
        (with_keys(nodes=[{"host": "a", "nam": "b"}]), "nodes[0].nam", "nodes[0].name?"),
        (with_keys(nodes=[{"host": "a", "name": "b c"}]), "nodes[0].name", "must be letters"),
        (with_keys(nodes=[{"host": "a", "groups": ["-x"]}]), "nodes[0].groups[0]", "letters"),
        (with_keys(nodes=[{"host": "a", "groups": "x"}]), "nodes[0].groups", "a list"),
        (with_keys(nodes=[{"host": "u@a", "user": "v"}]), "nodes[0].user", "keep one"),
        (with_keys(nodes=[{"host": "a:1", "port": 2}]), "nodes[0].port", "keep one"),
        (with_keys(apiservers=None), "apiservers", "missing"),
        (with_keys(apiservers=[]), "apiservers", "at least one"),
        (with_keys(apiservers=["a", "A:6443"]), "apiservers[1]", "same as apiservers[0]"),
        (with_keys(apiservers=["[fd00:0::1]", "fd00::1"]), "apiservers[1]", "same as"),
        (with_keys(apiservers=["fd00::1:6443"]), "apiservers[0]", "[ADDRESS]:6443"),
        (with_keys(apiservers=["https://a:6443"]), "apiservers[0]", "without https://"),
        (with_keys(apiservers=["fe80::1%eth0"]), "apiservers[0]", "zone"),
        (with_keys(apiservers=["a;b"]), "apiservers[0]", "a host is"),
        (with_keys(apiservers=["unix:/x"]), "apiservers[0]", "a port is"),
        (with_keys(apiservers=["0x7f.1"]), "apiservers[0]", "not an IPv4 address"),
        (with_keys(apiservers=[f"h{i}" for i in range(51)]), "apiservers", "at most 50"),
        (with_keys(profile="runbok"), "profile", '"runbook"'),
        (with_keys(profile=1), "profile", '"runbook"'),
        (with_keys(ssh=3), "ssh", "must be a table"),
        (with_keys(ssh__port=True), "ssh.port", "not a boolean"),
        (with_keys(ssh__port="22"), "ssh.port", "not a string"),
        (with_keys(ssh__port=0), "ssh.port", "from 1 to 65535"),
        (with_keys(ssh__sudo=1), "ssh.sudo", "true or false"),
        (with_keys(ssh__host_keys="no"), "ssh.host_keys", '"accept-new"'),
        (with_keys(ssh__connect_timeout=601), "ssh.connect_timeout", "from 1 to 600"),
        (with_keys(ssh__gateway="a,b"), "ssh.gateway", "a host is"),
        (with_keys(ssh__identity="a\0"), "ssh.identity", "control characters"),
        (with_keys(build__version="1.30"), "build.version", "three numbers"),
        (with_keys(build__version="1.30.6\n"), "build.version", "control characters"),
        (with_keys(build__version="\u0661.\u0663\u0660.\u0666"), "build.version", "three numbers"),
        (with_keys(build__version="1.11.4"), "build.version", "1.11.5"),
        (with_keys(build__version="1.27.0"), "build.sha256", "set build.sha256"),
        (with_keys(build__sha256="12"), "build.sha256", "64 hexadecimal"),
        (with_keys(build__sha256=SUM), "build.sha256", SUM),
        (with_keys(build__sha256=SUM), "build.sha256", PINS["1.30.6"]),
        (with_keys(build__mirrors=["ftp://x/"]), "build.mirrors[0]", "apt:SUITE"),
        (with_keys(build__mirrors=["https:///x"]), "build.mirrors[0]", "URL"),
        (with_keys(build__mirrors=["https://u:p@h/"]), "build.mirrors[0]", "no user"),
        (with_keys(build__mirrors=["apt:a b"]), "build.mirrors[0]", "URL"),
        (with_keys(build__mirrors=["http://[::1"]), "build.mirrors[0]", "URL"),
        (with_keys(build__mirrors=["http://h:x/"]), "build.mirrors[0]", "URL"),
        (with_keys(build__mirrors=["http://h/a", "http://h/a/"]), "build.mirrors[1]", "same"),
        (with_keys(build__hosts=[]), "build.hosts", "at least one"),
        (with_keys(build__hosts=["local", "local"]), "build.hosts[1]", "same"),
        (with_keys(build__work_dir="work"), "build.work_dir", "absolute"),
        (with_keys(build__work_dir="/tmp/x"), "build.work_dir", "such as /opt/k8s/work"),
        (with_keys(build__work_dir="/var/tmp"), "build.work_dir", "such as /opt/k8s/work"),
        (with_keys(build__work_dir="/dev/shm/a/b"), "build.work_dir", "such as /opt/k8s/work"),
        (with_keys(build__work_dir="/opt/k8s/kube-nginx/x"), "proxy.prefix", "holds the work folder"),
        (with_keys(build__work_dir="/opt/k8s"), "proxy.prefix", "in the work folder /opt/k8s"),
        (with_keys(proxy__listen=["localhost:8443"]), "proxy.listen[0]", "IP address"),
        (with_keys(proxy__listen=["127.0.0.1"]), "proxy.listen[0]", "has no port"),
        (with_keys(proxy__listen=["127.0.0.1:443"]), "proxy.listen", "only root"),
        (with_keys(proxy__listen=[f"[::1]:{p}" for p in range(8000, 8009)]), "proxy.listen", "8"),
        (with_keys(proxy__balance="ip_hash"), "proxy.balance", "http module only"),
        (with_keys(proxy__balance="least_time connect"), "proxy.balance", "commercial"),
        (with_keys(proxy__balance="sticky route"), "proxy.balance", "commercial"),
        (with_keys(proxy__balance="random two least_time=connect"), "proxy.balance", "commercial"),
        (with_keys(proxy__balance="hash $remote_adr"), "proxy.balance", "hash $remote_addr?"),
        (with_keys(proxy__balance="hash $http_host"), "proxy.balance", "$binary_remote_addr"),
        (with_keys(proxy__balance="least_con"), "proxy.balance", "did you mean least_conn?"),
        (with_keys(proxy__balance=""), "proxy.balance", "is no balancing method"),
        (with_keys(proxy__balance="random;"), "proxy.balance", "did you mean random?"),
        (with_keys(proxy__fail_timeout=3), "proxy.fail_timeout", "not an integer"),
        (with_keys(proxy__fail_timeout="3"), "proxy.fail_timeout", "must be a time"),
        (with_keys(proxy__fail_timeout="0s"), "proxy.fail_timeout", "longer than 0"),
        (with_keys(proxy__fail_timeout="500ms"), "proxy.fail_timeout", "whole seconds"),
        (with_keys(proxy__connect_timeout="1s2m"), "proxy.connect_timeout", "must be a time"),
        (with_keys(proxy__connect_timeout="99w"), "proxy.connect_timeout", "24d"),
        (with_keys(proxy__connect_timeout="1s;"), "proxy.connect_timeout", "must be a time"),
        (with_keys(proxy__connect_timeout=""), "proxy.connect_timeout", "must be a time"),
        (with_keys(proxy__max_fails=-1), "proxy.max_fails", "from 0"),
        (with_keys(proxy__worker_connections=15), "proxy.worker_connections", "LimitNOFILE"),
        (with_keys(proxy__worker_connections=65001), "proxy.worker_connections", "65536"),
        (with_keys(proxy__worker_processes=513), "proxy.worker_processes", "512"),
        (with_keys(proxy__worker_processes=2**70), "proxy.worker_processes", "64 bits"),
        (with_keys(proxy__user="root"), "proxy.user", "runs as root"),
        (with_keys(proxy__user="a b"), "proxy.user", "system user"),
        (with_keys(proxy__max_fail=3), "proxy.max_fail", "did you mean proxy.max_fails?"),
        (with_keys(proxy__parallel=3), "proxy.parallel", "did you mean rollout.parallel?"),
        (with_keys(ssh__nodes=[]), "ssh.nodes", "did you mean nodes?"),
        (with_keys(prxy={}), "prxy", "did you mean proxy?"),
        (with_keys(zzzzzz=1), "zzzzzz", "known here: profile"),
        (with_keys(**{"a\nb": 1}), r"'a\nb'", "unknown key"),
        (with_keys(rollout__parallel=0), "rollout.parallel", "from 1 to 1000"),
        (with_keys(rollout__canary=-1), "rollout.canary", "from 0 to 1000"),
        (with_keys(rollout__canary="1"), "rollout.canary", "not a string"),
        (with_keys(rollout__batch=0), "rollout.batch", "0 must be a number of nodes from 1 to 1000"),
        (with_keys(rollout__batch="a third"), "rollout.batch", 'a percentage from "1%" to "100%"'),
        (with_keys(rollout__pause=86401), "rollout.pause", "from 0 to 86400 (seconds)"),
        (with_keys(rollout__max_failures=1001), "rollout.max_failures", "from 0 to 1000"),
        (with_keys(rollout__timeout=4), "rollout.timeout", "from 5 to 600 (seconds)"),
        (with_keys(rollout__timeout=601), "rollout.timeout", "from 5 to 600 (seconds)"),
        (with_keys(rollout__settle=61), "rollout.settle", "from 0 to 60 (seconds)"),
        (with_keys(rollout__settle=20), "rollout.settle", "20 must be less than rollout.timeout, 20"),
        (with_keys(rollout={"settle": 9, "timeout": 4}), "rollout.timeout", "from 5"),
        (with_keys(rollout__keep=1), "rollout.keep", "from 2 to 50: the one that runs"),
        (with_keys(rollout__keep=51), "rollout.keep", "from 2 to 50"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(data: Any, key: str, words: str) -> None:
    (line,) = problems(data)
    assert line.startswith(f"hosts.toml: {key}: ")
    assert words in line


def test_all_mistakes_are_reported_at_once() -> None:
    data = with_keys(profile="x", nodes=["a", "b b"], ssh__port=0, proxy__max_fail=1, build__version="1")
    keys = {line.split(": ")[1] for line in problems(data)}
    assert keys == {"profile", "nodes[1]", "ssh.port", "proxy.max_fail", "build.version"}
    assert issubclass(SettingsError, UsageError)


def test_one_mistake_does_not_hide_a_loop() -> None:
    lines = problems(with_keys(apiservers=["b b", "127.0.0.1:8443"]))
    assert len(lines) == 2


def test_a_node_as_a_table() -> None:
    table = {"host": "10.0.0.13", "name": "worker-3", "user": "me", "port": 2222, "groups": ["w"]}
    (node,) = parse(with_keys(nodes=[table]), FILE).nodes
    assert node == NodeSpec("worker-3", "10.0.0.13", "me", 2222, ("w",))


def test_paths_are_relative_to_the_file_and_know_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    data = with_keys(ssh={"config": "lab/ssh_config", "identity": "~/.ssh/key"})
    ssh = parse(data, Path("/etc/x/hosts.toml")).ssh
    assert (ssh.config, ssh.identity) == (Path("/etc/x/lab/ssh_config"), Path("/home/me/.ssh/key"))
    assert parse(with_keys(), FILE).ssh.config == Path("/home/me/.ssh/config")
    assert parse(with_keys(ssh__config=""), FILE).ssh.config is None
    assert parse(with_keys(check__ca="ca.crt"), Path("/etc/x/hosts.toml")).check.ca == Path("/etc/x/ca.crt")
    assert parse(with_keys(check__ca="~/ca.crt"), FILE).check.ca == Path("/home/me/ca.crt")
    assert parse(with_keys(), FILE).check.ca is None


@pytest.mark.parametrize(
    ("work_dir", "host", "cache", "expected"),
    [
        ("", "local", "/cache", "/cache/kube-nginx"),
        ("", "local", "relative", "/home/me/.cache/kube-nginx"),
        ("", "local", "", "/home/me/.cache/kube-nginx"),
        ("", "root@b", "/cache", "/opt/k8s/work"),
        ("/build", "local", "/cache", "/build"),
        ("/build", "root@b", "/cache", "/build"),
    ],
)
def test_where_a_host_builds(
    monkeypatch: pytest.MonkeyPatch, work_dir: str, host: str, cache: str, expected: Any
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert Build(work_dir=work_dir).work_dir_for(host) == expected


def test_a_number_too_long_to_print_is_still_a_mistake() -> None:
    assert "64 bits" in problems(with_keys(rollout__parallel=16**6000))[0]
