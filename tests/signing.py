"""Keys of a test's own, and what they sign: by a real gpg, at whatever time it is told that it is."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

GPG = shutil.which("gpg") or ""


@dataclass(frozen=True)
class Keyring:
    """A home of gpg; `close` ends its agent."""

    home: Path

    def gpg(self, *arguments: str, at: str = "", given: bytes = b"") -> bytes:
        """What gpg writes; `at` is the time that it is told, such as 20200101T000000."""
        faked = ["--faked-system-time", f"{at}!"] if at else []
        usual = ["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        done = subprocess.run(
            [GPG, "--homedir", str(self.home), *faked, *usual, *arguments],
            input=given,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def new(self, name: str, expires: str = "never", at: str = "") -> str:
        """Makes a key; its fingerprint."""
        self.gpg("--quick-gen-key", f"{name} <{name}@example.org>", "ed25519", "sign", expires, at=at)
        listed = self.gpg("--with-colons", "--fingerprint", name, at=at).decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def key(self, fingerprint: str) -> bytes:
        """The public key."""
        return self.gpg("--armor", "--export", fingerprint)

    def sign(self, fingerprint: str, content: bytes, *options: str, at: str = "") -> bytes:
        """A detached signature."""
        return self.gpg("--armor", "-u", fingerprint, *options, "--detach-sign", at=at, given=content)

    def expire(self, fingerprint: str, after: str, at: str) -> None:
        """Gives a key an end, as if it had always had it."""
        self.gpg("--quick-set-expire", fingerprint, after, at=at)

    def revoke(self, fingerprint: str) -> None:
        """Takes a key back."""
        file = self.home / "openpgp-revocs.d" / f"{fingerprint}.rev"
        self.gpg("--import", given=file.read_text().replace(":-----BEGIN", "-----BEGIN").encode())

    def close(self) -> None:
        """Its agent serves no other home."""
        environment = os.environ | {"GNUPGHOME": str(self.home)}
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, capture_output=True)
