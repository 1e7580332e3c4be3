"""hosts.toml -> frozen dataclasses: find the file, read it, report all that is wrong in it."""

import os
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..localfiles import read_bounded
from . import sections
from .model import Settings, expanded
from .validation import Problems

ENVIRONMENT = "KUBE_NGINX_HOSTS"
FILE_NAME = "hosts.toml"
_MOST = 16 << 20  # bytes: 100,000 nodes with addresses, names and groups have 10 MB


class SettingsError(UsageError):
    """hosts.toml is missing or wrong; `problems` are its lines, `FILE: KEY: what, what instead`."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def find(configured: str | None = None, beside: Path | None = None) -> Path:
    """The file to use: $KUBE_NGINX_HOSTS, else `configured`, else ./hosts.toml, else in `beside`.

    `configured` is the value of the Invoke configuration key kube_nginx.hosts_file; a relative one
    is looked for here, then in `beside`. `beside` is the folder of the fabfile, or the fabfile.
    Raises SettingsError that says where it looked.
    """
    folder = beside.parent if beside is not None and beside.is_file() else beside
    named = os.environ.get(ENVIRONMENT)
    source = ENVIRONMENT if named else "kube_nginx.hosts_file" if configured else ""
    wanted = expanded(named or configured or FILE_NAME)
    candidates = [wanted] if named or not folder else [wanted, folder / wanted]
    for candidate in candidates:
        if os.path.exists(candidate):
            return candidate
    places = ", ".join(dict.fromkeys(map(os.path.abspath, candidates)))
    if source:
        raise SettingsError(f"{places}: not found, though {source} names it; correct or unset {source}")
    raise SettingsError(
        f"{FILE_NAME}: not found; looked for {places}. fab init writes one; or name it in the environment "
        f"variable {ENVIRONMENT} or the Invoke configuration key kube_nginx.hosts_file"
    )


def configured(config: Any) -> tuple[str | None, Path | None]:
    """What Invoke's configuration says to `find`: kube_nginx.hosts_file, and the folder of the fabfile."""
    named = config.get("kube_nginx", {}).get("hosts_file")
    project = getattr(config, "_project_prefix", None)
    return str(named) if named else None, Path(project) if project else None


def load(path: Path) -> Settings:
    """Read and check the file at `path`; raises SettingsError with all that is wrong in it."""
    return _checked(path, _read(path), os.path.expanduser("~"))


@lru_cache(maxsize=4)
def _checked(path: Path, content: bytes, home: str) -> Settings:
    """Checks what a file holds, once for as long as it does; its paths with ~ are below `home`."""
    return parse(_data(path, content), path)


def parse(data: Mapping[str, object], path: Path) -> Settings:
    """Check `data`, what tomllib read from `path`; raises SettingsError with all that is wrong."""
    problems = Problems()
    settings = sections.read(data, path, problems)
    if problems.lines:
        raise SettingsError(*(f"{path}: {line}" for line in problems.lines))
    return settings


def _read(path: Path) -> bytes:
    try:
        return read_bounded(path, _MOST)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None


def _data(path: Path, content: bytes) -> Mapping[str, object]:
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start}: not UTF-8; save the file as UTF-8") from None
    except RecursionError:
        raise SettingsError(f"{path}: not TOML: nested too deeply") from None
    except ValueError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
