"""The wheel, used as other people do: beside a project's own tasks.py, under another name."""

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from tests import wheels

pytestmark = pytest.mark.start

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"

TASKS = {
    "build",
    "check",
    "conf",
    "configure",
    "connections",
    "daemon-reload",
    "deploy",
    "diff",
    "disable",
    "download",
    "drill",
    "enable",
    "init",
    "logs",
    "make-install",
    "mkdir",
    "preflight",
    "recap",
    "reload",
    "render",
    "restart",
    "rollback",
    "scp",
    "start",
    "status",
    "stop",
    "uninstall",
    "unit",
    "verify",
}

FABFILE = """
    from invoke import Collection, task
    from kube_nginx.tasks import ns as kube_nginx, build, deploy, restart

    import tasks

    @task
    def release(c):
        "The project's own task that uses ours."
        build(c)
        deploy(c)
        restart(c)

    ns = Collection(release, tasks.hello)
    ns.add_collection(kube_nginx, "lb")
"""
OWN_TASKS = """
    from invoke import task

    @task
    def hello(c):
        "A task of the project's own tasks.py."
        print("hello from the project's own tasks.py")
"""
HOSTS = """
    profile = "runbook"
    nodes = ["192.0.2.1"]
    apiservers = ["172.27.138.251", "172.27.137.229", "172.27.138.239"]
"""
RENDERED = "".join(
    f"# {name}\n{(GOLDEN / name).read_text()}\n" for name in ("kube-nginx.conf", "kube-nginx.service")
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$WHEEL, or built from a copy of the checkout."""
    given = os.environ.get("WHEEL")
    return Path(given) if given else wheels.build(tmp_path_factory.mktemp("wheel"))


@dataclass(frozen=True)
class Project:
    """Somebody else's project, whose Python finds the installed wheel."""

    folder: Path
    packages: Path

    def run(self, *arguments: str, cwd: Path | None = None) -> tuple[int, str, str]:
        """Runs Python there: exit status, stdout and stderr."""
        home = self.folder.parent / "home"
        home.mkdir(exist_ok=True)
        environment = {k: v for k, v in os.environ.items() if k != "KUBE_NGINX_HOSTS"}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=cwd or self.folder,
            env=environment | {"PYTHONPATH": str(self.packages), "HOME": str(home)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.returncode, done.stdout, done.stderr

    def fab(self, *arguments: str) -> tuple[int, str, str]:
        """Runs `fab` there."""
        return self.run("-m", "fabric", *arguments)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(dedent(text).lstrip())


@pytest.fixture(scope="module")
def project(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("foreign")
    packages = wheels.install(wheel, folder / "packages")
    files = {
        "fabfile.py": FABFILE,
        "tasks.py": OWN_TASKS,
        "hosts.toml": HOSTS,
        "templates/__init__.py": "",
        "templates/kube-nginx.conf.j2": "the project's own\n",
    }
    write(folder / "project", files)
    return Project(folder / "project", packages)


def test_the_files_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
    wanted = ["kube_nginx/tasks/py.typed"]
    for package in ("tasks", "templates"):
        for kind in ("*.py", "*.j2", "*.sh", "*.c", "*.h", "*.asc"):
            wanted += [f"kube_nginx/{file.relative_to(ROOT)}" for file in (ROOT / package).rglob(kind)]
    assert sorted(names) == sorted(wanted)
    assert "kube_nginx/templates/kube-nginx.conf.j2" in names
    assert "kube_nginx/templates/kube-nginx.service.j2" in names
    assert "kube_nginx/templates/survey.sh" in names
    assert "kube_nginx/templates/watch/judge.c" in names


def test_the_steps_of_the_readme(project: Project, tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text().partition("## On your own nodes\n")[2]
    lines = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    steps = lines[lines.index("pip install .") + 1 : lines.index("fab build deploy")]
    assert [step.split()[0] for step in steps] == ["mkdir", "echo", "fab", "fab"]
    answers = "--nodes worker-1 --apiservers 10.0.0.1 #"
    shell = f'fab() {{ "{sys.executable}" -m fabric "$@"; }}\nset -e\n' + "\n".join(steps)
    done = subprocess.run(
        ["sh", "-c", shell.replace("fab init ", f"fab init {answers} ")],
        env=os.environ | {"PYTHONPATH": str(project.packages), "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "hosts.toml: written" in done.stdout
    assert "server 10.0.0.1:6443 " in done.stdout


def test_the_metadata_of_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        lines = archive.read(name).decode().partition("\n\n")[0].splitlines()
        (top,) = [name for name in archive.namelist() if name.endswith(".dist-info/top_level.txt")]
        assert archive.read(top) == b"kube_nginx\n"
        assert [n.rpartition("/")[2] for n in archive.namelist() if n.endswith("/LICENSE")] == ["LICENSE"]
    assert {"Name: kube-nginx", "Requires-Python: >=3.11", "License-Expression: MIT"} <= set(lines)
    needs = {match[1] for line in lines if (match := re.fullmatch(r"Requires-Dist: (\w+)[^;]*", line))}
    assert needs == {"cryptography", "fabric", "invoke", "jinja2", "rich"}


def test_the_tasks_under_another_name(project: Project) -> None:
    status, out, err = project.fab("--list", "--list-format=json")
    assert (status, err) == (0, "")
    listed = json.loads(out)
    assert sorted(task["name"] for task in listed["tasks"]) == ["hello", "release"]
    (ours,) = listed["collections"]
    assert {task["name"] for task in ours["tasks"]} == TASKS
    assert all(task["help"] for task in ours["tasks"])


def test_fab_list(project: Project) -> None:
    status, out, err = project.fab("--list")
    assert (status, err) == (0, "")
    names = re.findall(r"(?m)^  (\S+)", out)
    assert sorted(names) == sorted(["hello", "release", *(f"lb.{name}" for name in TASKS)])


def test_rendering_under_another_name(project: Project) -> None:
    assert project.fab("lb.render") == (0, RENDERED, "")


def test_scripts_under_another_name(project: Project) -> None:
    texts = {path.stem: path.read_text() for path in (ROOT / "templates").glob("*.sh")}
    call = f"print(json.dumps([shell_script([name], {{'given': 'a b'}}, name) for name in {[*texts]}]))"
    code = f"import json; from kube_nginx.tasks.core.templates import shell_script; {call}"
    status, out, err = project.run("-c", code)
    assert (status, err) == (0, "")
    assert json.loads(out) == [f"# {name}\ngiven='a b'\n{text}" for name, text in texts.items()]


def test_the_projects_own_tasks_are_its_own(project: Project) -> None:
    assert project.fab("hello") == (0, "hello from the project's own tasks.py\n", "")


def test_rendering_into_a_folder(project: Project, tmp_path: Path) -> None:
    status, out, err = project.fab("lb.render", "--to", str(tmp_path / "to"))
    names = ["kube-nginx.conf", "kube-nginx.service"]
    assert (status, out, err) == (0, "".join(f"{tmp_path}/to/{name}\n" for name in names), "")
    assert sorted(os.listdir(tmp_path / "to")) == names
    for name in names:
        assert (tmp_path / "to" / name).read_bytes() == (GOLDEN / name).read_bytes()


def python(code: str) -> Sequence[str]:
    return ("-c", dedent(code))


CALL = """
    from invoke import Context
    from kube_nginx.tasks import render
    render(Context({}))
"""


@pytest.mark.parametrize(
    "config",
    ["", "{'kube_nginx': {'hosts_file': 'other/fleet.toml'}}"],
    ids=["hosts.toml here", "a configured file"],
)
def test_a_plain_call(project: Project, tmp_path: Path, config: str) -> None:
    write(tmp_path, {"other/fleet.toml" if config else "hosts.toml": HOSTS})
    context = f"Config(overrides={config})" if config else ""
    code = CALL.replace("import Context", "import Config, Context").replace("{}", context)
    assert project.run(*python(code), cwd=tmp_path) == (0, RENDERED, "")


def test_no_hosts_file(project: Project, tmp_path: Path) -> None:
    write(tmp_path, {"fabfile.py": "from kube_nginx.tasks import *\nfrom kube_nginx.tasks import ns\n"})
    listed = project.run("-m", "fabric", "--list", cwd=tmp_path)
    assert (listed[0], listed[2]) == (0, "")
    status, out, err = project.run("-m", "fabric", "render", cwd=tmp_path)
    assert (status, out) == (2, "")
    assert err.startswith(f"hosts.toml: not found; looked for {tmp_path}/hosts.toml.")
    assert "Traceback" not in err


AUDIT = """
    import sys
    import fabric, http.client, importlib.resources, invoke, jinja2, paramiko, urllib.request
    import rich.console, rich.live, rich.progress, rich.table, rich.text

    seen = []

    def note(event, arguments):
        code = str(arguments[0]).endswith((".py", ".pyc")) if event == "open" else False
        if event == "open" and not code or event.startswith(("socket.", "subprocess.", "os.exec", "os.fork")):
            seen.append((event, *map(str, arguments)))

    sys.addaudithook(note)
    import kube_nginx.tasks
    print(seen)
    print(sorted(name for name in sys.modules if name.split(".")[0] in ("tasks", "templates", "tests")))
    print(kube_nginx.tasks.__file__)
"""


def test_importing_reads_no_file_and_connects_nowhere(project: Project, tmp_path: Path) -> None:
    status, out, err = project.run("-B", *python(AUDIT), cwd=tmp_path)
    installed = project.packages / "kube_nginx" / "tasks" / "__init__.py"
    assert (status, out.splitlines(), err) == (0, ["[]", "[]", str(installed)], "")
    assert list(tmp_path.iterdir()) == []
