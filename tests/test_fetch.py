"""The tarball from mirrors that behave and mirrors that do not: real HTTP, on a port of this machine."""

import gzip
import io
import re
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

import pytest

from tasks.core.config.model import Build
from tasks.core.errors import StepError
from tasks.core.nginx import apt, fetch

VERSION = "1.2.3"
NAME = f"nginx-{VERSION}.tar.gz"
TOP = f"nginx-{VERSION}"
HINT = "add a mirror that you reach to build.mirrors: a URL prefix, file:///folder/, or apt:SUITE"


def member(name: str, kind: bytes = tarfile.REGTYPE, linkname: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, linkname
    return info


def tarball(*extra: tarfile.TarInfo) -> bytes:
    """A small nginx-1.2.3.tar.gz; `extra` are entries beside the good ones."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        archive.addfile(member(TOP, tarfile.DIRTYPE))
        for name, content in (("configure", b"#!/bin/sh\n"), ("src/nginx.c", b"int main(void);\n" * 200)):
            info = member(f"{TOP}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in extra:
            archive.addfile(info)
    return raw.getvalue()


GOOD = tarball()
FLIPPED = GOOD[:100] + bytes([GOOD[100] ^ 1]) + GOOD[101:]


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


Answer = Callable[[BaseHTTPRequestHandler], None]


def serve(content: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return answer


def no_length(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(GOOD)


def hang_up(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(GOOD)))
    request.end_headers()
    request.wfile.write(GOOD[: len(GOOD) // 2])


def missing(request: BaseHTTPRequestHandler) -> None:
    request.send_error(404)


def broken(request: BaseHTTPRequestHandler) -> None:
    request.send_error(503)


def say_nothing(request: BaseHTTPRequestHandler) -> None:
    request.rfile.read(1)  # returns when the client hangs up


def half_then_nothing(request: BaseHTTPRequestHandler) -> None:
    hang_up(request)
    request.wfile.flush()
    request.rfile.read(1)


def no_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def without_end(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    with suppress(OSError):  # the client has left
        while True:
            request.wfile.write(bytes(100_000))


def drop_by_drop(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    with suppress(OSError):
        while not select([request.rfile], [], [], 0.02)[0]:
            request.wfile.write(bytes(1))


class Mirror:
    """An HTTP server whose folders, /0/, /1/ and so on, answer differently; it notes what it is asked."""

    def __init__(self, answers: tuple[Answer, ...]) -> None:
        asked: list[str] = []
        self.asked = asked

        self.beside = beside = dict[str, bytes]()  # signatures and keys, by their paths
        self.asked_beside = asked_beside = list[str]()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith((".asc", ".key")):
                    asked_beside.append(self.path)
                    serve(beside[self.path])(self) if self.path in beside else missing(self)
                    return
                asked.append(self.path)
                answers[int(self.path.split("/")[1])](self)

            def log_message(self, *args: Any, **kwargs: Any) -> None:
                """Not on the tests' stderr."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False  # server_close then waits: no thread outlives its test
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        port = self.server.server_address[1]
        self.prefixes = tuple(f"http://127.0.0.1:{port}/{n}/" for n in range(len(answers)))

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


Mirrors = Callable[..., Mirror]


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirrors]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running: list[Mirror] = []

    def start(*answers: Answer) -> Mirror:
        running.append(Mirror(answers))
        return running[-1]

    yield start
    for mirror in running:
        mirror.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "here"


def build_of(content: bytes, *prefixes: str) -> Build:
    return replace(Build(), version=VERSION, sha256=digest(content), mirrors=prefixes)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def refusal(build: Build, folder: Path, timeout: float = 5) -> StepError:
    with pytest.raises(StepError) as caught:
        fetch.fetch(build, folder, timeout)
    return caught.value


@pytest.mark.parametrize("answer", [serve(GOOD), no_length])
def test_the_right_tarball_is_transferred_once(mirrors: Mirrors, folder: Path, answer: Answer) -> None:
    mirror = mirrors(answer)
    build = build_of(GOOD, *mirror.prefixes)

    assert fetch.fetch(build, folder).transferred is True
    assert listing(folder) == [NAME]
    assert fetch.tarball_path(build, folder).read_bytes() == GOOD

    assert fetch.fetch(build, folder).transferred is False
    assert listing(folder) == [NAME]
    assert mirror.asked == [f"/0/{NAME}"]


def test_no_request_for_a_tarball_that_is_there(mirrors: Mirrors, folder: Path) -> None:
    mirror = mirrors(serve(FLIPPED))
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(GOOD)
    assert fetch.fetch(build_of(GOOD, *mirror.prefixes), folder).transferred is False
    assert (mirror.asked, listing(folder)) == ([], [NAME])


