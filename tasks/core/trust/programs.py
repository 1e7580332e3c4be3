"""What gpg, or else Sequoia's sqv, says of a signature. They see the keys that they are given, no others.

Neither asks the network, and gpg has a home of its own for as long as it takes. Of Sequoia it is not sq,
whose command line has changed between its versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..errors import last_lines

SECONDS = 30.0
"""That one call may take."""

_GPG = (
    *("gpg", "--no-options", "--batch", "--no-tty", "--no-autostart", "--disable-dirmngr"),
    *("--no-auto-key-locate", "--no-auto-key-retrieve", "--trust-model", "always", "--status-fd", "1"),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program says; of the first four one is set.

    `good` is the fingerprint of the primary key, `missing` the ID of a key that would be needed, `bad` what
    is wrong, `unable` why the program does not know. `made` is when it was signed, `expired` when the key
    had expired; None: not told, or it has not.
    """

    good: str = ""
    missing: str = ""
    bad: str = ""
    unable: str = ""
    made: datetime | None = None
    expired: datetime | None = None

    @property
    def late(self) -> bool:
        """Whether the key had expired when it signed; it may have been prolonged since."""
        return bool(self.made and self.expired and self.made >= self.expired)


def program() -> str:
    """The one that is here; "" if none is."""
    return next((name for name in ("gpg", "sqv") if shutil.which(name)), "")


def ask(folder: Path, keys: Sequence[bytes], signature: bytes, signed: Path) -> Answer:
    """What the program that is here says of a detached signature, with these keys; `folder` is empty."""
    files = [folder / f"key-{number}" for number in range(len(keys))]
    for file, key in zip(files, keys, strict=True):
        file.write_bytes(key)
    detached = folder / "signature"
    detached.write_bytes(signature)
    name = program()
    try:
        return (_gpg if name == "gpg" else _sqv)(folder, files, detached, signed.absolute())
    except subprocess.TimeoutExpired:
        return Answer(unable=f"{name} did not end within {SECONDS:g} s")
    except OSError as error:
        return Answer(unable=f"{name}: {error.strerror}")


def _gpg(folder: Path, keys: Sequence[Path], signature: Path, signed: Path) -> Answer:
    home = folder / "home"
    home.mkdir(mode=0o700)
    for key in keys:
        _run(home, *_GPG, "--homedir", str(home), "--import", str(key))
    done = _run(home, *_GPG, "--homedir", str(home), "--verify", str(signature), str(signed))
    # no more than gpg ends lines: of a user ID it lets the ends of lines pass that Unicode has
    lines = [line.split(" ")[1:] for line in done.stdout.split("\n") if line.startswith("[GNUPG:] ")]
    if answer := _status(lines):
        return answer
    if re.search("not a detached signature|ambiguous signature data", done.stderr):
        return Answer(bad="it is no detached signature")
    return Answer(unable=f"gpg: {last_lines(done.stderr, 1)}")


def _status(lines: Sequence[Sequence[str]]) -> Answer | None:
    """What gpg's status lines say (doc/DETAILS in its source); None if nothing that is known here."""
    said = {line[0]: line[1:] for line in lines}
    faults = {
        "BADSIG": "it does not fit the tarball",
        "REVKEYSIG": "its key is revoked",
        "EXPSIG": "it has expired itself",
        "NODATA": "it is no OpenPGP signature",
    }
    if bad := next((text for word, text in faults.items() if word in said), ""):
        return Answer(bad=bad)
    if sum(line[0] == "NEWSIG" for line in lines) > 1:
        return Answer(bad="it holds more than one signature")
    if "NO_PUBKEY" in said:
        return Answer(missing=said["NO_PUBKEY"][0])
    if "VALIDSIG" not in said or not {"GOODSIG", "EXPKEYSIG"} & said.keys():
        return None
    ends = [_time(line[1]) for line in lines if line[0] == "KEYEXPIRED"]
    if "EXPKEYSIG" in said and not ends:
        return None
    valid = said["VALIDSIG"]
    expired = min(ends) if "EXPKEYSIG" in said else None
    return Answer(good=valid[9], made=_time(valid[2]), expired=expired)


def _time(text: str) -> datetime:
    return (
        datetime.fromtimestamp(int(text), UTC) if text.isdigit() else datetime.fromisoformat(f"{text}+00:00")
    )


def _sqv(folder: Path, keys: Sequence[Path], signature: Path, signed: Path) -> Answer:
    rings = [word for key in keys for word in ("--keyring", str(key))]
    done = _run(folder, "sqv", *rings, "--", str(signature), str(signed))
    if found := re.search(r"(?m)^[0-9A-F]{40,64}$", done.stdout) if not done.returncode else None:
        return Answer(good=found[0])
    if found := re.search(r"Missing key ([0-9A-F]{16,64})", done.stderr):
        return Answer(missing=found[1])
    why = re.sub(r"^(\d+|because): ", "", last_lines(done.stderr, 1).strip()) or "it is not valid"
    if re.search(r"is not bound|[Pp]olicy rejected|not considered secure|parse keyring", done.stderr):
        return Answer(unable=f"sqv does not take its key: {why}")
    return Answer(bad=f"sqv: {why}")


def _run(home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    given = {"HOME": str(home), "GNUPGHOME": str(home), "LC_ALL": "C", "PATH": os.environ.get("PATH", "")}
    return subprocess.run(
        command,
        cwd=home,
        env=given,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=SECONDS,
    )
