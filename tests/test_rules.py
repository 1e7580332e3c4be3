import pytest

from tasks.core.config.address import Endpoint
from tasks.core.config.rules import PINS, batch
from tasks.core.config.settings import parse

from .hosts_data import FILE, SUM, problems, with_keys


@pytest.mark.parametrize(
    "prefix",
    [
        "opt/x",
        "/opt",
        "/opt/",
        "/opt/x/",
        "/opt//x",
        "/opt/../etc",
        "/opt/x/..",
        "/opt/./x",
        "/usr/local",
        "/usr/local/bin",
        "/usr/lib/systemd",
        "/etc/systemd",
        "/etc/kube-nginx",
        "/var/lib",
        "/var/lib/kubelet",
        "/home/me/x",
        "/root/x",
        "/tmp/x",
        "/run/x",
        "/opt/k8s",
        "/opt/k8s/work",
        "/opt/k8s/bin/kube-nginx",
        "/opt/bin/kube-nginx",
        "/opt/cni/bin",
        "/opt/cni/kube-nginx",
        "/opt/containerd",
        "/opt/containerd/kube-nginx",
        "/opt/kubernetes",
        "/opt/kubernetes/bin/kube-nginx",
        "/opt/rke2/kube-nginx",
        "/etc/kubernetes/kube-nginx",
        "/run/kube-nginx",
        "/usr/kube-nginx",
        "/usr/lib64/kube-nginx",
        "/usr/libexec/kubernetes/kube-nginx",
        "/usr/local/bin/kube-nginx",
        "/usr/local/lib/kube-nginx",
        "/var/lib/etcd/kube-nginx",
        "/var/lib/k0s/bin",
        "/var/lib/kubelet/plugins/kube-nginx",
        "/var/lib/rancher",
        "/var/lib/rancher/k3s/kube-nginx",
        "/var/log/kube-nginx",
        "/data/k8s",
        "/data/k8s/docker/kube-nginx",
        "/data/k8s/k8s/kubelet",
        "/opt/a b",
        "/opt/x;y",
        "/opt/$x",
        "/opt/%n",
        "/opt/x\n",
        "/opt/é",
        "",
    ],
)
def test_a_prefix_that_uninstall_must_not_remove(prefix: str) -> None:
    assert problems(with_keys(proxy__prefix=prefix))[0].startswith("hosts.toml: proxy.prefix: ")


@pytest.mark.parametrize(
    "prefix",
    [
        *("/opt/x", "/srv/a.b", "/usr/local/kube-nginx", "/var/lib/kube-nginx", "/opt/..x/y"),
        *("/opt/cni-x", "/opt/kubernetes/kube-nginx", "/opt/kube/kube-nginx", "/data/k8s/kube-nginx"),
        *("/usr/local/binx/y", "/var/lib/rancherx", "/mnt/disk/kube-nginx"),
    ],
)
def test_a_prefix_of_the_proxys_own(prefix: str) -> None:
    assert parse(with_keys(proxy__prefix=prefix), FILE).proxy.prefix == prefix


@pytest.mark.parametrize("text", ["500ms", "3s", "1m30s", "10m", "24d", "1w2d3h4m5s6ms"])
def test_durations_that_nginx_reads(text: str) -> None:
    assert parse(with_keys(proxy__connect_timeout=text), FILE).proxy.connect_timeout == text


@pytest.mark.parametrize(
    ("server", "listener", "loops"),
    [
        ("127.0.0.1:8443", "127.0.0.1:8443", True),
        ("localhost:8443", "127.0.0.1:8443", True),
        ("LOCALHOST:8443", "[::1]:8443", True),
        ("[::1]:8443", "127.0.0.1:8443", True),
        ("127.0.0.1:8443", "0.0.0.0:8443", True),
        ("127.1.2.3:8443", "0.0.0.0:8443", True),
        ("[::ffff:127.0.0.1]:8443", "127.0.0.1:8443", True),
        ("10.0.0.1:8443", "10.0.0.1:8443", True),
        ("127.0.0.1:6443", "127.0.0.1:8443", False),
        ("10.0.0.1:8443", "127.0.0.1:8443", False),
        ("10.0.0.1:8443", "0.0.0.0:8443", False),
    ],
)
def test_an_apiserver_that_is_the_listener(server: str, listener: str, loops: bool) -> None:
    data = with_keys(apiservers=[server], proxy__listen=[listener])
    if loops:
        assert "the proxy's own listener" in problems(data)[0]
    else:
        assert parse(data, FILE).apiservers


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("0.0.0.0", "stands for all addresses of the node itself"),
        ("[::]:6443", "stands for all addresses of the node itself"),
        ("[::ffff:0.0.0.0]:6443", "stands for all addresses of the node itself"),
        ("0.0.0.1", "is the address of no host"),
        ("224.0.0.1:6443", "is a multicast address"),
        ("239.255.255.255", "is a multicast address"),
        ("[ff02::1]:6443", "is a multicast address"),
        ("255.255.255.255", "is the broadcast address"),
        ("fe80::1", "is a link-local address: it needs a zone"),
        ("[fe80::1%eth0]:6443", "nginx knows no zone"),
    ],
)
def test_an_apiserver_that_can_never_answer(server: str, words: str) -> None:
    (line,) = problems(with_keys(apiservers=["10.0.0.1", server]))
    assert line.startswith(f"hosts.toml: apiservers[1]: {server!r} ")
    assert words in line


@pytest.mark.parametrize("server", ["169.254.1.1", "240.0.0.1", "fec0::1", "fd00::1", "10.0.0.255", "api-1"])
def test_an_apiserver_that_may_answer(server: str) -> None:
    assert parse(with_keys(apiservers=[server]), FILE).apiservers == (Endpoint(server, 6443),)


