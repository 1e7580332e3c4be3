"""Who uses the service: what the node's script finds, and what that means."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.answer import read_answer
from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.model import Proxy, Settings
from tasks.core.facts.facts import Facts
from tasks.core.folding.alike import alike
from tasks.core.results import State
from tasks.core.scripts.survey import SurveyAndUsers
from tasks.core.shell.command import CommandResult, with_defaults
from tasks.core.users.found import Kubeconfig, KubeProcess, Users
from tasks.core.users.judged import UsersCheck, sentences, users_check

from .scripts import functions
from .test_sessions import ESTABLISHED, LISTEN, LISTENER, Proc, here

A, B = Endpoint("10.0.0.1", 6443), Endpoint("10.0.0.2", 6443)
HOST, POD = "netns-of-the-node", "netns-of-a-pod"
CONFIG = """apiVersion: v1
clusters:
- cluster:
    # server: https://10.9.9.9:6443
    certificate-authority-data: c2VydmVyOiBodHRwczovLzEwLjguOC44Cg==
    tls-server-name: kubernetes
    server: {server}
  name: kubernetes
users:
- name: node
  user: {{client-key-data: S0VZ}}
"""


class Node(Proc):
    """A /proc with clients of the service, and the files that they name."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        (root / "sys/kernel").mkdir(parents=True)
        (root / "sys/kernel/hostname").write_text("worker-1\n")
        for name in (HOST, POD):
            (root / name).touch()
        self.runs(10, "kube-nginx")
        self.socket(10, LISTENER, Endpoint("0.0.0.0", 0), LISTEN)
        (root / "self").symlink_to("10")

    def runs(
        self, pid: int, name: str, *words: str, uid: int = 0, netns: str = HOST, root: str = "/"
    ) -> None:
        """A process; `root` is its root directory."""
        self.process(pid, "/system.slice/x.service")
        folder = self.root / f"{pid}"
        (folder / "comm").write_text(f"{name}\n")
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in (f"/bin/{name}", *words)))
        (folder / "status").write_text(f"Name:\tx\nUid:\t1\t{uid}\t0\t0\n")
        (folder / "ns").mkdir(exist_ok=True)
        (folder / "ns/net").symlink_to(self.root / netns)
        (folder / "root").symlink_to(root)
        (folder / "cwd").symlink_to(self.root)

    def session(
        self, pid: int, peer: Endpoint, local: Endpoint | None = None, state: str = ESTABLISHED
    ) -> None:
        """A client's, and the other half where that is the service's."""
        local = local or Endpoint("127.0.0.1" if peer == LISTENER else "10.0.0.9", 40000 + self.inode)
        self.socket(pid, local, peer, state)
        if peer.port == LISTENER.port:
            self.socket(10, Endpoint(peer.host.removeprefix("::ffff:"), peer.port), local)

    def file(self, name: str, text: str | None = None, server: str = "https://10.0.0.2:6443") -> str:
        """A file on the node; its path. Its text is a kubeconfig's, if no other is given."""
        path = self.root / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(CONFIG.format(server=server) if text is None else text)
        return str(path)

    def unit(self, name: str, *shown: str) -> None:
        """A unit, and what systemd shows of it."""
        (self.root / "units").mkdir(exist_ok=True)
        (self.root / "units" / f"{name}.service").touch()
        (self.root / "shown").write_text("\n".join(shown))
        of_it = f"*{name}.service) cat {self.root}/shown ;;"
        (self.root / "systemctl").write_text(
            f"#!/bin/sh\ncase $* in {of_it} *) cat {self.root}/group ;; esac\n"
        )

    def answer(self, *listen: Endpoint) -> str:
        """What the script says."""
        for table, lines in self.tables.items():
            (self.root / "net" / table).write_text("head\n" + "".join(lines))
        given = SurveyAndUsers(
            Proxy(listen=tuple(listen or (LISTENER,))), (A, Endpoint("api-1", 6443))
        ).derived()
        text = functions("/p", "users", **{"unit_path": "", **given})
        text = text.replace("/proc/", f"{self.root}/").replace("/etc/systemd/system", f"{self.root}/units")
        path = f"{self.root}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", with_defaults(text)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout

    def users(self, *listen: Endpoint) -> Users:
        """The same, read."""
        return read_answer(Users, CommandResult(0, self.answer(*listen)).values)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path / "proc")


