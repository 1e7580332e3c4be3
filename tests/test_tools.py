"""The programs that a node must have: all that scripts use, looked for there, named when missing."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.config.model import Proxy
from tasks.core.errors import StepError
from tasks.core.facts.facts import Facts
from tasks.core.facts.tools import TOOLS, lacking, needed, vital
from tasks.core.rollout.preflight import lacks
from tasks.core.scripts.service import Journal
from tasks.core.scripts.survey import Survey
from tasks.core.shell.command import detached

from .scripts import facts

ROOT = Path(__file__).parent.parent
# which run on build hosts
BUILD = {"compiler", "inspect", "inspect_watch", "make_install", "make_watch", "unpack", "work_folder"}
EVERY = {tool for tools in TOOLS.values() for tool in tools}
# each has a way out where it is missing, which is told: check's fallbacks, names as apiservers, drill
OPTIONAL = {"bash", "curl", "openssl", "getent", "nft", "iptables", "ip6tables", "systemd-run", "sh"}
# a word where a command may stand
_COMMAND = re.compile(
    r"(?:^|[;|&({!]|\$\(|\b(?:then|do|else|if|elif|while|until|exec|setsid|timeout [^ ]+( -k \S+)?)\s)\s*"
    r"(?:\w+=[^\s\"]* )*([a-z][\w-]*)(?=[\s;)|&]|$)",
    re.M,
)
_FUNCTION = re.compile(r"^([a-z_]+)\(\)", re.M)
_BUILTINS = set(
    re.findall(
        r"\w+",
        "break case cd command continue do done echo elif else esac eval exec exit export fi for if in kill "
        "printf read return set shift test then trap true false umask unset until wait while",
    )
)


def used(script: str) -> set[str]:
    """The programs of this machine that a script runs, as far as its words show."""
    bare = re.sub(r"(?m)^\s*#.*$|(?<=\s)# .*$|'[^'\n]*'|^\s*[\w |-]+\)", " ", script)  # labels of `case`, too
    words = {match[2] for match in _COMMAND.finditer(bare)} - _BUILTINS - set(_FUNCTION.findall(script))
    return {word for word in words if is_program(word)}


def is_program(word: str) -> bool:
    folders = ("/bin", "/usr/bin", "/sbin", "/usr/sbin")
    return word in OPTIONAL or any(Path(folder, word).exists() for folder in folders)


def scripts() -> Iterator[tuple[str, str]]:
    """All that is run on nodes."""
    for path in sorted((ROOT / "templates").glob("*.sh")):
        if path.stem not in BUILD:
            yield path.name, path.read_text()
    yield "journal", Journal(5).text()
    yield "detached", detached("true")


@pytest.mark.parametrize(("name", "script"), [*scripts()], ids=[name for name, _ in scripts()])
def test_every_program_is_listed(name: str, script: str) -> None:
    templates = [path.read_text() for path in (ROOT / "templates").glob("*.sh")]  # several go together
    functions = {function for text in templates for function in _FUNCTION.findall(text)}
    assert used(script) - functions <= EVERY | OPTIONAL


def test_what_is_listed_is_used() -> None:
    text = "\n".join(script for _, script in scripts())
    by_us = {"base64", "env"}  # Node.fetch, and before sudo
    assert {tool for tool in EVERY if not re.search(rf"(?<![\w-]){tool}(?![\w-])", text)} <= by_us


@pytest.mark.parametrize("user", ["", "kube-nginx"])
def test_a_user_of_its_own_takes_programs_of_its_own(user: str) -> None:
    assert EVERY - set(needed(user).split()) == (set() if user else {"runuser", "useradd"})


def test_the_survey_says_what_is_missing(tmp_path: Path) -> None:
    for tool in EVERY - {"flock", "findmnt"}:
        (tmp_path / tool).write_text("")
        (tmp_path / tool).chmod(0o755)
    script = (ROOT / "templates" / "survey.sh").read_text()
    line = next(line for line in script.splitlines() if "$tools" in line)
    say = 'say() { printf \'kn.%s=%s\\n\' "$1" "$2"; }'
    done = subprocess.run(
        ["/bin/sh", "-c", f"{say}\ntools='{needed('x')}'\n{line}"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert facts(done.stdout).missing == ("findmnt", "flock")


def test_the_survey_is_given_the_list() -> None:
    assert f"tools='{needed('kube-nginx')}'" in Survey(Proxy()).text()


def test_a_survey_without_its_own_programs_is_not_believed() -> None:
    assert vital(("flock", "sed", "cut")) == ["sed", "cut"]
    with pytest.raises(StepError) as caught:
        facts("kn.missing.sed=1\nkn.missing.flock=1\nkn.pid=7\n")
    assert (caught.value.message, caught.value.hint) == ("the node lacks sed", "install there: sed")


def test_it_is_refused_before_anything_is_written() -> None:
    (error,) = lacks(Facts(missing=("flock", "useradd")))
    assert error.message == "the node lacks flock, useradd"
    assert error.hint == "install there: util-linux, passwd or shadow-utils"
    (error,) = lacks(Facts(missing=("flock", "useradd"), user_id="999"))  # the user is there
    assert error.message == lacking(["flock"]).message
    assert list(lacks(Facts(missing=("useradd",), user_id="999"))) == []


def test_the_readme_has_the_list() -> None:
    (told,) = re.findall(r"The nodes need (.*?)\.\s", (ROOT / "README.md").read_text(), re.S)
    others = {tool for package, tools in TOOLS.items() for tool in tools if package != "coreutils"}
    assert "coreutils" in told
    assert set(re.findall(r"`([^`]+)`", told)) == others
