"""The pipelines of examples/ci, over examples/own-nodes, as far as they go without the services."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests import wheels
from tests.conftest import ROOT, alone, run_fab
from tests.examples import EXAMPLES, copy, key, usual
from tests.lab.lab import Lab
from tests.pipelines import GitHub, GitLab, JobRun, Runner, holds
from tests.test_examples import BROKEN, DROP_INS, RACKS

WORKFLOW = (EXAMPLES / "ci" / ".github" / "workflows" / "fleet.yml").read_text()
PIPELINE = (EXAMPLES / "ci" / ".gitlab-ci.yml").read_text()
PROPOSED, MERGED = "proposed", "merged"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheel"))


def machine(folder: Path) -> dict[str, str]:
    """Variables of a runner on which pip needs no index: what kube-nginx needs is here, kube-nginx is not."""
    fab = folder / "bin" / "fab"
    fab.parent.mkdir(exist_ok=True)
    fab.write_text(f'#!/bin/sh\nPYTHONPATH={sysconfig.get_path("purelib")} exec python -m fabric "$@"\n')
    fab.chmod(0o755)
    given = usual()
    quiet = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    return {**given, **quiet, "PATH": f"{fab.parent}:{given['PATH']}"}


def repository(folder: Path, wheel: Path) -> Path:
    """The files of a fleet's repository: those of a project, and the pipelines."""
    shutil.copytree(EXAMPLES / "ci", folder, dirs_exist_ok=True)
    (folder / "wheels").mkdir()
    shutil.copy(wheel, folder / "wheels")
    return folder


def github(runner: Runner, what: str, secret: str, head: str = "us/fleet") -> GitHub:
    """The workflow for a pull request of a branch of `head`, or for a push to main."""
    values = {
        "github.event_name": "pull_request" if what == PROPOSED else "push",
        "github.event.pull_request.head.repo.full_name": head,
        "github.repository": "us/fleet",
        "secrets.SSH_KEY": secret,
    }
    return GitHub(WORKFLOW, runner, values)


