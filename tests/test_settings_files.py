import os
from pathlib import Path

import pytest

from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Settings
from tasks.core.config.settings import SettingsError, find, load


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"nodes = [", "not TOML"),
        (b"nodes = 1\nnodes = 2", "not TOML"),
        (b"\xff", "not UTF-8"),
        (b"a=" + b"[" * 20000, "not TOML"),
        (b"a=" + b"1" * 5000, "not TOML"),
        (b"", "nodes: missing"),
    ],
)
def test_files_that_are_no_hosts_toml(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert caught.value.problems[0].startswith(f"{path}: ")
    assert words in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", tmp_path / "nul\0"):
        with pytest.raises(SettingsError):
            load(path)


def test_a_file_whose_reading_fails() -> None:
    with pytest.raises(SettingsError, match="cannot be read: Input/output error"):
        load(Path("/proc/self/mem"))  # fails for root too, unlike a file without permissions


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    path.write_bytes(b'\xef\xbb\xbfnodes = ["a"]\r\napiservers = ["b"]\r\n')
    assert load(path).nodes == (NodeSpec("a", "a"),)


def test_a_file_is_checked_once_for_as_long_as_it_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hosts.toml"

    def rewritten(text: str) -> Settings:
        """Of one size and time, in the same place."""
        path.write_text(text)
        os.utime(path, (1, 1))
        return load(path)

    first = rewritten('nodes = ["a"]\napiservers = ["x"]\n')
    assert load(path) is first
    assert rewritten('nodes = ["b"]\napiservers = ["x"]\n').nodes == (NodeSpec("b", "b"),)
    for _ in range(2):
        with pytest.raises(SettingsError, match="apiservers: must be a list"):
            rewritten('nodes = ["b"]\napiservers = "xxx"\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    moved = rewritten('nodes = ["a"]\napiservers = ["x"]\n')
    assert (moved.nodes, moved.ssh.config) == (first.nodes, tmp_path / ".ssh" / "config")


class TestFind:
    @pytest.fixture(autouse=True)
    def places(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for folder in ("here", "beside"):
            (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / "here")
        monkeypatch.delenv("KUBE_NGINX_HOSTS", raising=False)
        self.root, self.beside = tmp_path, tmp_path / "beside"

    def write(self, name: str) -> Path:
        (self.root / name).touch()
        return self.root / name

    def test_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        beside = self.write("beside/hosts.toml")
        assert find(beside=self.beside) == beside
        self.write("here/hosts.toml")
        assert find(beside=self.beside) == Path("hosts.toml")
        configured = self.write("configured.toml")
        assert find(str(configured), self.beside) == configured
        named = self.write("named.toml")
        monkeypatch.setenv("KUBE_NGINX_HOSTS", str(named))
        assert find(str(configured), self.beside) == named

    def test_beside_may_be_the_fabfile(self) -> None:
        expected = self.write("beside/hosts.toml")
        assert find(beside=self.write("beside/fabfile.py")) == expected

    def test_a_relative_configured_file_may_be_beside(self) -> None:
        expected = self.write("beside/own.toml")
        assert find("own.toml", self.beside) == expected

    def test_nothing_found(self) -> None:
        with pytest.raises(SettingsError) as caught:
            find(beside=self.beside)
        text = str(caught.value)
        assert f"{self.root}/here/hosts.toml" in text
        assert f"{self.beside}/hosts.toml" in text
        assert "KUBE_NGINX_HOSTS" in text

    def test_a_named_file_that_is_missing_is_not_replaced_by_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.write("here/hosts.toml")
        with pytest.raises(SettingsError, match=r"kube_nginx\.hosts_file names it"):
            find("missing.toml")
        monkeypatch.setenv("KUBE_NGINX_HOSTS", "missing.toml")
        with pytest.raises(SettingsError, match="KUBE_NGINX_HOSTS names it"):
            find()
