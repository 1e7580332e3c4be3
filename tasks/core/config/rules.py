"""What nginx, systemd and the runbook allow in a value of hosts.toml: checks (see `check`) for its keys.

Whatever reaches a template has passed an allow-list here.
"""

import re
from urllib.parse import urlsplit

from .validation import integer, matching, nearest, parsed

Version = tuple[int, int, int]

PINS = {
    "1.15.3": "9391fb91c3e2ebd040a4e3ac2b2f0893deb6232edc30a8e16fcc9c3fa9d6be85",
    "1.18.0": "4c373e7ab5bf91d34a4f11a0c9496561061ba5eee6020db272a17a7228d35f99",
    "1.22.1": "9ebb333a9e82b952acd3e2b4aeb1d4ff6406f72491bab6cd9fe69f0dea737f31",
    "1.26.3": "69ee2b237744036e61d24b836668aad3040dda461fe6f570f1787eab570c75aa",
    "1.28.3": "2c96a946bfb0882a21744ed429770a2123ae1828c7c48665092993ddee91a918",
    "1.30.4": "4261dc90e9e47c1c4041276e9aaa3d48ebe2e664f728e14fa95ae6c67d57a08b",
    "1.30.6": "3cf46f5ed7504d460125866b7bea99fb357f31d887e2e63b35503310e9b8b6c8",
}
"""sha256 of nginx-VERSION.tar.gz as nginx.org serves it."""

OLDEST: Version = (1, 11, 5)
RANDOM_SINCE: Version = (1, 15, 1)
SHUTDOWN_TIMEOUT_SINCE: Version = (1, 11, 11)
ERROR_LOG_OPTION_SINCE: Version = (1, 19, 5)

# Variables of ngx_stream_core_module in 1.11.5 that have a value before a server is chosen.
_HASH_VARIABLES = (
    "$binary_remote_addr $connection $hostname $msec $pid $protocol $proxy_protocol_addr "
    "$proxy_protocol_port $remote_addr $remote_port $server_addr $server_port"
)
_HASHES = [f"hash {name}{end}" for name in _HASH_VARIABLES.split() for end in ("", " consistent")]
_PLAIN = ("round robin", "least_conn", "random", "random two", "random two least_conn")
_REFUSED = {
    "ip_hash": "exists in nginx's http module only; here write hash $remote_addr",
    "least_time": "is part of the commercial nginx only; write least_conn",
    "sticky": "is part of the commercial nginx only; write hash $remote_addr",
}

_SECONDS = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,9}}){unit}(?!s))?" for unit in _SECONDS))
_VERSION = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){2}")
_SUITE = re.compile(r"apt:[a-z0-9][a-z0-9.+-]{0,49}")
_URL_TEXT = re.compile(r"[A-Za-z0-9._~:/%+=,\[\]-]{1,500}")
_COUNT = re.compile(r"[1-9][0-9]{0,3}")
_SHARE = re.compile(r"(?:[1-9][0-9]?|100)%")

name = matching(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}",
    "must be letters, digits and . _ -, and begin with a letter, digit or _",
)
"""The name of a node or a group, safe in file names and in --limit."""

canary = max_failures = integer(0, 1000)


def number(version: str) -> Version:
    """`1.30.6` as a tuple that compares by age."""
    major, minor, patch = version.split(".")
    return int(major), int(minor), int(patch)


def dotted(version: Version) -> str:
    """The opposite of `number`."""
    return ".".join(map(str, version))


@parsed
def version(text: str) -> str:
    """An nginx version that is not too old for what the templates and the failover need."""
    if not _VERSION.fullmatch(text):
        raise ValueError("must be three numbers with dots, such as 1.30.6")
    if number(text) < OLDEST:
        raise ValueError(
            f"is older than {dotted(OLDEST)}, the oldest supported: stream has $remote_addr only "
            "since 1.11.2, and counts failures as documented only since 1.11.5"
        )
    return text


@parsed
def sha256(text: str) -> str:
    """A sha256 in lower case."""
    if not re.fullmatch(r"[0-9A-Fa-f]{64}", text):
        raise ValueError("must be 64 hexadecimal digits, as sha256sum prints them")
    return text.lower()


def seconds(text: str) -> float:
    """How long a `duration` is; 0 for "" and for what is none."""
    match = _DURATION.fullmatch(text)
    parts = zip(match.groups() if match else (), _SECONDS.values(), strict=False)
    return sum(int(count or 0) * unit for count, unit in parts)


@parsed
def duration(text: str) -> str:
    """A positive nginx time of at most 24 days (a 32-bit nginx counts milliseconds).

    Source: "Configuration file measurement units" in nginx's documentation. Units stand from the
    largest to the smallest; here, unlike there, a number without a unit is refused.
    """
    if not text or not _DURATION.fullmatch(text):
        raise ValueError("must be a time such as 3s, 500ms, 10m or 1m30s (w d h m s ms)")
    if not 0 < seconds(text) <= 24 * _SECONDS["d"]:
        raise ValueError("must be longer than 0 and at most 24d")
    return text


def whole_seconds(value: object) -> str:
    """A `duration` without ms: nginx reads fail_timeout in seconds."""
    if duration(value).endswith("ms"):
        raise ValueError("must be in whole seconds, such as 3s; nginx takes no ms here")
    return duration(value)


@parsed
def balance(text: str) -> str:
    """A balancing method of ngx_stream_upstream_module, its words separated by one space.

    `round robin` stands for nginx's default, for which there is no directive.
    """
    method = " ".join(text.split())
    methods = [*_PLAIN, *_HASHES]
    for word, why in _REFUSED.items():
        if word in method:
            raise ValueError(why)
    if method not in methods:
        close = nearest(method, methods)
        raise ValueError(
            f"is no balancing method of nginx's stream module; {f'did you mean {close}? ' if close else ''}"
            f"it has {', '.join(_PLAIN)} and hash VARIABLE [consistent] with one of {_HASH_VARIABLES}"
        )
    return method


@parsed
def mirror(text: str) -> str:
    """An http(s) or file URL prefix, which is made to end in /, or apt:SUITE."""
    if _SUITE.fullmatch(text):
        return text
    try:
        url = urlsplit(text)
        folder = url.hostname and url.port != 0 if url.scheme in ("http", "https") else not url.netloc
        known = folder and url.scheme in ("http", "https", "file") and "://" in text
    except ValueError:
        known = False
    if not known or not _URL_TEXT.fullmatch(text):
        raise ValueError(
            "must be the URL of a folder, such as https://nginx.org/download/ or "
            "file:///srv/nginx/ (no user, query or blanks), or apt:SUITE, such as apt:trixie"
        )
    return text if text.endswith("/") else text + "/"


@parsed
def account(text: str) -> str:
    """The name of a system user and group that useradd, nginx and systemd accept."""
    if text == "root":
        raise ValueError('runs as root: write "" if that is meant, or an unprivileged user')
    if not re.fullmatch("[a-z_][a-z0-9_-]{0,30}", text):
        raise ValueError("must be a system user: at most 31 of a-z 0-9 _ -, a letter or _ first")
    return text


def batch(value: object) -> int | str:
    """How many nodes make a batch: a number, which may be a string, or a percentage such as "25%"."""
    if isinstance(value, str) and _SHARE.fullmatch(value):
        return value
    count = int(value) if isinstance(value, str) and _COUNT.fullmatch(value) else value
    if isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= 1000:
        return count
    raise ValueError('must be a number of nodes from 1 to 1000, or a percentage from "1%" to "100%"')
