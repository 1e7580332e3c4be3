"""A file that somebody has: what kind it is, by its look; and a source that is none, told in words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.core.errors import UsageError
from tasks.core.setup import source
from tasks.core.sources.looks import Kind, kind_of, text_of
from tests.inventories import SHAPES

PLACE = Path("file")
KUBECONFIG = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://198.18.0.1:6443\nkind: Config\n"


@pytest.mark.parametrize("name", SHAPES)
def test_inventories(name: str) -> None:
    text = SHAPES[name].text
    assert kind_of(text, PLACE) is (Kind.YAML if name.endswith(("yml", "yaml")) else Kind.INI)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NODE_IPS=(198.18.0.1)\n", Kind.ENVIRONMENT),
        ("#!/usr/bin/bash\n[ -f x ] && . x\nNODE_IPS=(198.18.0.1)\n", Kind.ENVIRONMENT),
        ("#!/usr/bin/env bash\ncase $1 in\n[a-z])\n;; esac\n", Kind.ENVIRONMENT),
        ("#!/bin/sh\nif [ $x ]; then\n  : ${X:=1}\nfi\n", Kind.ENVIRONMENT),
        ("#!/bin/bash\ncat >hosts <<EOF\n[kube_node]\nEOF\n", Kind.ENVIRONMENT),
        ('{"all": {"hosts": ["a"]}}', Kind.LIST),
        ("n1\n[kube_node] # all of them\nn1\n", Kind.INI),
        ("all: {hosts: {a: }}\n", Kind.YAML),
        ("# x\n---\n- a\n", Kind.YAML),
    ],
)
def test_kinds(text: str, kind: Kind) -> None:
    assert kind_of(text, PLACE) is kind


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\n \n\n", "is empty"),
        (b"# NODE_IPS=()\n", "is empty, but for comments"),
        (b"\x7fELF\x02\x00\x00", "is binary, and no text"),
        (b"\xff\xfeN\x00O\x00", "is UTF-16; save it as UTF-8"),
        (b"$ANSIBLE_VAULT;1.1;AES256\n3361\n", "this is a vault: ansible-vault view"),
        (
            KUBECONFIG.encode(),
            "this is a kubeconfig; the cluster is asked by: fab init --from kubectl",
        ),
        (b'{\n "apiVersion": "v1",\n "kind": "Config"\n}', "this is a kubeconfig"),
        (b'{\n "apiVersion": "v1",\n "kind": "List"\n}', "this is what Kubernetes has of an object"),
        (b"apiVersion: apps/v1\nkind: Deployment\n", "this is what Kubernetes has of an object"),
        (b"#!/usr/bin/env python3\nprint('{}')\n", "this is a program, and nothing is run here"),
        (
            b"plugin: amazon.aws.aws_ec2\nregions: [x]\n",
            "this is for an inventory plugin of Ansible's",
        ),
        (b'nodes = ["a"]\napiservers = ["b"]\n[ssh]\nuser = "x"\n', "this is a hosts.toml already"),
        (b"---\n- name: x\n  hosts: all\n", "this is a playbook"),
        (b"{", "what ansible-inventory --list writes: not JSON"),
        (b"hello\n", "no NODE_IPS"),
        (b"\n" * 1_000_000 + b"x", "no NODE_IPS"),
        (b"x\n" * 1_000_000, "looks like no inventory, and is too large for the runbook's environment.sh"),
    ],
)
def test_what_is_no_source(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        source.read(str(path), source.Flags()).config(None, None)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_folder_names_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "hosts.yaml").touch()
    with pytest.raises(UsageError, match=f"is a folder; name the file in it, such as {tmp_path}/hosts.yaml"):
        source.read(str(tmp_path), source.Flags())


def test_a_file_of_100_mb(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(UsageError, match="cannot be read: has more than 16 MB"):
        source.read(str(tmp_path / "file"), source.Flags())


def test_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "file")
    with pytest.raises(UsageError, match="is empty"):
        source.read(str(tmp_path / "file"), source.Flags())


def test_a_name_that_cannot_be_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: embedded null byte"):
        source.read("a\0b", source.Flags())


def test_comments_in_another_encoding() -> None:
    assert kind_of(text_of("# 集群\n[kube_node]\nn1\n".encode("gb18030"), PLACE), PLACE) is Kind.INI


@pytest.mark.parametrize(
    ("given", "flags", "words"),
    [
        ("hosts", source.Flags(kubeconfig="x"), "--kubeconfig is for --from kubectl"),
        ("hosts", source.Flags(context="x"), "--context is for --from kubectl"),
        ("kubectl", source.Flags(nodes_group="x"), "--nodes-group is for an Ansible inventory"),
        ("kubectl", source.Flags(apiservers_group="x"), "--apiservers-group is for an Ansible inventory"),
    ],
)
def test_flags_of_another_source(given: str, flags: source.Flags, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        source.read(given, flags)
