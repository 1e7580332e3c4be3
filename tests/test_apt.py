"""What of Debian as a mirror is pure: the size that apt announces, and how far the file has come."""

import os
from pathlib import Path

import pytest

from tasks.core.errors import StepError
from tasks.core.nginx import apt

_URL = "'http://mirror.example/debian/pool/main/n/nginx/nginx_1.26.3"
_ORIG = f"{_URL}.orig.tar.gz' nginx_1.26.3.orig.tar.gz 1260179 SHA256:69ee2b237744036e61d24b836668aad3"
_SIGNATURE = f"{_URL}.orig.tar.gz.asc' nginx_1.26.3.orig.tar.gz.asc 473 SHA256:0f"
_DEBIAN = f"{_URL}-3.debian.tar.xz' nginx_1.26.3-3.debian.tar.xz 80664 SHA256:0e"


@pytest.mark.parametrize(
    ("uris", "size"),
    [
        ("", None),
        (_ORIG, 1260179),
        (f"{_ORIG}\n{_DEBIAN}\n", 1260179),
        (f"{_DEBIAN}\n{_SIGNATURE}\n{_ORIG}\n", 1260179),
        (f"{_DEBIAN}\n{_SIGNATURE}\n", None),
    ],
)
def test_the_size_that_apt_announces(uris: str, size: int | None) -> None:
    assert apt._size(uris) == size


def test_the_bytes_that_have_come(tmp_path: Path) -> None:
    file = tmp_path / "nginx_1.26.3.orig.tar.gz"
    assert apt._bytes_of(file) == 0
    file.write_bytes(b"x" * 512)
    assert apt._bytes_of(file) == 512


def test_a_machine_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StepError) as caught:
        apt.download("trixie", "1.26.3", tmp_path / "target", lambda done, total: None)
    assert caught.value.message == "this machine has no apt-get"
    assert list(tmp_path.iterdir()) == []


APT_GET = """#!/bin/sh
case "$*" in
*indextargets*) echo "http://mirror.example Debian Debian" ;;
*--download-only*) while :; do head -c 100000 /dev/zero; done > nginx_1.26.3.orig.tar.gz ;;
esac
"""


def test_a_tarball_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in (("apt-get", APT_GET), ("apt-cache", "#!/bin/sh\necho Version: 1.26.3-3\n")):
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(apt, "MOST", 1 << 20)
    with pytest.raises(StepError, match="sends more than 1 MB"):
        apt.download("trixie", "1.26.3", tmp_path / "target", lambda done, total: None)
    assert not (tmp_path / "target").exists()
