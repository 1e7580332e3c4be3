"""Debian as a mirror, with an apt of the test's own."""

import os
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.nginx import apt

APT_GET = """#!/bin/sh
case "$*" in
*indextargets*) echo "Other Other http://other.example"; echo "{origin} Debian http://mirror.example" ;;
*update*) grep -q "^deb-src http://mirror.example trixie main$" sources.list || exit 9 ;;
*print-uris*) {listed} ;;
*nginx=1.26.3-3*) {serve} ;;
esac
"""
APT_HELPER = """#!/bin/sh
while [ "$1" != download-file ]; do shift; done
[ "$4" = SHA256:12 ] || exit 9
{fetched}
"""
LISTED = "echo \"'http://mirror.example/a.asc' nginx_1.26.3.orig.tar.gz.asc 455 SHA256:12\""
APT_CACHE = "#!/bin/sh\nprintf 'Version: %s\\n' 1.26.2-1 1.26.3-2 1.26.3-3 1.26.30-1\n"
TARBALL = "nginx_1.26.3.orig.tar.gz"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target"


def install(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    serve: str,
    origin: str = "Debian",
    listed: str = ":",
    fetched: str = ":",
) -> None:
    """Puts an apt into PATH that gets the source package with the command `serve`."""
    apt_get = APT_GET.replace("{serve}", serve).replace("{origin}", origin)
    apt_get = apt_get.replace("{listed}", listed)
    helper = APT_HELPER.replace("{fetched}", fetched)
    for name, script in (("apt-get", apt_get), ("apt-cache", APT_CACHE), ("apt-helper", helper)):
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_the_tarball_of_a_suite(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, tmp_path, f"echo nginx > {TARBALL}")
    apt.download("trixie", "1.26.3", target)
    assert target.read_text() == "nginx\n"


@pytest.mark.parametrize(
    ("listed", "fetched", "signature"),
    [
        (LISTED, 'echo "$2" > "$3"', "http://mirror.example/a.asc\n"),
        (LISTED, 'echo half > "$3"; exit 100', None),
        (":", 'echo "$2" > "$3"', None),
    ],
    ids=["served", "listed only", "not listed"],
)
def test_the_signature_of_a_suite(
    tmp_path: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    listed: str,
    fetched: str,
    signature: str | None,
) -> None:
    """The tarball comes all the same."""
    install(monkeypatch, tmp_path, f"echo nginx > {TARBALL}", listed=listed, fetched=fetched)
    beside = tmp_path / "target.asc"
    apt.download("trixie", "1.26.3", target, beside)
    assert target.read_text() == "nginx\n"
    assert (beside.read_text() if beside.exists() else None) == signature


@pytest.mark.parametrize(
    ("version", "serve", "origin", "message"),
    [
        ("1.26.3", "true", "Debian", f"suite trixie serves no {TARBALL}"),
        ("1.26.3", "echo 'E: no' >&2; exit 100", "Debian", f"apt failed for {TARBALL}: E: no"),
        ("1.26.3", f"exec cat /dev/zero > {TARBALL}", "Debian", f"apt failed for {TARBALL}: it was killed"),
        ("1.26.3", "exec sleep 30", "Debian", f"apt did not end within 0.5 s for {TARBALL}"),
        ("1.30.6", "true", "Debian", "suite trixie has nginx 1.26.2-1, 1.26.3-2, 1.26.3-3, 1.26.30-1"),
        (
            "1.26.3",
            "true",
            "Else",
            "this machine's apt knows no Debian archive (apt-get update was never run?)",
        ),
    ],
    ids=["nothing", "failing", "without end", "hanging", "another version", "no Debian"],
)
def test_no_tarball(
    tmp_path: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    serve: str,
    origin: str,
    message: str,
) -> None:
    install(monkeypatch, tmp_path, serve, origin)
    monkeypatch.setattr(apt, "MOST", 1 << 20)
    monkeypatch.setattr(apt, "LONGEST", 0.5)
    with pytest.raises(StepError) as caught:
        apt.download("trixie", version, target)
    assert caught.value.message == message
    assert not target.exists()


def test_a_machine_without_apt(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError, match="this machine has no apt-get"):
        apt.download("trixie", "1.26.3", target)
    assert list(tmp_path.iterdir()) == []
