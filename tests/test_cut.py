"""The node's side of a drill, with firewall tools and systemd that note what they are asked."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from time import monotonic

import pytest

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.model import Settings
from tasks.core.errors import UsageError
from tasks.core.scripts.drill import Drill, DrillAction
from tasks.core.traffic.target import is_for_tests, named

BOTH = "iptables ip6tables"
SERVERS = (Endpoint("10.0.0.1", 6443), Endpoint("fd00::1", 6443))
FLOWS = "4 10.0.0.1 6443\n6 fd00::1 6443"
NFT = """
case "$1" in
  list) [ ! -e {root}/unlisted ] || {{ echo 'Resource temporarily unavailable' >&2; exit 1; }}
      [ ! -e {root}/table ] || echo 'table inet kube-nginx-drill' ;;
  -f) text=$(cat)
      case $text in *trial*) exit 0 ;; esac
      [ ! -e {root}/slow ] || sleep 30
      [ ! -e {root}/refuse ] || {{ echo 'No such file or directory' >&2; exit 1; }}
      printf '%s\\n' "$text" > {root}/table; echo 'nft rules' >> {root}/did ;;
  delete) [ ! -e {root}/stuck ] || {{ echo 'Device or resource busy' >&2; exit 1; }}
      echo 'nft delete' >> {root}/did; rm {root}/table ;;
esac
"""
IPTABLES = """
echo "{name} $*" >> {root}/did
[ ! -e {root}/slow ] || case "$2" in -N) sleep 30 ;; esac
case "$2" in
  -S) cat {root}/rules.{name} 2>/dev/null; exit 0 ;;
  -D | -F) exit 0 ;;
  -X) rm -f {root}/rules.{name} ;;
  *) echo "$*" >> {root}/rules.{name} ;;
esac
"""
SYSTEMD_RUN = """
[ ! -e {root}/no-timer ] || {{ echo 'Unknown assignment' >&2; exit 1; }}
echo "timer $2" >> {root}/did; touch {root}/timer
"""
SYSTEMCTL = """
case "$1" in
  is-active) [ -e {root}/timer ] ;;
  stop) [ ! -e {root}/timer ] || {{ echo 'no timer' >> {root}/did; rm {root}/timer; }} ;;
