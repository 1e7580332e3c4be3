"""What one survey of a node saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from sys import byteorder

from .settings import Endpoint


@dataclass(frozen=True, slots=True)
class Facts:
    """One node at one moment.

    `files` maps a path to (sha256, octal mode), `unit` is systemd's view, `listening` maps each address
    that somebody listens on to whether that is the service's main process.
    """

    arch: str = ""
    uid: int = -1
    user_id: str = ""
    directories: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    running_version: str = ""
    running_executable: str = ""
    uptime: float = 0.0
    listening: Mapping[Endpoint, bool] = field(default_factory=dict)

    @property
    def active(self) -> bool:
        """Whether the unit is active (running)."""
        return (self.unit.get("ActiveState"), self.unit.get("SubState")) == ("active", "running")

    @property
    def state(self) -> str:
        """The unit's state as `systemctl status` words it."""
        if self.unit.get("LoadState") in ("not-found", None):
            return "not installed"
        return f"{self.unit.get('ActiveState')} ({self.unit.get('SubState')})"

    @property
    def active_seconds(self) -> float | None:
        """Seconds since the unit became active; None while it is not."""
        entered = int(self.unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        return max(0.0, self.uptime - entered) if self.active and entered else None

    @property
    def restarts(self) -> int | None:
        """How often systemd restarted it by itself; None before systemd 235, which does not count."""
        text = self.unit.get("NRestarts", "")
        return int(text) if text.isdigit() else None

    def listens(self, wanted: Endpoint) -> bool:
        """Whether the service itself has the listen address `wanted`."""
        return self.listening.get(wanted, False)


def parse(text: str) -> Facts:
    """Reads the survey's `kn.KEY=VALUE` lines; whatever a login shell printed around them is skipped."""
    lines = [line[3:].partition("=")[::2] for line in text.splitlines() if line.startswith("kn.")]
    values = dict(lines)

    def below(prefix: str) -> dict[str, str]:
        return {k[len(prefix) :]: v for k, v in lines if k.startswith(prefix)}

    own = below("socket.")
    files = {path: tuple(v.split()) for path, v in below("file.").items()}
    return Facts(
        arch=values.get("arch", ""),
        uid=int(values.get("uid") or -1),
        user_id=values.get("user", ""),
        directories=below("dir."),
        files={path: (v[0], v[1]) for path, v in files.items() if len(v) == 2},
        unit=below("unit."),
        running_version=values.get("running", "").rpartition("nginx/")[2],
        running_executable=values.get("exe", ""),
        uptime=float(values.get("uptime") or 0),
        listening={_endpoint(text): inode in own for text, inode in below("listen.").items()},
    )


def _endpoint(text: str) -> Endpoint:
    """The address of a line of /proc/net/tcp or tcp6: hexadecimal, in words of the host's order."""
    address, _, port = text.partition(":")
    words = [bytes.fromhex(address[i : i + 8]) for i in range(0, len(address), 8)]
    packed = b"".join(word[::-1] if byteorder == "little" else word for word in words)
    return Endpoint(str(ip_address(packed)), int(port, 16))
