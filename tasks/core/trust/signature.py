"""Whether a tarball is signed by one of those who sign nginx's."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..errors import StepError
from . import signers
from .programs import Answer, ask, program
from .signers import Signer, named

_HINT = "do not use that mirror; https://nginx.org/en/pgp_keys.html says who signs nginx now"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that is good, and by whom; or `unchecked`, which says why it is not known.

    `expired`: the day (of UTC) since which its key is; it was not when it signed.
    """

    signer: Signer | None = None
    expired: str = ""
    unchecked: str = ""

    @property
    def words(self) -> str:
        """`signed by ...`; "" if that is not known."""
        if not self.signer:
            return ""
        since = f", whose key has expired on {self.expired}" if self.expired else ""
        return f"signed by {self.signer.person}{since}"


NO_PROGRAM = Signature(unchecked="neither gpg nor sqv is on this machine")


def verify(
    signed: Path, signature: bytes, other_keys: Callable[[Signer], Iterable[bytes]], name: str
) -> Signature:
    """Checks a detached signature of a file; `other_keys` finds keys that are not in this package, or newer.

    One after the other, as long as the key is of no use, or had expired when it signed. `name` is how the
    file is called in messages. Raises StepError: it is bad, or whoever made it is not known to sign nginx.
    """
    if not program():
        return NO_PROGRAM
    keys = [key for signer in signers.SIGNERS if (key := signer.key())]
    answer = _ask(keys, signature, signed)
    signer = named(answer.good if answer.late else answer.missing)
    if signer and (answer.late or not signer.key()):
        none = True
        for key in other_keys(signer):
            none, answer = False, _ask([key], signature, signed)
            if not (answer.late or answer.missing):
                break
        if none and answer.missing:
            return Signature(unchecked=f"no mirror has the key of {signer} as ../keys/{signer.name}.key")
    return _judged(answer, name)


def _ask(keys: list[bytes], signature: bytes, signed: Path) -> Answer:
    with tempfile.TemporaryDirectory(prefix="kube-nginx-signature-") as folder:
        return ask(Path(folder), keys, signature, signed)


def _judged(answer: Answer, name: str) -> Signature:
    if answer.unable:
        return Signature(unchecked=answer.unable)
    if answer.missing and (signer := named(answer.missing)):
        return Signature(unchecked=f"{program()} can do nothing with the key of {signer}")
    signer = named(answer.good)
    if answer.bad or not signer:
        why = (
            answer.bad
            or f"it is by the key {answer.good or answer.missing}, which is not known to sign nginx"
        )
        raise StepError(f"the signature of {name} is bad: {why}", hint=_HINT)
    expired = f"{answer.expired:%Y-%m-%d}" if answer.expired else ""
    if answer.late:
        made = f"it was made on {answer.made:%Y-%m-%d}, and the key of {signer} had expired on {expired}"
        raise StepError(f"the signature of {name} is bad: {made}", hint=_HINT)
    return Signature(signer, expired)