esac
"""


@dataclass(frozen=True)
class Place:
    """A node's tools, and what was done with them."""

    root: Path

    def tool(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.write_text("#!/bin/sh\n" + text.format(root=self.root, name=name))
        path.chmod(0o755)

    def words(self, action: str, flows: str = FLOWS, tools: str = "", hang: int = 0) -> list[str]:
        """What runs an action of the script, with less patience; `tools` as `look` would say them."""
        given = "" if action == "look" else " ".join(f"{self.root}/bin/{tool}" for tool in tools.split())
        drill = Drill(DrillAction(action), SERVERS, given, 25, str(self.root), hang)
        script = drill.text().replace(FLOWS, flows)
        for long, short in (("timeout -k 1 4 ", "timeout -k 1 2 "), ("take 15 9 ", "take 5 9 ")):
            assert long in script
            script = script.replace(long, short)
        return ["/bin/sh", "-c", f"set -u; PATH={self.root}/bin\n{script}"]

    def run(
        self, action: str, flows: str = FLOWS, tools: str = "nft", hang: int = 0
    ) -> subprocess.CompletedProcess[str]:
        words = self.words(action, flows, tools, hang)
        return subprocess.run(words, capture_output=True, text=True, check=False)

    def kinds(self) -> set[str]:
        """The names of the tools that were called."""
        return {line.split()[0] for line in self.did()}

    def has(self, name: str) -> bool:
        return (self.root / name).exists()

    def did(self) -> list[str]:
        path = self.root / "did"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text.splitlines()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A node with nft; of this machine's own tools only harmless ones are to be found."""
    place = Place(tmp_path)
    (tmp_path / "bin").mkdir()
    for name in (
        "sh",
        "cat",
        "rm",
        "touch",
        "cut",
        "sort",
        "grep",
        "flock",
        "timeout",
        "sleep",
        "find",
        "stat",
    ):
        found = next(folder for folder in ("/usr/bin", "/bin") if os.path.exists(f"{folder}/{name}"))
        (tmp_path / "bin" / name).symlink_to(f"{found}/{name}")
    place.tool("nft", NFT)
    place.tool("systemd-run", SYSTEMD_RUN)
    place.tool("systemctl", SYSTEMCTL)
    return place


@pytest.fixture
def older(place: Place) -> Place:
    """A node with iptables alone."""
    (place.root / "bin" / "nft").unlink()
    place.tool("iptables", IPTABLES)
    place.tool("ip6tables", IPTABLES)
    return place


def test_the_timer_is_armed_before_the_rules_are_set(place: Place) -> None:
    done = place.run("cut")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("kn.cut=1\n")
    assert place.did() == ["timer --on-active=25", "nft rules"]
    healed = place.run("heal")
    assert (healed.returncode, healed.stderr) == (0, "")
    assert "kn.healed=1" in healed.stdout.split()
    assert place.did() == ["nft delete", "no timer"]


def test_replies_come_in_and_requests_go_out(place: Place) -> None:
    """Others' packets to an apiserver that is on the node itself go the other way round."""
    place.run("cut")
    rules = (place.root / "table").read_text()
    assert [line for line in rules.splitlines() if "drop" in line] == [
        "add rule inet kube-nginx-drill input ip saddr 10.0.0.1 tcp sport 6443 drop",
        "add rule inet kube-nginx-drill output ip daddr 10.0.0.1 tcp dport 6443 drop",
        "add rule inet kube-nginx-drill input ip6 saddr fd00::1 tcp sport 6443 drop",
        "add rule inet kube-nginx-drill output ip6 daddr fd00::1 tcp dport 6443 drop",
    ]


def test_of_one_that_hangs_acknowledgements_alone_come_in(place: Place) -> None:
    assert place.run("cut", hang=1).returncode == 0
    rules = (place.root / "table").read_text()
    assert [line for line in rules.splitlines() if "drop" in line] == [
        "add rule inet kube-nginx-drill input ip saddr 10.0.0.1 tcp sport 6443"
        " tcp flags & (fin | rst | psh) != 0x0 drop",
        "add rule inet kube-nginx-drill input ip saddr 10.0.0.1 tcp sport 6443 meta length > 100 drop",
        "add rule inet kube-nginx-drill input ip6 saddr fd00::1 tcp sport 6443"
        " tcp flags & (fin | rst | psh) != 0x0 drop",
        "add rule inet kube-nginx-drill input ip6 saddr fd00::1 tcp sport 6443 meta length > 100 drop",
    ]
    assert place.run("heal").returncode == 0
    assert not place.has("table")


def test_without_a_timer_nothing_is_cut(place: Place) -> None:
    (place.root / "no-timer").touch()
    done = place.run("cut")
    assert done.returncode == 72
    assert done.stderr == "Unknown assignment\nthe timer that would heal the node could not be armed\n"
    assert "kn.cut" not in done.stdout
    assert place.did() == []


def test_rules_that_are_refused_leave_no_timer(place: Place) -> None:
    (place.root / "refuse").touch()
    done = place.run("cut")
    assert done.returncode == 73
    assert "No such file or directory" in done.stderr
    assert not place.has("timer")
    assert not place.has("table")


def test_rules_that_stay_keep_their_timer(place: Place) -> None:
    place.run("cut")
    (place.root / "stuck").touch()
    done = place.run("heal")
    assert done.returncode == 71
    assert done.stderr == "Device or resource busy\nthe rules are still there\n"
    assert place.has("timer")


def test_a_leftover_is_removed_and_told(place: Place) -> None:
    assert "kn.healed=1" not in place.run("look").stdout
    place.run("cut")
    place.did()
    done = place.run("look")
    assert {"kn.healed=1", f"kn.tools={place.root}/bin/nft"} <= set(done.stdout.split())
    assert not place.has("table")
    assert place.did() == ["nft delete", "no timer"]


def test_when_the_timer_was_first_it_is_said(place: Place) -> None:
    place.run("cut")
    (place.root / "table").unlink()
    done = place.run("heal")
    assert done.returncode == 0
    assert "kn.healed" not in done.stdout
    assert not place.has("timer")


def test_iptables_where_there_is_no_nft(older: Place) -> None:
    tools = f"{older.root}/bin/iptables {older.root}/bin/ip6tables"
    assert older.run("look").stdout.endswith(f"kn.tools={tools}\n")
    older.did()
    done = older.run("cut", tools=BOTH)
    assert (done.returncode, done.stderr) == (0, "")
    did = [line for line in older.did() if " -S" not in line]
    assert did[0] == "timer --on-active=25"
    assert did[5:] == [
        "iptables -w -A KUBE-NGINX-DRILL-IN -p tcp -s 10.0.0.1 --sport 6443 -j DROP",
        "iptables -w -A KUBE-NGINX-DRILL-OUT -p tcp -d 10.0.0.1 --dport 6443 -j DROP",
        "ip6tables -w -A KUBE-NGINX-DRILL-IN -p tcp -s fd00::1 --sport 6443 -j DROP",
        "ip6tables -w -A KUBE-NGINX-DRILL-OUT -p tcp -d fd00::1 --dport 6443 -j DROP",
        "iptables -w -I INPUT 1 -j KUBE-NGINX-DRILL-IN",
        "iptables -w -I OUTPUT 1 -j KUBE-NGINX-DRILL-OUT",
        "ip6tables -w -I INPUT 1 -j KUBE-NGINX-DRILL-IN",
        "ip6tables -w -I OUTPUT 1 -j KUBE-NGINX-DRILL-OUT",
    ]
    assert older.run("heal", tools=BOTH).returncode == 0
    undone = older.did()
    for tool in ("iptables", "ip6tables"):
        assert f"{tool} -w -D OUTPUT -j KUBE-NGINX-DRILL-OUT" in undone
        assert f"{tool} -w -X KUBE-NGINX-DRILL-IN" in undone
    assert undone[-1] == "no timer"


def test_iptables_of_one_that_hangs(older: Place) -> None:
    assert older.run("cut", "4 10.0.0.1 6443", "iptables", hang=1).returncode == 0
    chain = "iptables -w -A KUBE-NGINX-DRILL-IN -p tcp -s 10.0.0.1 --sport 6443"
    assert [line for line in older.did() if "-j DROP" in line] == [
        f"{chain} --tcp-flags FIN FIN -j DROP",
        f"{chain} --tcp-flags RST RST -j DROP",
        f"{chain} --tcp-flags PSH PSH -j DROP",
        f"{chain} -m length --length 101:65535 -j DROP",
    ]


def test_without_ip6tables_only_ipv4_can_be_cut(older: Place) -> None:
    (older.root / "bin" / "ip6tables").unlink()
    assert older.run("look").returncode == 70
    assert older.run("look", "4 10.0.0.1 6443").returncode == 0


def test_an_nft_that_the_kernel_refuses_gives_way(older: Place) -> None:
    older.tool("nft", "exit 1")
    assert older.run("look").stdout.endswith("/bin/iptables " + f"{older.root}/bin/ip6tables\n")


def test_no_tool_at_all(older: Place) -> None:
    for name in ("iptables", "ip6tables"):
        (older.root / "bin" / name).unlink()
    assert older.run("look").returncode == 70
    assert older.did() == []


def test_iptables_is_not_touched_where_nft_is_used(older: Place) -> None:
    older.tool("nft", NFT)
    for action in ("look", "cut", "heal"):
        assert older.run(action).returncode == 0
    assert older.kinds() == {"timer", "nft", "no"}


def test_what_another_tool_has_left_is_removed_by_it(older: Place) -> None:
    assert older.run("cut", tools=BOTH).returncode == 0
    older.tool("nft", NFT)
    done = older.run("look")
    assert "kn.healed=1" in done.stdout.split()
    assert done.stdout.endswith("/bin/nft\n")
    assert not older.has("rules.iptables")
    assert not older.has("rules.ip6tables")
    assert not older.has("timer")


def test_what_was_left_for_another_ip_version_is_removed(older: Place) -> None:
    assert older.run("cut", tools=BOTH).returncode == 0
    assert older.run("cut", "4 10.0.0.1 6443", "iptables").returncode == 0
    assert not older.has("rules.ip6tables")
    assert older.has("rules.iptables")
    assert older.has("timer")


def test_a_tool_that_cannot_list_its_rules_leaves_the_timer(place: Place) -> None:
    place.run("cut")
    (place.root / "unlisted").touch()
    (place.root / "stuck").touch()
    done = place.run("heal")
    assert done.returncode == 71
    assert "Resource temporarily unavailable" in done.stderr
    assert place.has("timer")


def test_an_nft_that_fails_once_does_not_hide_its_rules(older: Place) -> None:
    older.tool("nft", NFT)
    older.run("cut")
    older.tool("nft", "exit 1")
    for action, tools in (("look", ""), ("cut", BOTH), ("heal", BOTH)):
        done = older.run(action, tools=tools)
        assert (action, done.returncode) == (action, 71)
        assert older.has("timer")
    assert not older.has("rules.iptables")


@pytest.mark.parametrize("tools", ["nft", BOTH])
def test_rules_that_take_too_long_are_given_up(older: Place, tools: str) -> None:
    older.tool("nft", NFT)
    (older.root / "slow").touch()
    began = monotonic()
    done = older.run("cut", tools=tools)
    assert monotonic() - began < 10
    assert done.returncode == 73
    assert "kn.cut=1" not in done.stdout
    assert not older.has("table")
    assert not older.has("timer")


def test_healing_waits_for_a_cut_that_is_under_way(place: Place) -> None:
    (place.root / "slow").touch()
    place.tool("systemd-run", SYSTEMD_RUN + "echo armed")
    with subprocess.Popen(place.words("cut", tools="nft"), stdout=subprocess.PIPE, text=True) as cutting:
        while not place.has("timer"):
            assert cutting.poll() is None
        began = monotonic()
        assert place.run("heal").returncode == 0
        assert monotonic() - began > 1
        assert cutting.wait(5) == 73
    assert not place.has("table")


def test_healing_does_not_wait_for_ever(place: Place) -> None:
    place.run("cut")
    with (place.root / "drill").open() as held:
        flock(held, LOCK_EX)
        done = place.run("heal")
    who = f"locked by a process that is not fab's: PID {os.getpid()}\n"
    assert (done.returncode, done.stderr) == (75, who)
    assert place.has("timer")
    assert place.run("heal").returncode == 0


@pytest.mark.parametrize(
    ("address", "test"),
    [
        ("", False),
        ("api-1", False),
        ("198.18.0.0", True),
        ("198.19.255.255", True),
        ("::ffff:198.18.3.4", True),
        ("2001:2::5", True),
        ("2001:2:0:ffff::5%eth0", True),
        ("198.20.0.0", False),
        ("198.17.255.255", False),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("2001:2:1::5", False),
        ("fe80::1%eth0", False),
    ],
)
def test_which_networks_are_for_tests_only(address: str, test: bool) -> None:
    assert is_for_tests(address) is test


SETTINGS = Settings(
    None,
    "recommended",
    (NodeSpec("n", "n"),),
    (Endpoint("api-1", 6443), Endpoint("fd00::2", 6443), Endpoint("api-3", 6443), Endpoint("api-3", 443)),
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("api-1", 0),
        ("api-1:6443", 0),
        ("fd00::2", 1),
        ("[fd00::2]", 1),
        ("[fd00::2]:6443", 1),
        ("api-3:443", 3),
    ],
)
def test_an_apiserver_by_name(text: str, number: int) -> None:
    assert named(SETTINGS, text) == SETTINGS.apiservers[number]


@pytest.mark.parametrize(
    ("text", "why"), [("", "names the one"), ("api-2", "not one of"), ("api-3", "names several of")]
)
def test_any_other_name_lists_what_there_is(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=rf"{why}.*api-1:6443, \[fd00::2\]:6443, api-3:6443, api-3:443$"):
        named(SETTINGS, text)
