"""How the watch comes to a node and goes: templates/watch.sh, but for what it asks of systemd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.core.facts.paths import UNIT, WATCH, WATCH_UNIT

from .test_scripts import ALL, ALL_FUNCTIONS, Place, functions, keep, place, shell

__all__ = ["place", "shell"]

NAME = "0123456789"
OLD, NEW = {WATCH: b"old", WATCH_UNIT: b"old unit"}, {WATCH: b"new", WATCH_UNIT: b"new unit"}
SYSTEMD = """
    systemctl() {
      echo "systemctl $*" >> "$lock.did"
      case $1 in
        enable) shift; mkdir -p "${links_to%/*}"
          for it; do ln -sfn "$watch_path" "${links_to%/*}/$it"; done ;;
        daemon-reload) [ "$broken" != daemon-reload ] ;;
        start | restart) ! grep -q "$broken" "$watcher" ;;
        is-active)
          if [ "$3" = kube-nginx.service ]; then [ -z "$stopped" ]; else ! grep -q "$broken" "$watcher"; fi ;;
      esac
    }
    timeout() { shift; "$@"; }
    journalctl() { echo its last words; }
"""


def there(place: Place) -> dict[str, bytes]:
    """The files of the watch that are in use."""
    paths = {WATCH: Path(place.proxy.prefix, "sbin", WATCH), WATCH_UNIT: place.unit.parent / WATCH_UNIT}
    return {name: path.read_bytes() for name, path in paths.items() if path.exists()}


def use(place: Place, files: dict[str, bytes]) -> None:
    place.use(ALL)
    use_watch(place, files)


def use_watch(place: Place, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        folder = Path(place.proxy.prefix, "sbin") if name == WATCH else place.unit.parent
        (folder / name).write_bytes(content)


def run(place: Place, watch: str, broken: str = "nothing", stopped: str = "", release: str = NAME) -> str:
    """What is said of it; the calls of systemctl are in `did`."""
    given: dict[str, Any] = {"watch": watch, "release": release, "broken": broken, "stopped": stopped}
    call = f'{SYSTEMD}\nwatch_over && echo done || echo "failed: $why"'
    return functions(place, call, until=ALL_FUNCTIONS, **given).stdout.strip()


def did(place: Place) -> list[str]:
    record = place.unit.parent / "lock.did"
    return record.read_text().splitlines() if record.exists() else []


@pytest.mark.parametrize("before", [{}, OLD, {WATCH: b"half"}])
def test_it_comes(place: Place, before: dict[str, bytes]) -> None:
    use(place, before)
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, "1") == "done"
    assert there(place) == NEW
    assert "systemctl enable kube-nginx-watch.service" in did(place)
    assert "systemctl restart kube-nginx-watch.service" in did(place)
    assert not any(".part" in name or "/." in name for name in place.tree())


@pytest.mark.parametrize("broken", ["nothing", "new"])
def test_it_comes_with_the_first_of_the_service(place: Place, broken: str) -> None:
    """systemd reads both units at once, and starts both."""
    keep(place, NAME, {**ALL, **NEW})
    Path(place.proxy.prefix, "sbin").mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"watch": "1", "release": NAME, "action": "restart", "boot": "1"}
    given |= {"was_enabled": "0", "was_active": "0"}
    call = f"{SYSTEMD}\nof_systemd() {{ :; }}\nwatch_along && boots && watch_over && echo done"
    done = functions(place, call, until=ALL_FUNCTIONS, broken=broken, stopped="", **given).stdout.strip()
    watch = "kube-nginx-watch.service"
    calls = [f"systemctl enable kube-nginx.service {watch}", f"systemctl is-active -q {watch}"]
    started = [] if broken == "nothing" else [f"systemctl start {watch}"]
    assert did(place)[:3] == calls + started
    assert (done, there(place)) == (("done", NEW) if broken == "nothing" else ("", {}))


@pytest.mark.parametrize("before", [{}, OLD])
@pytest.mark.parametrize("change", ["1", "0"])
def test_it_is_as_before_where_the_change_is_taken_back(
    place: Place, before: dict[str, bytes], change: str
) -> None:
    use(place, before)
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, change) == "done"
    assert there(place) == (NEW if change == "1" else {})
    assert run(place, "back", release="") == "done"
    assert there(place) == before


def test_it_goes_back_to_one_under_another_prefix(place: Place, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"old")
    before = {WATCH_UNIT: f"[Service]\nExecStart={elsewhere} run -c /old -u old\n".encode()}
    use(place, before)
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, "1") == "done"
    assert run(place, "back", release="") == "done"
    assert there(place)[WATCH_UNIT] == before[WATCH_UNIT]


def test_it_stays_as_it_is(place: Place) -> None:
    use(place, OLD)
    assert run(place, "") == "done"
    assert (there(place), did(place)) == (OLD, [])


def test_it_goes(place: Place) -> None:
    use(place, OLD)
    assert run(place, "0") == "done"
    assert there(place) == {}
    assert "systemctl disable --now kube-nginx-watch.service" in did(place)


UNIT_OF = "[Service]\nExecStart=/w run -c /x/kube-nginx.conf -u {user}{more}\n"


@pytest.mark.parametrize("more", ["", " -m /run/w.prom"])
def test_it_goes_with_a_release_of_another_user(place: Place, more: str) -> None:
    """As a rollback brings it: sessions of a user who serves no longer say nothing."""
    watch = UNIT_OF.format(user="new", more=more).encode()
    place.use(ALL | {UNIT: b"[Service]\nUser=old\n"})
    use_watch(place, {WATCH: b"old", WATCH_UNIT: watch})
    assert run(place, "") == "done"
    assert there(place)[WATCH_UNIT] == UNIT_OF.format(user="old", more=more).encode()
    assert did(place)[-2:] == [
        "systemctl restart kube-nginx-watch.service",
        "systemctl is-active -q kube-nginx-watch.service",
    ]
    before = did(place)
    assert run(place, "") == "done"
    assert did(place) == before


def test_it_goes_with_a_release_under_another_prefix(place: Place) -> None:
    place.use(ALL | {UNIT: b"[Service]\nUser=u\nExecStart=/old/nginx -c /old/kube-nginx.conf -p /old\n"})
    use_watch(place, {WATCH: b"old", WATCH_UNIT: UNIT_OF.format(user="u", more="").encode()})
    assert run(place, "") == "done"
    assert b"run -c /old/kube-nginx.conf -u u\n" in there(place)[WATCH_UNIT]


def test_it_goes_where_root_serves_again(place: Place) -> None:
    place.use(ALL | {UNIT: b"[Service]\n"})
    use_watch(place, {WATCH: b"old", WATCH_UNIT: UNIT_OF.format(user="new", more="").encode()})
    assert run(place, "") == "done"
    assert there(place) == {}


@pytest.mark.parametrize("by", ["in use", "kept"])
def test_its_filter_goes_where_its_program_was_gone(place: Place, by: str) -> None:
    """What ends it could not do so then; a release has the program, too."""
    said = place.unit.parent / "said"
    cleaner = f'#!/bin/sh\necho "$1" >> {said}\n'.encode()
    use(place, {**OLD, WATCH: cleaner} if by == "in use" else {WATCH_UNIT: b"old unit"})
    keep(place, NAME, {**ALL, WATCH: cleaner})
    Path(place.proxy.prefix, "sbin", WATCH).chmod(0o755) if by == "in use" else None
    assert run(place, "0") == "done"
    assert (there(place), said.read_text()) == ({}, "clean\n")


def test_it_is_told_that_it_cannot_be_removed(place: Place) -> None:
    use(place, OLD)
    assert run(place, "0", broken="daemon-reload").endswith("failed: it cannot be removed")


def test_one_without_a_unit_is_ended(place: Place) -> None:
    use(place, {WATCH: b"old"})
    assert run(place, "0") == "done"
    assert "systemctl stop kube-nginx-watch.service" in did(place)


def test_a_stopped_service_does_not_start_for_it(place: Place) -> None:
    use(place, {})
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, "1", stopped="1") == "done"
    assert there(place) == NEW
    assert not [line for line in did(place) if "restart" in line]


def test_one_that_does_not_start_makes_room_for_the_one_of_before(place: Place) -> None:
    use(place, OLD)
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, "1", broken="new") == "failed: it does not start; the one of before runs again"
    assert there(place) == OLD


def test_one_that_cannot_be_put_in_place_leaves_the_one_of_before_running(place: Place) -> None:
    """Where the disk is full, say; here something is in the way that cannot be removed."""
    use(place, OLD)
    keep(place, NAME, {**ALL, **NEW})
    (place.unit.parent / ".kube-nginx.service.watch" / "full").mkdir(parents=True)
    assert run(place, "1").endswith("failed: its files could not be put in place")
    assert (there(place), did(place)) == (OLD, [])
    assert not any(".kube-nginx-watch" in name for name in place.tree())


@pytest.mark.parametrize("before", [{}, OLD])
def test_one_that_does_not_start_goes(place: Place, before: dict[str, bytes]) -> None:
    use(place, before)
    keep(place, NAME, {**ALL, **NEW})
    assert run(place, "1", broken=".") == "failed: it does not start; it was removed"
    assert there(place) == {}


def test_one_whose_files_are_there_is_only_started(place: Place) -> None:
    use(place, OLD)
    assert run(place, "1", release="") == "done"
    assert there(place) == OLD
    assert "systemctl restart kube-nginx-watch.service" in did(place)
