"""The `fab` entry point of this checkout: the library's tasks, and a lab of real hosts to try them on."""

from __future__ import annotations

from invoke import Collection

from tasks import ns
from tests.lab import tasks as lab

ns.add_collection(Collection.from_module(lab), "lab")
ns.configure(
    {"kube_nginx": {"unreachable_hint": "if these are the lab's nodes: fab lab.up starts or mends them"}}
)
