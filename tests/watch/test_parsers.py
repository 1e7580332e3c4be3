"""What comes from outside cannot break the program: kube-nginx.conf, the kernel's answers, an apiserver's."""

import ctypes
import random
import re
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from tests.watch.field import SOURCES, compile_watch

HERE = Path(__file__).parent
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
CONF = b"""
stream { # server 1.2.3.4:5;
    upstream backend {
        server 198.18.0.11:6443 max_fails=3 fail_timeout=30s; server [2001:2::13]:6443;
        server
            198.18.0.12:6443
            weight=5;
        server 198.18.0.11:6443;
        server unix:/run/a.sock; server name:6443; server 1.2.3.4; server 1.2.3.4:0; server 1.2.3.4:65536;
    }
    server { listen 127.0.0.1:8443; proxy_pass backend; }
}
"""
SEQUENCE = 7


@pytest.fixture(scope="module")
def cc() -> str:
    found = shutil.which("cc")
    if not found:
        pytest.skip("needs a C compiler")
    return found


class Apiserver(ctypes.Structure):
    """`struct apiserver`."""

    _fields_ = (("family", ctypes.c_uint8), ("bytes", ctypes.c_uint8 * 16), ("port", ctypes.c_uint16))


class Conf(ctypes.Structure):
    """`struct conf`."""

    _fields_ = (
        ("count", ctypes.c_int),
        ("apiservers", Apiserver * 64),
        ("unknown", ctypes.c_int),
        ("first_unknown", ctypes.c_char * 128),
    )


def parsed(folder: Path, text: bytes) -> Conf:
    library = ctypes.CDLL(str(compile_watch(folder / "watch.so", "-shared", "-fPIC")))
    conf = Conf()
    library.conf_parse(text, ctypes.c_size_t(len(text)), ctypes.byref(conf))
    return conf


@pytest.mark.usefixtures("cc")
def test_the_apiservers_of_a_configuration(tmp_path: Path) -> None:
    conf = parsed(tmp_path, CONF)
    found = [
        (socket.inet_ntop(a.family, bytes(a.bytes)[: 4 if a.family == socket.AF_INET else 16]), a.port)
        for a in conf.apiservers[: conf.count]
    ]
    assert found == [("198.18.0.11", 6443), ("2001:2::13", 6443), ("198.18.0.12", 6443)]
    assert (conf.unknown, conf.first_unknown) == (5, b"unix:/run/a.sock")


@pytest.mark.usefixtures("cc")
def test_more_apiservers_than_there_is_room_for(tmp_path: Path) -> None:
    conf = parsed(tmp_path, b"".join(b"server 198.18.0.%d:6443;" % i for i in range(1, 100)))
    assert (conf.count, conf.unknown) == (64, 35)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int, body: bytes, length: int | None = None) -> bytes:
    whole = 16 + len(body) if length is None else length
    return struct.pack("=IHHII", whole, kind, 2, SEQUENCE, 1) + body + bytes(-len(body) % 4)


def answers() -> list[bytes]:
    """Datagrams as the kernel sends them: sessions, an error and an end."""
    info = bytes(range(240))
    ids = struct.pack(">HH", 40000, 6443) + bytes(16) + socket.inet_aton("198.18.0.11") + bytes(12 + 12)
    session = struct.pack("=BBBB", socket.AF_INET, 1, 0, 0) + ids + struct.pack("=IIIII", 0, 0, 0, 65534, 1)
    sessions = [message(20, session + attribute(2, info[:size])) for size in (240, 104, 8, 0)]
    return [
        b"".join(sessions),
        message(2, struct.pack("=i", -1) + bytes(16)),
        message(3, bytes(4)),
    ]


def damaged(chance: random.Random, valid: list[bytes]) -> bytes:
    """One of them, with some bytes changed, cut off, doubled or put in."""
    data = bytearray(chance.choice(valid))
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        what = chance.randrange(5)
        if what == 0:
            del data[at:]
        elif what == 1 and at < len(data):
            data[at] = chance.choice([0, 1, 3, 4, 5, 15, 16, 17, 127, 128, 255, chance.randrange(256)])
        elif what == 2:
            data[at:at] = data[: chance.randrange(40)]
        elif what == 3:
            data[at : at + 2] = struct.pack("=H", chance.choice([0, 1, 3, 4, 65535, len(data)]))
        else:
            data += chance.choice(valid)
    return bytes(data)


@pytest.mark.usefixtures("cc")
@pytest.mark.parametrize(("kind", "error"), [(2, 0), (2, -1), (3, 0), (3, -2)])
def test_how_an_answer_of_the_kernel_ends(tmp_path: Path, kind: int, error: int) -> None:
    """Without tcp_diag, say, a dump ends with -ENOENT in its last message: it is no node without sessions."""
    library = ctypes.CDLL(str(compile_watch(tmp_path / "watch.so", "-shared", "-fPIC")))
    said = message(kind, struct.pack("=i", error))
    assert library.nl_parse(said, ctypes.c_size_t(len(said)), SEQUENCE, None, None) == error


def test_nothing_breaks_the_parsers(cc: str, tmp_path: Path) -> None:
    sources = [str(path) for path in sorted(SOURCES.glob("*.c")) if path.name != "main.c"]
    program = tmp_path / "fuzz"
    command = [cc, "-std=c11", "-O1", *SANITIZERS, "-o", str(program), str(HERE / "fuzz.c"), *sources]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert built.returncode == 0, built.stderr
    chance = random.Random(7)
    hellos = [b"\x16\x03\x03\x00\x7a\x02", b"\x15\x03\x01\x00\x02\x02\x28", b"HTTP/1.0 400 Bad Request\r\n"]
    valid = [*answers(), CONF, CONF[:200], *hellos]
    records = [*valid, *(damaged(chance, valid) for _ in range(40_000))]
    stdin = b"".join(struct.pack("=I", len(record)) + record for record in records)
    done = subprocess.run([program], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found = re.fullmatch(rb"(\d+) sessions, (\d+) apiservers, (\d+) hellos\n", done.stdout)
    assert found
    assert min(map(int, found.groups())) > 1000


def test_it_compiles_without_a_word(cc: str, tmp_path: Path) -> None:
    """As strictly as compilers that are here can."""
    compile_watch(tmp_path / "strict", "-Wshadow", "-Wpointer-arith", "-Wstrict-prototypes", "-Wformat=2")
    if (
        "Free Software Foundation"
        in subprocess.run([cc, "--version"], capture_output=True, text=True, check=False).stdout
    ):
        compile_watch(tmp_path / "analyzed", "-fanalyzer")
    if clang := shutil.which("clang"):
        compile_watch(tmp_path / "other", compiler=clang)


def test_no_source_is_long() -> None:
    assert {path.name for path in SOURCES.iterdir() if len(path.read_text().splitlines()) > 250} == set()