@pytest.mark.parametrize("there", [b"", GOOD[:-1], FLIPPED], ids=["empty", "cut", "flipped"])
def test_a_wrong_file_is_replaced(mirrors: Mirrors, folder: Path, there: bytes) -> None:
    mirror = mirrors(serve(GOOD))
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(there)
    assert fetch.fetch(build_of(GOOD, *mirror.prefixes), folder).transferred is True
    assert (listing(folder), (folder / NAME).read_bytes()) == ([NAME], GOOD)


def test_a_wrong_file_does_not_outlive_a_failure(mirrors: Mirrors, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(FLIPPED)
    refusal(build_of(GOOD, *mirrors(missing).prefixes), folder)
    assert listing(folder) == []


@pytest.mark.parametrize("part", [f".{NAME}.0a1b2c3d.part", f".{NAME}.part", f"{NAME}.part"])
def test_what_an_interrupted_run_left_is_never_taken(mirrors: Mirrors, folder: Path, part: str) -> None:
    folder.mkdir(parents=True)
    (folder / part).write_bytes(GOOD)
    refusal(build_of(GOOD, *mirrors(missing).prefixes), folder)
    assert listing(folder) == [part]

    mirror = mirrors(serve(GOOD))
    assert fetch.fetch(build_of(GOOD, *mirror.prefixes), folder).transferred is True
    assert (mirror.asked, listing(folder)) == ([f"/0/{NAME}"], sorted([part, NAME]))


def test_one_flipped_byte(mirrors: Mirrors, folder: Path) -> None:
    mirror = mirrors(serve(FLIPPED), serve(GOOD))
    error = refusal(build_of(GOOD, *mirror.prefixes), folder)
    assert error.message == f"{NAME} from {mirror.prefixes[0]} is not the pinned file; it was removed"
    assert error.tail == f"sha256 expected {digest(GOOD)}\nsha256 received {digest(FLIPPED)}"
    assert error.hint == "do not use that mirror, or correct build.sha256 if the pin is wrong"
    assert listing(folder) == []
    assert mirror.asked == [f"/0/{NAME}"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (missing, "answered 404 Not Found"),
        (broken, "answered 503 Service Unavailable"),
        (hang_up, f"hung up after {len(GOOD) // 2} of {len(GOOD)} bytes"),
        (say_nothing, "sent nothing in time"),
        (half_then_nothing, "sent nothing in time"),
        (no_http, "SSH-2.0-OpenSSH_9.2"),
    ],
)
def test_a_mirror_that_fails(mirrors: Mirrors, folder: Path, answer: Answer, reason: str) -> None:
    mirror = mirrors(answer, serve(GOOD))
    began = monotonic()
    error = refusal(build_of(GOOD, mirror.prefixes[0]), folder, timeout=0.3)
    assert monotonic() - began < 30
    assert error.message == f"no mirror has {NAME}"
    assert error.tail.strip() == f"{mirror.prefixes[0]}: {reason}"
    assert error.hint == HINT
    assert listing(folder) == []

    assert fetch.fetch(build_of(GOOD, *mirror.prefixes), folder, 0.3).transferred is True
    assert (listing(folder), (folder / NAME).read_bytes()) == ([NAME], GOOD)
    assert mirror.asked == [f"/0/{NAME}", f"/0/{NAME}", f"/1/{NAME}"]


@pytest.mark.parametrize(
    ("answer", "seconds", "reason"),
    [
        (without_end, 60.0, "sends more than 1 MB, and nginx's source has 1.2 MB"),
        (drop_by_drop, 0.5, r"has sent \d+ bytes in 0.5 s, and is not at its end"),
    ],
)
def test_a_mirror_that_does_not_come_to_its_end(
    mirrors: Mirrors,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    seconds: float,
    reason: str,
) -> None:
    monkeypatch.setattr(apt, "MOST", 1 << 20)
    monkeypatch.setattr(apt, "LONGEST", seconds)
    mirror = mirrors(answer)
    error = refusal(build_of(GOOD, *mirror.prefixes), folder)
    assert re.fullmatch(f"{mirror.prefixes[0]}: {reason}", error.tail)
    assert listing(folder) == []