@pytest.mark.parametrize(
    ("listener", "words"),
    [
        ("0.0.0.1:8443", "is the address of no host"),
        ("224.0.0.1:8443", "is a multicast address"),
        ("[ff02::1]:8443", "is a multicast address"),
        ("255.255.255.255:8443", "is the broadcast address"),
        ("127.255.255.255:8443", "is the broadcast address of loopback"),
        ("[fe80::1]:8443", "is a link-local address: it needs a zone"),
    ],
)
def test_a_listener_that_can_never_be_reached(listener: str, words: str) -> None:
    (line,) = problems(with_keys(proxy__listen=["127.0.0.1:8443", listener]))
    assert line.startswith(f"hosts.toml: proxy.listen[1]: {listener!r} {words}")
    assert line.endswith("such as 127.0.0.1:8443")


@pytest.mark.parametrize(
    ("listen", "covered"),
    [
        (["0.0.0.0:8443", "127.0.0.1:8443"], "0.0.0.0:8443 is 127.0.0.1:8443, too"),
        (["10.0.0.9:8443", "0.0.0.0:8443"], "0.0.0.0:8443 is 10.0.0.9:8443, too"),
        (["[::]:8443", "[::1]:8443"], "[::]:8443 is [::1]:8443, too"),
        (["[::]:8443", "127.0.0.1:9443", "[fd00::1]:8443"], "[::]:8443 is [fd00::1]:8443, too"),
    ],
)
def test_a_listener_that_another_covers(listen: list[str], covered: str) -> None:
    (line,) = problems(with_keys(proxy__listen=listen))
    assert line.startswith(f"hosts.toml: proxy.listen: {covered}: ")
    assert "; write one of them: " in line


@pytest.mark.parametrize(
    "listen",
    [
        ["0.0.0.0:8443", "[::]:8443"],  # nginx opens the second with ipv6only=on
        ["0.0.0.0:8443", "[::1]:8443"],
        ["[::]:8443", "127.0.0.1:8443"],
        ["0.0.0.0:8443", "127.0.0.1:8444"],
        ["127.0.0.1:8443", "127.0.0.2:8443"],
    ],
)
def test_listeners_beside_each_other(listen: list[str]) -> None:
    assert [str(one) for one in parse(with_keys(proxy__listen=listen), FILE).proxy.listen] == listen


@pytest.mark.parametrize("listener", ["0.0.0.0:6443", "[::]:6443"])
@pytest.mark.parametrize(
    ("node", "server"),
    [
        ("10.0.0.1", "10.0.0.1:6443"),
        ({"host": "10.0.0.1", "name": "Api-1"}, "api-1:6443"),
        ("root@api-1:2222", "api-1:6443"),
    ],
)
def test_a_wildcard_on_the_port_of_a_nodes_own_apiserver(listener: str, node: object, server: str) -> None:
    data = with_keys(nodes=["w", node], apiservers=["10.0.0.7", server], proxy__listen=[listener])
    (line,) = problems(data)
    assert line.startswith(f"hosts.toml: proxy.listen: {listener} is all addresses of a node with port 6443")
    assert f"the apiserver {server} has that port; choose another one" in line


def test_a_node_that_is_an_apiserver_listens_elsewhere() -> None:
    for listener in ("127.0.0.1:6443", "0.0.0.0:8443"):
        assert parse(with_keys(nodes=["10.0.0.1"], proxy__listen=[listener]), FILE)
    assert parse(with_keys(nodes=["10.0.0.9"], proxy__listen=["0.0.0.0:6443"]), FILE)


@pytest.mark.parametrize(
    ("version", "proxy", "keys"),
    [
        ("1.11.5", {}, ["proxy.balance", "proxy.worker_shutdown_timeout"]),
        ("1.11.11", {}, ["proxy.balance"]),
        ("1.15.1", {}, []),
        ("1.11.5", {"balance": "least_conn", "worker_shutdown_timeout": ""}, []),
        ("1.15.0", {"balance": "random two"}, ["proxy.balance"]),
    ],
)
def test_what_the_chosen_version_does_not_know(version: str, proxy: dict[str, str], keys: list[str]) -> None:
    data = with_keys(build={"version": version, "sha256": SUM}, proxy=proxy)
    if keys:
        assert [line.split(": ")[1] for line in problems(data)] == keys
    else:
        assert parse(data, FILE).build.sha256 == SUM


def test_a_sum_may_repeat_the_pin_in_capitals() -> None:
    pin = PINS["1.26.3"]
    data = with_keys(build__version="1.26.3", build__sha256=pin.upper())
    assert parse(data, FILE).build.sha256 == pin


def test_root_may_listen_below_1024() -> None:
    data = with_keys(proxy__listen=["127.0.0.1:443"], proxy__user="")
    assert parse(data, FILE).proxy.listen == (Endpoint("127.0.0.1", 443),)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1), (1000, 1000), ("5", 5), ("1000", 1000), ("1%", "1%"), ("25%", "25%"), ("100%", "100%")],
)
def test_sizes_of_a_batch(value: object, expected: int | str) -> None:
    assert batch(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(True, False, 0, -1, 1001, 2**70, 2.0, 0.25, None, [], {}),
        *("", "0", "-1", "05", "1001", "1.5", " 5", "5\n", "1_0", "\u0665", "a third"),
        *("0%", "101%", "1000%", "05%", "2.5%", "-1%", "25 %", "25%\n", "25%%", "%", "\u0665%"),
    ],
)
def test_what_is_no_size_of_a_batch(value: object) -> None:
    with pytest.raises(ValueError, match='from 1 to 1000, or a percentage from "1%" to "100%"'):
        batch(value)