class TestScript:
    """What a node says."""

    def test_nobody(self, node: Node) -> None:
        assert node.users() == Users("worker-1")

    def test_sessions_by_process(self, node: Node) -> None:
        node.runs(20, "kubelet")
        node.runs(21, "kube-proxy")
        node.runs(22, "kubectl", uid=1000)
        node.runs(23, "kubectl", uid=1000)
        for pid in (20, 20, 21, 22, 23, 23):
            node.session(pid, LISTENER)
        node.session(22, A)
        users = node.users()
        assert users.kube == (KubeProcess("kubelet", 20, 2), KubeProcess("kube-proxy", 21, 1))
        assert (users.others, users.sessions) == ({"kubectl": 3}, 6)

    def test_a_socket_of_ipv6_is_the_same(self, node: Node) -> None:
        node.runs(20, "java")
        node.session(20, Endpoint("::ffff:127.0.0.1", 8443), Endpoint("::ffff:127.0.0.1", 40000))
        assert node.users().others == {"java": 1}

    def test_somebody_elses_port_of_that_number_is_another(self, node: Node) -> None:
        node.runs(20, "kubelet")
        node.socket(20, here(40000), Endpoint("10.0.0.7", 8443))
        assert node.users() == Users(
            "worker-1", 0, (KubeProcess("kubelet", 20, straight={Endpoint("10.0.0.7", 8443): 1}),)
        )

    @pytest.mark.parametrize(
        ("listen", "sessions", "straight"), [("127.0.0.1", 1, {here(6443): 1}), ("0.0.0.0", 2, {})]
    )
    def test_an_apiserver_of_the_node_may_have_the_port_on_another_address(
        self, node: Node, listen: str, sessions: int, straight: dict[Endpoint, int]
    ) -> None:
        node.runs(20, "kubelet")
        node.runs(30, "kube-apiserver")
        for pid, at, client in ((10, "127.0.0.1", "127.0.0.1"), (30, "10.0.0.9", "10.0.0.8")):
            node.socket(20, Endpoint(client, 40000), Endpoint(at, 6443))
            node.socket(pid, Endpoint(at, 6443), Endpoint(client, 40000))
        (kubelet,) = node.users(Endpoint(listen, 6443)).kube
        assert (kubelet.sessions, kubelet.straight) == (sessions, straight)

    def test_who_holds_a_session_may_not_be_seen(self, node: Node) -> None:
        node.runs(20, "kubelet")
        node.session(20, LISTENER)
        node.process(999, "/")
        node.session(999, LISTENER)
        for file in (node.root / "999" / "fd").iterdir():
            file.unlink()
        assert (node.users().sessions, node.users().others) == (2, {})

    def test_those_straight_to_apiservers(self, node: Node) -> None:
        node.runs(20, "kubelet")
        for peer in (A, A, B, Endpoint("10.0.0.5", 443)):
            node.session(20, peer)
        node.session(20, A, here(50000), state="06")
        (kubelet,) = node.users().kube
        assert kubelet.straight == {A: 2, B: 1}

    def test_a_probe_of_the_nodes_own_apiserver_is_none(self, node: Node) -> None:
        node.runs(20, "kubelet")
        node.session(20, A, Endpoint(A.host, 50000))
        assert node.users().kube == (KubeProcess("kubelet", 20),)

    @pytest.mark.parametrize(("uid", "netns"), [(1000, HOST), (0, POD)])
    def test_who_only_calls_itself_so_is_another(self, node: Node, uid: int, netns: str) -> None:
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k')}", uid=uid, netns=netns)
        node.session(20, LISTENER)
        assert node.users() == Users("worker-1", 1, (), {"kubelet": 1})

    @pytest.mark.parametrize("name", ["$(touch x)`id`", "a=b\x1b[2J\n", "-n", "", " kn.x=1 "])
    def test_names_are_data(self, node: Node, name: str) -> None:
        node.runs(20, name)
        node.session(20, LISTENER)
        node.runs(21, "kubelet")
        (told,) = node.users().others
        assert told.isprintable()
        assert {line.partition(".")[0] for line in node.answer().splitlines()} == {"kn"}


