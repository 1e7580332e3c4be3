"""What kind of file somebody has, by its look. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path

from ..errors import UsageError


class Kind(Enum):
    """What a first hosts.toml can be taken from; of the runbook's, all that looks like nothing else."""

    ENVIRONMENT = "the runbook's environment.sh"
    INI = "an Ansible inventory"
    YAML = "an Ansible inventory in YAML"
    LIST = "what ansible-inventory --list writes"


_KUBECONFIG = "this is a kubeconfig; the cluster is asked by: fab init --from kubectl --kubeconfig {path}"
_OBJECT = "this is what Kubernetes has of an object; the cluster itself is asked by: fab init --from kubectl"
_LISTED = "ansible-inventory -i {path} --list >inventory.json, then fab init --from inventory.json"
_PROGRAM = f"this is a program, and nothing is run here; where it is an inventory: {_LISTED}"
_PLUGIN = f"this is for an inventory plugin of Ansible's, and nothing is run here: {_LISTED}"
_VERSION = r"""^[^\S\n]*["']?apiVersion["']?:"""
_OTHERS = (
    ((r"\A\$ANSIBLE_VAULT;",), "this is a vault: ansible-vault view {path} shows what is in it"),
    ((r"\A#!(?!.*\b(?:ba|da|k|z)?sh\b)",), _PROGRAM),
    (("^nodes *= *\\[", "^apiservers *= *\\["), "this is a hosts.toml already: copy it"),
    ((r"^plugin: *[\w.]",), _PLUGIN),
    ((_VERSION, r"""^[^\S\n]*["']?kind["']?: *["']?Config\b"""), _KUBECONFIG),
    ((_VERSION, r"""^[^\S\n]*["']?kind["']?: *["']?[A-Z]"""), _OBJECT),
    ((r"^- +(?:name|hosts|import_playbook):",), "this is a playbook; name the inventory that it is run with"),
)
"""What is none of them, by what is found in it, and what to say of it; the first counts."""

_KINDS = (
    (Kind.ENVIRONMENT, (r"\A#!",)),
    (Kind.LIST, (r"\A\{",)),
    (Kind.INI, (r"^[^\S\n]*\[[\w.-]+(?::\w+)?\][^\S\n]*(?:#.*)?$",)),
    (Kind.INI, (r"^[^\S\n]*[\w.\[\]:-]+[^\S\n](?:[^#\n]*[^\S\n])?ansible_\w+=",)),
    (Kind.YAML, (r"^[\w.\"'-]+:(?!\S)", r"(?:^[^\S\n]+|[{,][^\S\n]*)(?:hosts|children):(?!\S)")),
    (Kind.YAML, (r"^---[^\S\n]*$",)),
)


def kind_of(text: str, path: Path) -> Kind:
    """What kind of file this is. Raises UsageError: none that can be read, in words for people."""
    for patterns, words in _OTHERS:
        if _has(text, patterns):
            raise UsageError(f"{path}: {words.replace('{path}', str(path))}")
    by_name = {".yaml": Kind.YAML, ".yml": Kind.YAML}.get(path.suffix, Kind.ENVIRONMENT)
    return next((kind for kind, patterns in _KINDS if _has(text.lstrip(), patterns)), by_name)


def _has(text: str, patterns: Sequence[str]) -> bool:
    return all(re.search(pattern, text, re.M) for pattern in patterns)


def text_of(content: bytes, path: Path) -> str:
    """The text of a file. Raises UsageError: there is none in it."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{path}: is UTF-16; save it as UTF-8")
    if b"\0" in content:
        raise UsageError(f"{path}: is binary, and no text")
    # comments may be in any encoding; what counts is ASCII
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    if not any(line.strip() and line.lstrip()[0] != "#" for line in text.split("\n")):
        raise UsageError(f"{path}: is empty" + (", but for comments" if text.strip() else ""))
    return text