def gitlab(runner: Runner, what: str, secret: str) -> GitLab:
    """The pipeline for a merge request, or for a push to main."""
    given = {"SSH_KEY": secret, "CI_DEFAULT_BRANCH": "main"}
    given |= {
        PROPOSED: {"CI_PIPELINE_SOURCE": "merge_request_event"},
        MERGED: {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"},
    }[what]
    return GitLab(PIPELINE, runner, given)


Service = Callable[[Runner, str, str], GitHub | GitLab]
SERVICES = pytest.mark.parametrize("service", [github, gitlab])


class Repository:
    """A repository, and what its pipelines do of it on the lab."""

    def __init__(self, lab: Lab, wheel: Path, folder: Path, service: Service) -> None:
        self.folder, self.service, self.lab = folder, service, lab
        self.files = repository(copy("own-nodes", folder, lab, RACKS), wheel)
        self.key = key(lab)
        self.runs = 0
        self.artifacts = folder

    def run(self, what: str, *without: str) -> dict[str, JobRun]:
        """The jobs of a pipeline, by their names, but for some."""
        self.runs += 1
        runner = Runner(self.files, self.folder / str(self.runs), machine(self.folder))
        self.artifacts = runner.artifacts
        with alone():
            done = only(self.service(runner, what, self.key), *without).run()
        for jobs in done.values():
            for job in jobs:
                assert self.key.splitlines()[1] not in job.log + job.summary
        return {name: job for name, (job,) in done.items()}

    def edit(self, old: str, new: str) -> None:
        """A commit that changes hosts.toml."""
        file = self.files / "hosts.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    def artifact(self, name: str) -> str:
        return (self.artifacts / name).read_text()


@pytest.fixture
def repo(lab: Lab, deployed: Path, wheel: Path, tmp_path: Path, service: Service) -> Iterator[Repository]:
    yield Repository(lab, wheel, tmp_path, service)
    assert run_fab("deploy", hosts=deployed).status == 0


@pytest.mark.lab
@SERVICES
def test_a_change_is_proposed_and_merged(repo: Repository) -> None:
    repo.edit("[build]", "[proxy]\nmax_fails = 7\n\n[build]")
    proposed = repo.run(PROPOSED)
    assert [*proposed] == ["render", "diff"], proposed
    assert proposed["diff"].passed, proposed["diff"].log
    assert "+        server 198.18." in repo.artifact("diff.txt")
    assert "max_fails=7" in proposed["diff"].log + proposed["diff"].summary

    merged = repo.run(MERGED, "render")
    assert [*merged] == ["deploy"]
    assert merged["deploy"].status == 0, merged["deploy"].log
    document = json.loads(repo.artifact("deploy.json"))
    assert [node["result"] for node in document["nodes"]] == ["reloaded"] * 3
    assert "deploy: 3 reloaded" in merged["deploy"].log + merged["deploy"].summary

    again = repo.run(PROPOSED, "render")["diff"]
    assert again.passed
    assert "max_fails" not in repo.artifact("diff.txt")


@pytest.mark.lab
@SERVICES
def test_a_canary_that_fails(repo: Repository) -> None:
    """No other node is touched, and both the log and the artifact say what became of each."""
    repo.edit("[build]", '[proxy]\nuser = ""\n\n[build]')
    canary = repo.lab.nodes[0]
    canary.ssh(BROKEN.format(DROP_INS))
    try:
        merged = repo.run(MERGED, "render")["deploy"]
    finally:
        canary.ssh(f"rm -r {DROP_INS}; systemctl daemon-reload")
    assert (merged.status, merged.passed) == (1, False), merged.log
    nodes = json.loads(repo.artifact("deploy.json"))["nodes"]
    assert [node["result"] for node in nodes] == ["failed", "not started", "not started"]
    assert (
        "retry: fab deploy --limit worker-1,worker-2,worker-3 --canary 1 --wait 600\n"
        in merged.log + merged.summary
    )


@pytest.mark.lab
@SERVICES
def test_a_node_that_is_not_there(repo: Repository) -> None:
    sick = repo.lab.nodes[1]
    sick.enter("systemctl stop ssh")
    try:
        proposed = repo.run(PROPOSED, "render")["diff"]
    finally:
        sick.enter("systemctl start ssh")
    assert (proposed.status, proposed.passed) == (1, False), proposed.log
    assert "worker-2" in proposed.log


@pytest.mark.lab
@pytest.mark.parametrize("kind", [GitHub, GitLab])
def test_a_matrix_of_shards(
    kind: type[GitHub | GitLab], lab: Lab, deployed: Path, wheel: Path, tmp_path: Path
) -> None:
    """As docs/scale.md has it: its jobs are all of the fleet, and the last one tells of all."""
    project = copy("own-nodes", tmp_path, lab, RACKS)
    with (project / "ssh_config").open("a") as config:
        config.write(f"    IdentityFile {lab.state}/id_ed25519\n")
    packages = wheels.install(wheel, tmp_path / "packages")
    runner = Runner(project, tmp_path / "runner", {**usual(), "PYTHONPATH": str(packages)})
    page = (ROOT / "docs" / "scale.md").read_text()
    text = re.findall(rf"### {kind.__name__}\n\n```yaml\n(.*?)```", page, re.DOTALL)[0]
    done = kind(text, runner, {}).run()
    assert [job.status for job in done["deploy"]] == [0] * 4, [job.log for job in done["deploy"]]
    (recap,) = done["recap"]
    assert recap.status == 0, recap.log
    assert "deploy: 3 nodes in 4 files" in recap.log
    assert run_fab("deploy", hosts=deployed).status == 0


@pytest.mark.start
@SERVICES
def test_a_wrong_hosts_toml_needs_no_host(service: Service, wheel: Path, tmp_path: Path) -> None:
    """The repository as it is in examples/: what this pipeline does goes nowhere."""
    source = repository(shutil.copytree(EXAMPLES / "own-nodes", tmp_path / "fleet"), wheel)
    runner = Runner(source, tmp_path / "right", machine(tmp_path))
    (right,) = only(service(runner, PROPOSED, ""), "diff", "deploy").run()["render"]
    assert right.status == 0, right.log
    assert "server 10.0.0.1:6443" in right.log
    (source / "hosts.toml").write_text('nodes = ["a"]\napiservers = []\n')
    runner = Runner(source, tmp_path / "wrong", machine(tmp_path))
    done = service(runner, PROPOSED, "").run()
    assert [*done] == ["render"], "the others need it"
    assert done["render"][0].status == 2
    assert "hosts.toml" in done["render"][0].log


def only(pipeline: GitHub | GitLab, *without: str) -> GitHub | GitLab:
    """A pipeline without some of its jobs; others do not need them."""
    text = yaml.safe_load(pipeline.text)
    jobs = text["jobs"] if isinstance(pipeline, GitHub) else text
    for name in without:
        del jobs[name]
        for job in jobs.values():
            if job.get("needs") in (name, [name]):
                del job["needs"]
    pipeline.text = yaml.safe_dump(text, sort_keys=False)
    return pipeline


def test_a_forks_pull_request_gets_no_key(tmp_path: Path) -> None:
    workflow = github(Runner(tmp_path, tmp_path / "runner", {}), PROPOSED, "", "them/fleet")
    condition = yaml.safe_load(WORKFLOW)["jobs"]["diff"]["if"]
    assert not holds(condition, workflow.values)
    assert holds(condition, {**workflow.values, "github.event.pull_request.head.repo.full_name": "us/fleet"})


def test_deploys_wait_for_each_other() -> None:
    deploy = yaml.safe_load(WORKFLOW)["jobs"]["deploy"]
    assert deploy["concurrency"] == {"group": "fleet", "cancel-in-progress": False}
    assert yaml.safe_load(PIPELINE)["deploy"]["resource_group"] == "fleet"


def with_key(*command: str, secret: str) -> subprocess.CompletedProcess[str]:
    """The command, run by with-key."""
    return subprocess.run(
        [str(EXAMPLES / "ci" / "with-key"), *command],
        env={**usual(), "SSH_KEY": secret},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("end", ["\n", "", "\n\n"], ids=["a newline", "none", "two"])
def test_the_key_is_in_an_agent_alone(tmp_path: Path, end: str) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ours", "-f", tmp_path / "key"], check=True
    )
    secret = (tmp_path / "key").read_text().rstrip("\n") + end
    ran = with_key("sh", "-c", 'ssh-add -l; echo "key: $SSH_KEY, $1"; exit 3', "sh", "a b", secret=secret)
    assert ran.returncode == 3
    assert " ours (ED25519)" in ran.stdout
    assert "key: , a b\n" in ran.stdout


def test_no_key(tmp_path: Path) -> None:
    ran = with_key("touch", str(tmp_path / "file"), secret="")
    assert ran.returncode == 2
    assert "SSH_KEY is empty" in ran.stderr
    ran = with_key("touch", str(tmp_path / "file"), secret="not a key")
    assert ran.returncode == 1
    assert not [*tmp_path.iterdir()]
