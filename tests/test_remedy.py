"""What brings the service up: never what cannot work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tasks.core.config.model import Proxy
from tasks.core.facts.facts import Facts, File, Holder
from tasks.core.facts.paths import UNIT_PATH, binary_path, conf_path
from tasks.core.facts.remedy import UNMASK, brings_up

PROXY = Proxy()
(LISTEN,) = PROXY.listen
BINARY, CONF = binary_path(PROXY), conf_path(PROXY)
RUNNING = {"LoadState": "loaded", "ActiveState": "active", "SubState": "running"}
STOPPED = {"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead"}
FAILED = STOPPED | {"ActiveState": "failed", "SubState": "failed"}
RUNS = Facts(
    unit=RUNNING,
    files={path: File("x") for path in (BINARY, CONF, UNIT_PATH)},
    texts={CONF: f"stream {{\n    server {{\n        listen {LISTEN};\n    }}\n}}\n"},
    listening={LISTEN: None},
)
DEPLOY, START, RESTART = (f"fab {task} --limit {{nodes}}" for task in ("deploy", "start", "restart"))
HAPROXY = {LISTEN: Holder(7, "haproxy.service", "/usr/sbin/haproxy", "haproxy")}


@pytest.mark.parametrize(
    ("seen", "remedy"),
    [
        ({}, ""),
        ({"unit": STOPPED}, START),
        ({"unit": FAILED}, DEPLOY),
        ({"unit": STOPPED | {"ActiveState": "activating", "SubState": "auto-restart"}}, DEPLOY),
        ({"listening": {}}, RESTART),
        # what the node has does not listen there, whoever starts it
        ({"listening": {}, "texts": {CONF: "listen 127.0.0.1:84430;"}}, DEPLOY),
        ({"unit": STOPPED, "texts": {CONF: "listen 127.0.0.1:9443;"}}, DEPLOY),
        # the unit or a file of it is gone
        ({"unit": {}, "files": {}, "texts": {}}, DEPLOY),
        ({"unit": RUNNING | {"LoadState": "not-found"}}, DEPLOY),
        ({"unit": STOPPED, "files": {CONF: File("x"), UNIT_PATH: File("x")}}, DEPLOY),
        ({"unit": STOPPED | {"LoadState": "masked"}}, f"{UNMASK}; then {DEPLOY}"),
        (
            {"unit": STOPPED, "listening": HAPROXY},
            f"on the node: systemctl stop haproxy.service; or choose another proxy.listen; then {DEPLOY}",
        ),
        ({"unit": STOPPED, "listening": {LISTEN: Holder(7, "", BINARY, "kube-nginx")}}, DEPLOY),
        # beside a listener of ours somebody may have another address
        ({"listening": {LISTEN: None, replace(LISTEN, host="::"): HAPROXY[LISTEN]}}, ""),
    ],
)
def test_what_brings_it_up(seen: dict[str, Any], remedy: str) -> None:
    assert brings_up(replace(RUNS, **seen), PROXY) == remedy
