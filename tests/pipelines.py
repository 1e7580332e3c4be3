"""Workflows of GitHub and pipelines of GitLab, run here as far as they go without the services.

The shell of each step is the one in the YAML, and is run as the service's runner runs it, in a checkout of
its own for each job; of the actions of others only what moves files is done.
"""

from __future__ import annotations

import operator
import re
import shutil
import subprocess
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

TOKEN = re.compile(r"'([^']*)'|\"([^\"]*)\"|([$\w.]+)")
COMPARE = {"==": operator.eq, "!=": operator.ne}


@dataclass(frozen=True)
class JobRun:
    """What became of a job."""

    status: int  # of its first step that failed
    log: str  # what all steps wrote, stderr too
    allowed: tuple[int, ...] = ()  # with which it is no failure
    summary: str = ""  # for people, on the page of the run

    @property
    def passed(self) -> bool:
        """Whether the jobs that need it go on."""
        return self.status == 0 or self.status in self.allowed


@dataclass
class Runner:
    """Runs jobs on checkouts of `source`; `artifacts` is where they leave files for each other."""

    source: Path
    folder: Path
    env: Mapping[str, str]
    artifacts: Path = field(init=False)
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.artifacts = self.folder / "artifacts"
        self.artifacts.mkdir(parents=True)

    def checkout(self, mode: int) -> Path:
        """A copy of the source; `mode` is added to that of each file and folder."""
        target = self.folder / f"checkout-{next(self._numbers)}"
        shutil.copytree(self.source, target)
        for path in (target, *target.rglob("*")):
            path.chmod(path.stat().st_mode | mode)
        return target

    def keep(self, checkout: Path, patterns: Sequence[str]) -> None:
        """Uploads files, which have to be there."""
        for pattern in patterns:
            files = [*checkout.glob(pattern)]
            assert files, f"no artifact {pattern}"
            for file in files:
                shutil.copy(file, self.artifacts)

    def shell(self, argv: Sequence[str], checkout: Path, env: Mapping[str, str]) -> tuple[int, str]:
        """Exit status, and all that was written."""
        ran = subprocess.run(
            argv,
            cwd=checkout,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in ran.stdout, ran.stdout
        return ran.returncode, ran.stdout


def holds(condition: str, values: Mapping[str, str]) -> bool:
    """Whether a condition of `==`, `!=` and `&&` does; names that have no value are empty."""
    for part in condition.split("&&"):
        left, word, right = re.split(r"\s*(==|!=)\s*", part.strip())
        if not COMPARE[word](_value(left, values), _value(right, values)):
            return False
    return True


def _value(text: str, values: Mapping[str, str]) -> str:
    match = TOKEN.fullmatch(text)
    assert match, text
    single, double, name = match.groups()
    return values.get(name, "") if name else single or double or ""


@dataclass
class GitHub:
    """A workflow; `values` are those of expressions, by their names: `github.event_name`, `secrets.KEY`."""

    text: str
    runner: Runner
    values: Mapping[str, str]

    def run(self) -> dict[str, list[JobRun]]:
        """Runs the jobs whose turn it is, each once for each value of its matrix."""
        done: dict[str, list[JobRun]] = {}
        for name, job in yaml.safe_load(self.text)["jobs"].items():
            needed = job.get("needs", [])
            needed = [needed] if isinstance(needed, str) else needed
            ready = all(ran.passed for need in needed for ran in done.get(need, [JobRun(1, "")]))
            condition = job.get("if", "success()")
            if condition == "always()" or (ready and self._wanted(condition)):
                done[name] = [self._job(job, values) for values in self._matrix(job)]
        return done

    def _wanted(self, condition: str) -> bool:
        return condition == "success()" or holds(condition, self.values)

    def _matrix(self, job: Mapping[str, Any]) -> Iterator[dict[str, str]]:
        matrix = job.get("strategy", {}).get("matrix", {"-": [""]})
        ((name, values),) = matrix.items()
        for value in values:
            yield {**self.values, f"matrix.{name}": str(value)}

    def _job(self, job: Mapping[str, Any], values: Mapping[str, str]) -> JobRun:
        checkout = self.runner.checkout(0)
        files = {word: self.runner.folder / word for word in ("GITHUB_PATH", "GITHUB_STEP_SUMMARY")}
        files["GITHUB_PATH"].write_text(f"{self.runner.folder}/python/bin\n")
        files["GITHUB_STEP_SUMMARY"].write_text("")
        env = {**self.runner.env, "CI": "true", **{word: str(file) for word, file in files.items()}}
        env |= {name: expand(str(value), values) for name, value in job.get("env", {}).items()}
        status, log = 0, ""
        for step in job["steps"]:
            if status and step.get("if") != "always()":
                continue
            if "uses" in step:
                self._action(step["uses"], step.get("with", {}), checkout, values)
                continue
            script = self.runner.folder / "step.sh"
            script.write_text(expand(step["run"], values))
            path = ":".join([*reversed(files["GITHUB_PATH"].read_text().split()), env["PATH"]])
            ended, written = self.runner.shell(["bash", "-e", str(script)], checkout, {**env, "PATH": path})
            status, log = status or ended, log + written
        return JobRun(status, log, summary=files["GITHUB_STEP_SUMMARY"].read_text())

    def _action(self, uses: str, given: Mapping[str, str], checkout: Path, values: Mapping[str, str]) -> None:
        name = uses.partition("@")[0]
        if name == "actions/upload-artifact":
            self.runner.keep(checkout, [expand(given["path"], values)])
        elif name == "actions/download-artifact":
            shutil.copytree(self.runner.artifacts, checkout, dirs_exist_ok=True)
        elif name == "actions/setup-python":
            venv.create(self.runner.folder / "python", with_pip=True)
        else:
            assert name == "actions/checkout", uses


def expand(text: str, values: Mapping[str, str]) -> str:
    """A text with its ${{ expressions }}, each of which is a name that has a value."""
    return re.sub(r"\$\{\{ ([\w.]+) \}\}", lambda match: values[match[1]], text)


@dataclass
class GitLab:
    """A pipeline; `variables` are the project's and the predefined ones."""

    text: str
    runner: Runner
    variables: Mapping[str, str]

    def run(self) -> dict[str, list[JobRun]]:
        """Runs the jobs whose turn it is, as often as `parallel` says."""
        done: dict[str, list[JobRun]] = {}
        jobs = yaml.safe_load(self.text)
        default = jobs.pop("default", {})
        if not self._wanted(jobs.pop("workflow", {})):
            return done
        for name, job in jobs.items():
            ready = all(ran.passed for need in job.get("needs", []) for ran in done.get(need, []))
            if self._wanted(job) and (ready or job.get("when") == "always"):
                total = job.get("parallel", 1)
                done[name] = [self._job(default | job, index, total) for index in range(1, total + 1)]
        return done

    def _wanted(self, job: Mapping[str, Any]) -> bool:
        given = {f"${name}": value for name, value in self.variables.items()}
        return "rules" not in job or any(holds(rule["if"], given) for rule in job["rules"])

    def _job(self, job: Mapping[str, Any], index: int, total: int) -> JobRun:
        checkout = self.runner.checkout(0o022)  # the docker executor's umask is 0
        shutil.copytree(self.runner.artifacts, checkout, dirs_exist_ok=True)
        env = {**self.runner.env, "CI": "true", **self.variables}
        env |= {"CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": str(total)}
        lines = [*job.get("before_script", []), *job["script"]]
        status, log = self.runner.shell(
            ["bash", "-c", "\n".join(["set -eo pipefail", *lines])], checkout, env
        )
        after = "\n".join(job.get("after_script", []))
        log += self.runner.shell(["bash", "-c", after], checkout, env)[1]
        self.runner.keep(checkout, job.get("artifacts", {}).get("paths", []))
        return JobRun(status, log, tuple(job.get("allow_failure", {}).get("exit_codes", [])))
