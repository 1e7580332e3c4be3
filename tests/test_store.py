"""The kept binaries: what is found again, and what never is."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.core.config.model import Build, Settings
from tasks.core.errors import KubeNginxError, UsageError
from tasks.core.nginx import build_commands, store
from tasks.core.nginx.build_commands import Inspected

CONTENT = b"\x7fELF" + bytes(range(256)) * 40
OTHER = b"\x7fELF another"


def settings_of(folder: Path) -> Settings:
    build = replace(Build(), version="1.2.3", work_dir=str(folder))
    return Settings(path=None, profile="recommended", nodes=(), apiservers=(), build=build)


def seen(content: bytes = CONTENT, arch: str = "x86_64", glibc: str = "2.34") -> Inspected:
    return Inspected("1.2.3", (), (), glibc, arch, sha256(content).hexdigest())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path)


def place(settings: Settings, arch: str = "x86_64") -> Path:
    return store.folder(settings) / "binaries" / build_commands.key(settings.build, arch)


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_kept_is_found(settings: Settings) -> None:
    kept = store.keep(settings, CONTENT, seen())
    folder = place(settings)
    assert asdict(kept) == {
        "path": str(folder / "kube-nginx"),
        "version": "1.2.3",
        "arch": "x86_64",
        "sha256": sha256(CONTENT).hexdigest(),
        "glibc": "2.34",
    }
    assert store.find(settings, "x86_64") == kept
    assert kept.read() == CONTENT
    assert listing(folder) == ["kube-nginx", "verified.json"]
    assert [(folder / name).stat().st_mode & 0o777 for name in listing(folder)] == [0o755, 0o644]
    assert json.loads((folder / "verified.json").read_text()) == asdict(kept)


def test_nothing_is_found_before_anything_is_kept(settings: Settings, tmp_path: Path) -> None:
    missing = settings_of(tmp_path / "missing")
    for empty in (settings, missing):
        assert store.find(empty, "x86_64") is None
        assert list(store.kept(empty)) == []
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("glibc", "needs"), [("2.34", "needs GLIBC_2.34"), ("", "needs no libc of the node")]
)
def test_the_summary(settings: Settings, glibc: str, needs: str) -> None:
    content = CONTENT * 130
    kept = store.keep(settings, content, seen(content, glibc=glibc))
    assert kept.summary == f"nginx 1.2.3 for x86_64, 1.3 MB, {needs}"


def flip(folder: Path) -> None:
    content = bytearray((folder / "kube-nginx").read_bytes())
    content[-1] ^= 1
    (folder / "kube-nginx").write_bytes(content)


def rebuild(folder: Path) -> None:
    (folder / "kube-nginx").write_bytes(OTHER)


def note(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / "verified.json").write_text(text)

    return change


def without_key(folder: Path) -> None:
    data = json.loads((folder / "verified.json").read_text())
    del data["sha256"]
    (folder / "verified.json").write_text(json.dumps(data))


def with_key(folder: Path) -> None:
    data = json.loads((folder / "verified.json").read_text())
    (folder / "verified.json").write_text(json.dumps(data | {"since": 1}))


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        rebuild,
        lambda folder: (folder / "kube-nginx").write_bytes(CONTENT[:-1]),
        lambda folder: (folder / "kube-nginx").write_bytes(b""),
        lambda folder: (folder / "kube-nginx").unlink(),
        lambda folder: (folder / "verified.json").unlink(),
        note(""),
        note("{"),
        note("[]"),
        note("null"),
        note("{}"),
        lambda folder: (folder / "verified.json").write_bytes(b"\xff\xfe"),
        without_key,
        with_key,
    ],
    ids=[
        "flipped byte",
        "built again",
        "cut",
        "emptied",
        "no binary",
        "no note",
        "empty note",
        "half a note",
        "note: list",
        "note: null",
        "note: no keys",
        "note: not UTF-8",
        "note: key missing",
        "note: key unknown",
    ],
)
def test_a_damaged_binary_is_not_found_until_it_is_kept_again(
    settings: Settings, damage: Callable[[Path], object]
) -> None:
    store.keep(settings, CONTENT, seen())
    damage(place(settings))
    assert store.find(settings, "x86_64") is None
    assert list(store.kept(settings)) == []

    again = store.keep(settings, CONTENT, seen())
    assert store.find(settings, "x86_64") == again
    assert again.read() == CONTENT
    assert listing(place(settings)) == ["kube-nginx", "verified.json"]


def test_a_binary_without_its_note_is_not_found(settings: Settings) -> None:
    place(settings).mkdir(parents=True)
    (place(settings) / "kube-nginx").write_bytes(CONTENT)
    assert store.find(settings, "x86_64") is None


def test_keeping_the_same_again_does_not_write_the_binary(settings: Settings) -> None:
    first = store.keep(settings, CONTENT, seen())
    before = Path(first.path).stat()
    assert store.keep(settings, CONTENT, seen()) == first
    after = Path(first.path).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_keeping_another_replaces_it(settings: Settings) -> None:
    store.keep(settings, CONTENT, seen())
    kept = store.keep(settings, OTHER, seen(OTHER))
    found = store.find(settings, "x86_64")
    assert found == kept
    assert kept.read() == OTHER


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"version": "1.2.4"}, False),
        ({"static": True}, False),
        ({"sha256": "0" * 64}, True),
        ({"mirrors": ("apt:trixie",)}, True),
        ({"hosts": ("build-1",)}, True),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_binary_of_other_settings(settings: Settings, change: dict[str, object], found: bool) -> None:
    kept = store.keep(settings, CONTENT, seen())
    other = replace(settings, build=replace(settings.build, **change))  # type: ignore[arg-type]
    assert store.find(other, "x86_64") == (kept if found else None)
    assert list(store.kept(other)) == ([kept] if found else [])


def test_each_architecture_has_its_own(settings: Settings) -> None:
    intel = store.keep(settings, CONTENT, seen())
    arm = store.keep(settings, OTHER, seen(OTHER, arch="aarch64"))
    static = replace(settings, build=replace(settings.build, static=True))
    store.keep(static, OTHER, seen(OTHER, arch="riscv64"))
    assert store.find(settings, "aarch64") == arm
    assert store.find(settings, "riscv64") is None
    assert list(store.kept(settings)) == [arm, intel]
    flip(place(settings, "aarch64"))
    assert list(store.kept(settings)) == [intel]


def test_what_is_read_is_what_was_verified(settings: Settings) -> None:
    kept = store.keep(settings, CONTENT, seen())
    flip(place(settings))
    with pytest.raises(KubeNginxError, match="is not what was verified: run fab build --force"):
        kept.read()


def test_the_note_does_not_say_where_the_binary_is(settings: Settings, tmp_path: Path) -> None:
    kept = store.keep(settings, CONTENT, seen())
    note(json.dumps(asdict(kept) | {"path": "/bin/sh"}))(place(settings))
    assert store.find(settings, "x86_64") == kept


def test_binaries_are_kept_where_nobody_else_comes(settings: Settings) -> None:
    binaries = place(settings).parent
    binaries.mkdir()
    binaries.chmod(0o755)  # as it was once made
    store.keep(settings, CONTENT, seen())
    assert binaries.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("which", [0, 1, 2], ids=["the binary's folder", "binaries", "the work folder"])
def test_a_folder_that_others_may_write_is_refused(settings: Settings, which: int) -> None:
    store.keep(settings, CONTENT, seen())
    folder = [place(settings), *place(settings).parents][which]
    folder.chmod(0o777)
    for look in (
        lambda: store.find(settings, "x86_64"),
        lambda: list(store.kept(settings)),
        lambda: store.keep(settings, CONTENT, seen()),
    ):
        with pytest.raises(UsageError) as caught:
            look()
        given = settings.build.work_dir
        assert str(caught.value).startswith(
            f'build.work_dir = "{given}" is not yours alone: others may write to {folder} (mode 777)'
        )


def test_the_folder_is_named_where_no_key_names_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", settings.build.work_dir)
    Path(settings.build.work_dir).chmod(0o777)
    unset = replace(settings, build=replace(settings.build, work_dir=""))
    with pytest.raises(UsageError) as caught:
        store.refuse_shared(unset)
    assert str(caught.value).startswith(
        f"build.work_dir (not set: {settings.build.work_dir}/kube-nginx) is not"
    )