def test_each_mirrors_reason_is_told(
    mirrors: Mirrors, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get there
    first, second = mirrors(missing, hang_up).prefixes
    closed = mirrors()
    port = closed.server.server_address[1]
    closed.close()
    rest = (f"http://127.0.0.1:{port}/", tmp_path.as_uri() + "/", "apt:trixie")
    error = refusal(build_of(GOOD, first, second, *rest), folder)
    assert error.tail.splitlines() == [
        f"{first}: answered 404 Not Found",
        f"{second}: hung up after {len(GOOD) // 2} of {len(GOOD)} bytes",
        f"{rest[0]}: Connection refused",
        f"{rest[1]}: No such file or directory",
        "apt:trixie: this machine has no apt-get",
    ]
    assert listing(folder) == []


@pytest.mark.parametrize("end", ["/", ""])
def test_a_folder_as_mirror(folder: Path, tmp_path: Path, end: str) -> None:
    source = tmp_path / "mirror"
    source.mkdir()
    (source / NAME).write_bytes(GOOD)
    assert fetch.fetch(build_of(GOOD, source.as_uri() + end), folder).transferred is True
    assert (listing(folder), (folder / NAME).read_bytes()) == ([NAME], GOOD)
    assert listing(source) == [NAME]


@pytest.mark.parametrize(
    "entry",
    [
        member("../x"),
        member("/etc/x"),
        member(f"{TOP}/../x"),
        member(f"{TOP}/../{TOP}/../../x"),
        member("x"),
        member("nginx-1.2.30/x"),
        member(f"./{TOP}-x/x"),
        member(".."),
        member(f"{TOP}/x", tarfile.SYMTYPE, "/etc/passwd"),
        member(f"{TOP}/x", tarfile.SYMTYPE, "configure"),
        member(f"{TOP}/x", tarfile.LNKTYPE, f"{TOP}/configure"),
        member(f"{TOP}/x", tarfile.CHRTYPE),
        member(f"{TOP}/x", tarfile.BLKTYPE),
        member(f"{TOP}/x", tarfile.FIFOTYPE),
    ],
    ids=lambda entry: f"{entry.name} of type {entry.type.decode()}",
)
def test_a_pinned_tarball_with_a_strange_entry(
    mirrors: Mirrors, folder: Path, entry: tarfile.TarInfo
) -> None:
    content = tarball(entry)
    error = refusal(build_of(content, *mirrors(serve(content)).prefixes), folder)
    assert error.message == f"{NAME} holds entries outside its folder: {entry.name}"
    assert listing(folder) == []


@pytest.mark.parametrize("entry", [member(f"./{TOP}/x"), member(f"{TOP}/..x"), member(f"{TOP}/a/./x")])
def test_a_pinned_tarball_with_unusual_names_inside_its_folder(
    mirrors: Mirrors, folder: Path, entry: tarfile.TarInfo
) -> None:
    content = tarball(entry)
    assert fetch.fetch(build_of(content, *mirrors(serve(content)).prefixes), folder).transferred is True
    assert listing(folder) == [NAME]


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>Please log in</html>", gzip.compress(b"no tar"), GOOD[: len(GOOD) // 2]],
    ids=["empty", "html", "gzip of something else", "cut"],
)
def test_a_pinned_file_that_is_no_tarball(mirrors: Mirrors, folder: Path, content: bytes) -> None:
    error = refusal(build_of(content, *mirrors(serve(content)).prefixes), folder)
    assert re.match(r"\S+ is not a tarball: .", error.message)
    assert listing(folder) == []


def damaged() -> bytes:
    """A gzip whose first blocks are a tar's, and whose next one is of a type that there is not."""
    packer = zlib.compressobj(wbits=31)
    info = member(f"{TOP}/a")
    info.size = 60_000
    return packer.compress(info.tobuf() + bytes(20_000)) + packer.flush(zlib.Z_FULL_FLUSH) + b"\x07" * 100


def test_a_pinned_tarball_that_is_damaged(mirrors: Mirrors, folder: Path) -> None:
    content = damaged()
    error = refusal(build_of(content, *mirrors(serve(content)).prefixes), folder)
    assert error.message.startswith(f"{NAME} is not a tarball: ")
    assert listing(folder) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "kept"
    error = refusal(build_of(GOOD, "http://127.0.0.1:9/"), folder)
    assert error.message == f"cannot keep {NAME} in {folder}: Not a directory"
    assert error.hint == "set build.work_dir to a folder that you may write to"
    assert listing(tmp_path) == ["file"]


def test_what_is_read_is_the_pinned_file(folder: Path) -> None:
    build = build_of(GOOD, "http://127.0.0.1:9/")
    folder.mkdir(parents=True, exist_ok=True)
    fetch.tarball_path(build, folder).write_bytes(GOOD)
    assert fetch.read(build, folder) == GOOD
    fetch.tarball_path(build, folder).write_bytes(GOOD + b"x")
    with pytest.raises(StepError, match="is not the pinned file"):
        fetch.read(build, folder)
