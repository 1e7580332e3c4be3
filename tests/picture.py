"""Makes docs/deploy.svg from a real run: python -m tests.picture (needs the lab up, and pyte).

`fab build deploy status` runs on a terminal of its own; what that terminal shows at the end is the picture.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from io import StringIO
from pathlib import Path

import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
COLUMNS, LINES = 100, 40
TASKS = ["build", "deploy", "status"]


def run(arguments: list[str]) -> pyte.Screen:
    """The screen after the command has ended. Raises SystemExit if it fails."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(LINES)}
        os.execv(sys.executable, [sys.executable, "-m", "fabric", *arguments])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    while True:
        try:
            stream.feed(os.read(terminal, 4096))
        except OSError:  # Linux says EIO when the other side has closed
            break
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit("\n".join(screen.display))
    return screen


def line(screen: pyte.Screen, row: int) -> Text:
    """One row of the screen with its colours."""
    text = Text()
    for column in range(COLUMNS):
        cell = screen.buffer[row][column]
        colour = "default" if cell.fg == "default" else {"brown": "yellow"}.get(cell.fg, cell.fg)
        text.append(cell.data, f"{colour} {'bold' if cell.bold else ''}" if not cell.fg.isdigit() else "")
    text.rstrip()
    return text


def main() -> None:
    """Writes the picture."""
    screen = run(TASKS)
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(f"$ fab {' '.join(TASKS)}", highlight=False)
    rows = [line(screen, row) for row in range(LINES)]
    while rows and not rows[-1].plain:
        rows.pop()
    for row in rows:
        console.print(row, highlight=False)
    (ROOT / "docs").mkdir(exist_ok=True)
    plain = re.sub(
        r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL
    )  # no fonts from afar
    console.save_svg(str(ROOT / "docs" / "deploy.svg"), title=f"fab {' '.join(TASKS)}", code_format=plain)


if __name__ == "__main__":
    main()
