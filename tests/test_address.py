import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.address import Endpoint, NodeSpec, parse_endpoint, parse_node

from .strategies import spoilt, thorough


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("worker-1", NodeSpec("worker-1", "worker-1")),
        ("10.0.0.11", NodeSpec("10.0.0.11", "10.0.0.11")),
        ("root@10.0.0.12:2222", NodeSpec("10.0.0.12", "10.0.0.12", "root", 2222)),
        ("me@corp@host", NodeSpec("host", "host", "me@corp")),
        ("fd00::5", NodeSpec("fd00::5", "fd00::5")),
        ("fd00::22", NodeSpec("fd00::22", "fd00::22")),
        ("FD00:0::5", NodeSpec("fd00::5", "fd00::5")),
        ("[fd00::5]:22", NodeSpec("fd00::5", "fd00::5", None, 22)),
        ("root@[fd00::5]", NodeSpec("fd00::5", "fd00::5", "root")),
        ("fe80::1%eth0", NodeSpec("fe80::1%eth0", "fe80::1%eth0")),
    ],
)
def test_nodes_as_people_write_them(text: str, node: NodeSpec) -> None:
    assert parse_node(text) == node


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "@a", "a@", "a:", ":22", "a:b", "a:22:", "[", "[]", "[a]", "[10.0.0.1]:22"),
        *("[::1]22", "[::1]:", "a..b", ".a", "a.", "-a", "a b", "a;b", "a'b", "ä", "a/b", "1.2.3"),
        *("01.2.3.4", "fd00::1:2222", "fd00::1:22", "fe80::1%-x", "fe80::1%a b", "a" * 64, "a:²"),
    ],
)
def test_texts_that_are_no_node(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_node(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("10.0.0.1:6443", "10.0.0.1:6443"),
        ("api-3", "api-3:6443"),
        ("API.Example.com:443", "api.example.com:443"),
        ("fd00::1", "[fd00::1]:6443"),
        ("[FD00:0:0::2]:6443", "[fd00::2]:6443"),
        ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
    ],
)
def test_endpoints_in_nginx_notation(text: str, shown: str) -> None:
    assert str(parse_endpoint(text, 6443)) == shown


IPV6 = st.integers(2**48, 2**128 - 1).map(ipaddress.IPv6Address)
"""All but the lowest, among which are those that stand for an IPv4 address."""

HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    IPV6.map(str),
    st.from_regex(r"[a-z_][a-z0-9_-]{0,20}(\.[a-z_][a-z0-9_-]{0,20}){0,3}", fullmatch=True),
)


@thorough
@given(HOSTS, st.integers(1, 65535))
def test_endpoints_survive_the_round_trip(host: str, port: int) -> None:
    endpoint = Endpoint(host, port)
    assert parse_endpoint(str(endpoint)) == endpoint


@thorough
@given(IPV6)
def test_every_notation_of_an_ipv6_address_is_the_same(ip: ipaddress.IPv6Address) -> None:
    notations = (ip.compressed, ip.exploded, ip.exploded.upper())
    assert {parse_endpoint(f"[{text}]:1").host for text in notations} == {str(ip)}
    assert ipaddress.ip_address(parse_node(f"[{ip.exploded}]").host) == ip


@thorough
@given(st.text(max_size=30) | spoilt("root@[fd00::5]:22") | spoilt("10.0.0.1:6443"))
def test_a_node_that_is_accepted_has_safe_parts(text: str) -> None:
    try:
        node = parse_node(text)
    except ValueError:
        return
    assert re.fullmatch(r"[\w.:%-]+", node.host, re.A)
    assert not node.host.startswith("-")
    assert node.user is None or re.fullmatch(r"\w[\w.@+-]*", node.user, re.A)
