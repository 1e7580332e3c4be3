"""How a fact is read out of the survey's answer: said where its field is declared, and nowhere else.

A new fact is a line `say KEY ...` in templates/survey.sh, and a field of `Facts` with that key.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from ipaddress import ip_address
from typing import Any, TypeVar

T = TypeVar("T")
Lines = Mapping[str, str]
"""What stands in the survey's lines `kn.KEY=VALUE`."""


def below(lines: Lines, prefix: str) -> dict[str, str]:
    """The values of all keys `PREFIX.NAME`, by NAME."""
    start = f"{prefix}."
    return {key.removeprefix(start): value for key, value in lines.items() if key.startswith(start)}


def fact(read: Callable[[Lines], T], default: T) -> T:
    """A field that `read` finds in the lines."""
    given: Any = {"default_factory": dict} if default == {} else {"default": default}
    made: T = field(**given, metadata={"read": read})
    return made


def one(key: str, convert: Callable[[str], T], default: T) -> T:
    """The value of one key; the default if there is none."""
    return fact(lambda lines: convert(lines[key]) if lines.get(key) else default, default)


def text(key: str) -> str:
    """The value of one key as it is."""
    return one(key, str, "")


def each(prefix: str, convert: Callable[[str], T | None]) -> Mapping[str, T]:
    """The values of all keys `PREFIX.NAME`, by NAME; half a line, of which `convert` makes None, is left out.

    What is in use or goes away during the survey gives half a line.
    """

    def read(lines: Lines) -> Mapping[str, T]:
        found = {name: convert(value) for name, value in below(lines, prefix).items()}
        return {name: value for name, value in found.items() if value is not None}

    return fact(read, {})


def strings(prefix: str) -> Mapping[str, str]:
    """The values of all keys `PREFIX.NAME`, by NAME."""
    return each(prefix, str)


def names(prefix: str) -> tuple[str, ...]:
    """The NAME of each key `PREFIX.NAME`."""
    return fact(lambda lines: tuple(below(lines, prefix)), ())


def read(kind: type[T], lines: Lines) -> T:
    """A dataclass of such fields, out of the survey's lines."""
    found: Any = {item.name: item.metadata["read"](lines) for item in fields(kind) if item.metadata}  # type: ignore[arg-type]
    return kind(**found)


# --- values ---


def version(value: str) -> str:
    """nginx's version in what it says of itself."""
    return value.rpartition("nginx/")[2]


def content(value: str) -> str:
    """The text of a file."""
    return b64decode(value).decode(errors="replace")


def addresses(value: str) -> tuple[str, ...]:
    """Those that nginx can connect to, IPv4 first; for a link-local one it would need a zone."""
    found = {ip_address(word) for word in value.split() if _is_address(word)}
    plain = {getattr(ip, "ipv4_mapped", None) or ip for ip in found}
    usable = [ip for ip in plain if ip.version == 4 or not ip.is_link_local]
    return tuple(map(str, sorted(usable, key=lambda ip: (ip.version, int(ip)))))


def _is_address(word: str) -> bool:
    try:
        return "%" not in str(ip_address(word))
    except ValueError:
        return False
