import re
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config import model
from tasks.core.config.rules import PINS
from tasks.core.config.settings import SettingsError, load, parse
from tasks.core.release import render

from .hosts_data import FILE, problems, with_keys
from .strategies import BREAKING, brief, spoilt, thorough

ADDRESS = r"(\d+\.\d+\.\d+\.\d+|\[[0-9a-f:]+\]|[a-z0-9_][a-z0-9._-]*):\d+"
TIME = r"(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?"
CONF_LINES = re.compile(
    rf"""|worker_processes\ \d+;|error_log\ stderr;|pid\ /[\w.+/-]+/logs/nginx\.pid;
    |worker_shutdown_timeout\ {TIME};|(events|stream)\ \{{|(\ {{4}})?\}}
    |\ {{4}}worker_connections\ \d+;|\ {{4}}(upstream\ backend|server)\ \{{
    |\ {{8}}zone\ backend\ 64k;|\ {{8}}(least_conn|random|random\ two|random\ two\ least_conn);
    |\ {{8}}hash\ \$[a-z_]+(\ consistent)?;|\ {{8}}listen\ {ADDRESS};
    |\ {{8}}\#\ in\ place\ of\ each\ name,\ deploy\ writes\ the\ addresses\ to\ which\ the\ node\ resolves\ it
    |\ {{8}}server\ {ADDRESS}\ max_fails=\d+\ fail_timeout={TIME};
    |\ {{8}}(proxy_connect_timeout|proxy_timeout)\ {TIME};|\ {{8}}proxy_pass\ backend;""",
    re.X | re.A,
)
UNIT_LINES = re.compile(r"|\[(Unit|Service|Install)\]|[A-Za-z]+=[\w@~/.+ -]*", re.A)

STRING_KEYS = {
    "apiservers": "10.0.0.1:6443",
    "nodes": "root@worker-1:22",
    "profile": "runbook",
    "build.version": "1.26.3",
    "build.sha256": PINS["1.30.6"],
    "build.mirrors": "https://nginx.org/download/",
    "build.hosts": "local",
    "build.work_dir": "/opt/k8s/work",
    "proxy.prefix": "/opt/k8s/kube-nginx",
    "proxy.listen": "[::1]:8443",
    "proxy.balance": "hash $remote_addr consistent",
    "proxy.fail_timeout": "1m30s",
    "proxy.connect_timeout": "500ms",
    "proxy.proxy_timeout": "10m",
    "proxy.worker_shutdown_timeout": "10s",
    "proxy.user": "kube-nginx",
    "ssh.user": "root",
    "ssh.identity": "~/.ssh/id",
    "ssh.config": "~/.ssh/config",
    "ssh.gateway": "root@jump",
    "ssh.host_keys": "strict",
    "rollout.batch": "25%",
    "check.ca": "/etc/kubernetes/pki/ca.crt",
}
LISTS = ("apiservers", "nodes", "build.mirrors", "build.hosts", "proxy.listen")


def stays_in_its_line(key: str, text: str) -> None:
    dotted = {key.replace(".", "__"): [text] if key in LISTS else text}
    try:
        found = parse(with_keys(**dotted), FILE)
    except SettingsError:
        problems(with_keys(**dotted))
        return
    assert all(CONF_LINES.fullmatch(line) for line in render.conf(found).split("\n"))
    assert all(UNIT_LINES.fullmatch(line) for line in render.unit(found).split("\n"))


@pytest.mark.parametrize("key", STRING_KEYS)
@brief
@given(st.data())
def test_no_text_breaks_out_of_its_line(key: str, data: Any) -> None:
    stays_in_its_line(key, data.draw(st.text(max_size=40) | spoilt(STRING_KEYS[key])))


@pytest.mark.parametrize("key", STRING_KEYS)
def test_nothing_that_ends_a_line_elsewhere_breaks_out_of_it(key: str) -> None:
    valid = STRING_KEYS[key]
    for breaker, at in product(BREAKING, (0, len(valid) // 2, len(valid))):
        stays_in_its_line(key, valid[:at] + breaker + valid[at:])


def test_the_expected_shapes_hold_for_valid_values() -> None:
    for key, value in STRING_KEYS.items():
        dotted = {key.replace(".", "__"): [value] if key in LISTS else value}
        found = parse(with_keys(**dotted), FILE)
        assert all(CONF_LINES.fullmatch(line) for line in render.conf(found).split("\n"))


LEAVES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(list(STRING_KEYS.values())),
    st.integers(),
    st.integers(-(10**5), 10**5),
    st.floats(),
    st.booleans(),
    st.dates(),
    st.times(),
    st.datetimes(),
)
LEAF_NAMES = [key.rpartition(".")[2] for key in model.KEYS]
NAMES = st.sampled_from([*model.KEYS, *LEAF_NAMES, "host", "name", "groups"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=12,
)


@thorough
@given(st.dictionaries(NAMES | st.text(max_size=10), VALUES, max_size=6))
def test_any_toml_is_either_settings_or_a_settings_error(data: Any) -> None:
    try:
        parse(data, FILE)
    except SettingsError:
        assert problems(data)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("settings") / "hosts.toml"


@thorough
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_any_bytes_are_either_settings_or_a_settings_error(scratch: Path, content: bytes) -> None:
    scratch.write_bytes(content)
    with pytest.raises(SettingsError):
        load(scratch)