class TestKubeconfig:
    """Which kubeconfig, and what of it is told."""

    @pytest.mark.parametrize(
        "words",
        ["--kubeconfig={}", "--kubeconfig {}", "--bootstrap-kubeconfig=/no --v=2 --kubeconfig={} --x"],
    )
    def test_of_the_command_line(self, node: Node, words: str) -> None:
        path = node.file("kubelet.kubeconfig")
        node.runs(20, "kubelet", *words.format(path).split())
        (kubelet,) = node.users().kube
        assert kubelet.kubeconfig == Kubeconfig(path, {7: "https://10.0.0.2:6443"})
        assert "S0VZ" not in node.answer()

    def test_a_relative_one(self, node: Node) -> None:
        node.file("relative")
        node.runs(20, "kubelet", "--kubeconfig=files/relative")
        (kubelet,) = node.users().kube
        assert kubelet.kubeconfig == Kubeconfig("files/relative", {7: "https://10.0.0.2:6443"})

    def test_in_a_container(self, node: Node) -> None:
        root = node.root / "container"
        (root / "var").mkdir(parents=True)
        (root / "var/config.conf").write_text('clientConnection:\n  kubeconfig: "/var/kube.conf"\n  qps: 0\n')
        (root / "var/kube.conf").write_text(CONFIG.format(server="https://127.0.0.1:8443"))
        node.runs(20, "kube-proxy", "--config=/var/config.conf", root=str(root))
        (proxy,) = node.users().kube
        assert proxy.contained
        assert proxy.kubeconfig == Kubeconfig("/var/kube.conf", {7: "https://127.0.0.1:8443"})

    @pytest.mark.parametrize(
        ("shown", "name"),
        [
            (
                "ExecStart={{ path=/bin/kubelet ; argv[]=/bin/kubelet --v=2 --kubeconfig {} --x ; pid=0 }}",
                "kubelet",
            ),
            ('Environment="A=--bootstrap-kubeconfig=/no --kubeconfig={}" B=c', "kubelet"),
            ("Environment=A=--kubeconfig={}", "kube-proxy"),
        ],
    )
    def test_of_a_unit_that_does_not_run(self, node: Node, shown: str, name: str) -> None:
        path = node.file("x.kubeconfig")
        node.unit(name, shown.format(path))
        assert node.users().kube == (
            KubeProcess(name, kubeconfig=Kubeconfig(path, {7: "https://10.0.0.2:6443"})),
        )

    @pytest.mark.parametrize(
        ("text", "servers"),
        [
            ('{"clusters":[{"cluster":{"server":"https://[fd00::1]:6443"}}]}', {1: "https://[fd00::1]:6443"}),
            ("- cluster: {server: 'https://a:1', x: y}\n", {1: "https://a:1"}),
            ("a:\n  server: https://a:1 # ours\n  server: b:2\n", {2: "https://a:1", 3: "b:2"}),
            ("server:\n", {}),
            ("  my-server: https://a:1\nservers: x\n", {}),
            ("", {}),
            ("server: " + "x" * 5000, {1: "x" * 300}),
            ("server: x\n" * 1000, dict.fromkeys(range(1, 6), "x")),
        ],
    )
    def test_its_servers(self, node: Node, text: str, servers: dict[int, str]) -> None:
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k', text)}")
        (kubelet,) = node.users().kube
        assert kubelet.kubeconfig is not None
        assert kubelet.kubeconfig.servers == servers

    def test_a_password_in_it_does_not_leave_the_node(self, node: Node) -> None:
        text = "server: https://admin:S0VZ@10.0.0.2:6443/a@b\n"
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k', text)}")
        assert "S0VZ" not in node.answer()
        (kubelet,) = node.users().kube
        assert kubelet.kubeconfig is not None
        assert kubelet.kubeconfig.servers == {1: "https://10.0.0.2:6443/a@b"}

    def test_what_is_no_regular_file_is_not_read(self, node: Node, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        for pid, path in enumerate((tmp_path / "fifo", "/dev/zero", tmp_path, tmp_path / "none"), 20):
            node.runs(pid, "kubelet", f"--kubeconfig={path}")
        assert [process.kubeconfig for process in node.users().kube] == [
            Kubeconfig(str(path)) for path in (tmp_path / "fifo", "/dev/zero", tmp_path, tmp_path / "none")
        ]

    def test_no_more_than_a_part_of_a_large_one(self, node: Node) -> None:
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k', ('#' * 99 + chr(10)) * 30000 + 'server: x')}")
        (kubelet,) = node.users().kube
        assert kubelet.kubeconfig is not None
        assert kubelet.kubeconfig.servers == {}

    @pytest.mark.parametrize("value", ["$(touch$IFS)", "`id`", "x\x1b[2J", "-n", "\\n\\0", "*", "%s%n"])
    def test_what_is_in_it_is_data(self, node: Node, value: str) -> None:
        path = node.file("k", f"server: {value}\n") + value
        Path(path).write_text(f"server: {value}\n")
        node.runs(20, "kubelet", f"--kubeconfig={path}")
        node.runs(21, "kubelet", f"--kubeconfig={path}\nkn.uid=7")
        first, second = node.users().kube
        assert first.kubeconfig is not None
        assert first.kubeconfig.servers == {1: value}
        assert second.kubeconfig is not None
        assert "kn.uid=7" not in node.answer().splitlines()

    def test_a_name_is_resolved_there(self, node: Node) -> None:
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k', server='https://localhost:8443')}")
        facts = read_answer(Facts, CommandResult(0, node.answer()).values)
        assert "127.0.0.1" in facts.addresses["localhost"]

    @pytest.mark.parametrize(
        ("server", "asked"),
        [
            ("https://api.lab2:6443", "api.lab2"),
            ("https://lb-1:6443", "lb-1"),
            ("https://10.0.0.2:6443", ""),
            ("https://[fd00::1]:6443", ""),
            ("https://--help:6443", ""),
        ],
    )
    def test_which_names_are_resolved(self, node: Node, server: str, asked: str) -> None:
        (node.root / "getent").write_text('#!/bin/sh\necho "10.0.0.7 STREAM $*"\n')
        (node.root / "getent").chmod(0o755)
        node.runs(20, "kubelet", f"--kubeconfig={node.file('k', server=server)}")
        facts = read_answer(Facts, CommandResult(0, node.answer()).values)
        assert facts.addresses == ({asked: ("10.0.0.7",)} if asked else {})


def settings(*listen: Endpoint) -> Settings:
    proxy = Proxy(listen=listen or (LISTENER,))
    return Settings(None, "recommended", (NodeSpec("n1", "n1"),), (A, Endpoint("api-2", 6443)), proxy=proxy)


ADDRESSES = {"api-2": ("10.0.0.2",), "local": ("127.0.0.1",), "lb": ("10.0.0.77",)}
KUBELET = KubeProcess("kubelet", 20, 2, kubeconfig=Kubeconfig("/etc/k", {5: "https://127.0.0.1:8443"}))


def judged(
    *kube: KubeProcess, others: dict[str, int] | None = None, listen: Sequence[Endpoint] = ()
) -> UsersCheck:
    sessions = sum(process.sessions for process in kube) + sum((others or {}).values())
    return users_check(Users("n1", sessions, kube, others or {}), settings(*listen), ADDRESSES)


def told(check: UsersCheck) -> list[tuple[State, str]]:
    return [*sentences(check)]


def says(server: str, **changes: object) -> KubeProcess:
    return replace(KUBELET, kubeconfig=Kubeconfig("/etc/k", {5: server}), **changes)  # type: ignore[arg-type]


class TestMeaning:
    """What is told of it."""

    def test_all_is_well(self) -> None:
        check = judged(KUBELET, replace(KUBELET, name="kube-proxy", pid=21))
        assert (told(check), check.word, check.state) == ([], "kubelet +1", State.OK)

    def test_nobody_runs(self) -> None:
        check = judged()
        assert (told(check), check.word, check.state) == ([], "no kubelet", State.OK)
        assert judged(others={"kubectl": 3}).word == "no kubelet +1"

    def test_others_are_named(self) -> None:
        check = judged(KUBELET, others={f"p{n}": 9 - n for n in range(7)})
        who = "p0 (9 sessions), p1 (8 sessions), p2 (7 sessions), p3 (6 sessions), p4 (5 sessions)"
        assert told(check) == [(State.OK, f"also {who} and 2 more")]
        assert check.word == "kubelet +7"

    def test_what_many_nodes_have_is_told_once(self) -> None:
        """However many sessions each has, and with which of two apiservers."""
        said = []
        for n in range(500):
            past = replace(
                KUBELET, kubeconfig=None, straight={A: 2 + n % 9, Endpoint("10.0.0.2", 6443): 2 + n % 7}
            )
            check = judged(past, others={"flanneld": 2 + n % 5, "agent": 2 + n % 3})
            said += [(f"n{n}", "", [text]) for _, text in told(check)]
        assert [(text, len(nodes)) for (text,), nodes in alike(said)] == [
            (
                "kubelet has 2 to 10 sessions with 10.0.0.1:6443 and 2 to 8 sessions with api-2:6443 "
                "directly; which kubeconfig kubelet uses is not known",
                500,
            ),
            ("also agent (2 to 4 sessions), flanneld (2 to 6 sessions)", 500),
        ]

    def test_nobody_has_a_session(self) -> None:
        check = judged(replace(KUBELET, sessions=0))
        assert told(check) == [(State.OK, "kubelet runs, and has no session with kube-nginx")]
        assert check.word == "none"

    def test_a_kubeconfig_that_names_an_apiserver(self) -> None:
        check = judged(says("https://10.0.0.2:6443", sessions=0, straight={B: 1}))
        assert told(check) == [
            (
                State.WARNING,
                "kubelet goes to 10.0.0.2:6443 directly: its kubeconfig /etc/k says https://10.0.0.2:6443; "
                "line 5 there should be server: https://127.0.0.1:8443, then: systemctl restart kubelet",
            )
        ]
        (kubelet,) = check.kube
        assert (check.word, kubelet.past) == ("past", True)
        assert kubelet.straight == {Endpoint("api-2", 6443): 1}

    def test_one_in_a_container_is_changed_elsewhere(self) -> None:
        ((_, text),) = told(judged(says("https://lb", sessions=0, contained=True)))
        assert text.endswith(
            "line 5 there should be server: https://127.0.0.1:8443; it is in a container: "
            "change what that gets it from, such as ConfigMap kube-proxy of kube-system"
        )

    def test_one_that_was_changed_and_not_read_yet(self) -> None:
        ((_, text),) = told(judged(says("https://10.0.0.2:6443")))
        assert text.startswith(
            "kubelet will go to 10.0.0.2:6443 directly once it is restarted: its kubeconfig"
        )
        ((state, text),) = told(judged(replace(KUBELET, straight={B: 2})))
        assert (state, text) == (
            State.WARNING,
            "kubelet has 2 sessions with api-2:6443 directly; its kubeconfig /etc/k says "
            "https://127.0.0.1:8443: systemctl restart kubelet if that was changed lately",
        )

    def test_one_of_what_does_not_run_is_no_warning(self) -> None:
        check = judged(says("https://lb", pid=0, sessions=0))
        assert told(check) == [
            (
                State.OK,
                "kubelet does not run, and would go to lb:443 directly: its kubeconfig /etc/k says "
                "https://lb; line 5 there should be server: https://127.0.0.1:8443",
            )
        ]
        assert check.word == "no kubelet"

    def test_straight_without_a_kubeconfig(self) -> None:
        check = judged(replace(KUBELET, kubeconfig=None, straight={A: 1}))
        assert told(check) == [
            (
                State.WARNING,
                "kubelet has 1 session with 10.0.0.1:6443 directly; "
                "which kubeconfig kubelet uses is not known",
            )
        ]

    def test_other_peers_on_that_port_are_nothing(self) -> None:
        assert told(judged(replace(KUBELET, straight={Endpoint("10.7.7.7", 6443): 1}))) == []

    @pytest.mark.parametrize(
        ("server", "listen", "past"),
        [
            ("https://127.0.0.1:8443", [LISTENER], False),
            ("127.0.0.1:8443/", [LISTENER], False),
            ("https://local:8443", [LISTENER], False),
            ("https://LOCAL:8443/path", [LISTENER], False),
            ("https://[::1]:8443", [LISTENER, Endpoint("::1", 8443)], False),
            ("https://[::1]:8443", [LISTENER], True),
            ("https://127.0.0.1:6443", [LISTENER], True),
            ("https://127.0.0.1", [LISTENER], True),
            ("https://127.0.0.1", [Endpoint("127.0.0.1", 443)], False),
            ("127.0.0.1", [Endpoint("127.0.0.1", 80)], False),
            ("https://10.0.0.9:8443", [Endpoint("0.0.0.0", 8443)], False),
            ("https://10.0.0.1:6443", [Endpoint("0.0.0.0", 6443)], True),
            ("https://lb:6443", [LISTENER], True),
            ("https://unknown:6443", [LISTENER], False),
            ("https://x:y:z", [LISTENER], False),
            ("\x1b[2J", [LISTENER], False),
            ("https://127.0.0.1:99999", [LISTENER], False),
        ],
    )
    def test_where_a_server_leads(self, server: str, listen: list[Endpoint], past: bool) -> None:
        check = judged(says(server), listen=listen)
        assert bool(check.warnings) is past
        assert all(text.isprintable() for _, text in told(check))

    def test_of_several_servers_one_is_enough(self) -> None:
        servers = {5: "https://10.0.0.2:6443", 9: "https://127.0.0.1:8443"}
        both = replace(KUBELET, kubeconfig=Kubeconfig("/etc/k", servers))
        assert told(judged(both)) == []

    def test_what_the_certificate_has_to_hold_for(self) -> None:
        check = judged(says("https://local:8443"), says("https://127.0.0.1:8443"), says("https://lb:8443"))
        assert check.names == {LISTENER: ("local", "127.0.0.1")}
        assert judged().names == {}
