"""Who signs nginx's tarballs. A key counts by its fingerprint, wherever its bytes come from.

Fingerprints: those of https://nginx.org/en/pgp_keys.html; Maxim Dounin's, which signed until 2024 and is not
on that page any more, is of Debian's source package of nginx. The keys in this folder are from there, too
(1.22.1-9, debian/upstream/signing-key.asc), each without the signatures of others. A key that is not here is
fetched from a mirror that has nginx.org's folders, as ../keys/NAME.key.

Not named: nginx's signing keys of packages, and Sergey Budnevitch's, which expired in 2016 before 1.11.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Signer:
    """Somebody who signs: `name` is that of the key in nginx.org/keys, `fingerprint` of its primary key."""

    name: str
    person: str
    fingerprint: str

    def key(self) -> bytes | None:
        """The key, if it is in this package."""
        file = files(__package__).joinpath(f"{self.name}.asc")
        return file.read_bytes() if file.is_file() else None

    def __str__(self) -> str:
        return f"{self.person} ({self.fingerprint})"


SIGNERS = (
    Signer("mdounin", "Maxim Dounin", "B0F4253373F8F6F510D42178520A9993A1C052F8"),
    Signer("thresh", "Konstantin Pavlov", "13C82A63B603576156E30A4EA0EA981B66B0D967"),
    Signer("pluknet", "Sergey Kandaurov", "D6786CE303D9A9022998DC6CC8464D549AF75C0A"),
    Signer("arut", "Roman Arutyunyan", "43387825DDB1BB97EC36BA5D007C8D7C15D87369"),
)


def named(key: str) -> Signer | None:
    """The signer of a fingerprint, or of a key ID, which is its end."""
    return next((signer for signer in SIGNERS if len(key) >= 16 and signer.fingerprint.endswith(key)), None)
