"""Take the picture in docs/screenshots of ``mz-orchestration sinks watch`` over the local stack.

Needs a Chromium, Playwright, Pillow and Rich; the command runs in the environment that is named:

    apt-get install chromium
    python -m venv /tmp/shots && /tmp/shots/bin/pip install playwright pillow rich
    /tmp/shots/bin/python docs/take_sinks_screenshot.py --python .venv/bin/python
"""

from __future__ import annotations

import argparse
import fcntl
import io
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "screenshots"
COLUMNS, ROWS = 150, 14
COMMAND = "mz-orchestration sinks watch"
# Between two frames the cursor goes back and lines are erased.
_NEXT_FRAME = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")
# Seconds: counters are published every ten, and rates need two reports.
PUBLISH_EVERY, WELL, UNWELL = 10, 35, 8


class Stack:
    """The local stack, spoken to by the command."""

    def __init__(self, python: str, folder: str) -> None:
        self._python = python
        self._folder = folder
        self.environment = dict(os.environ)

    def run(self, *arguments: str) -> str:
        """What ``mz-orchestration local ...`` prints."""
        command = [self._python, "-m", "mz_orchestration.cli", "local", *arguments, "--dir", self._folder]
        return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout

    def __enter__(self) -> Stack:
        self.run("up", "--port-base", "0", "--detach")
        self.run("seed", "--rows", "2000", "--sinks")
        self.run("fault", "sinks", f"publish_every={PUBLISH_EVERY}")
        exports = re.findall(r"^export (\w+)='?(.*?)'?$", self.run("env"), re.MULTILINE)
        self.environment |= dict(exports)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.run("down")


def last_frame(python: str, stack: Stack) -> str:
    """What the live table shows at last: all well for a while, then an error."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**stack.environment, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
    command = [python, "-m", "mz_orchestration.cli", "sinks", "watch", "--every", "1"]
    watch = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=follower, stdout=follower, stderr=follower)
    said = b""
    stalls_at, ends_at = time.monotonic() + WELL, time.monotonic() + WELL + UNWELL
    stalled = False
    while (now := time.monotonic()) < ends_at:
        if now > stalls_at and not stalled:
            stack.run("fault", "sinks", "stay_stalled=shop.orders_sink")
            stalled = True
        if select.select([leader], [], [], 0.2)[0]:
            said += os.read(leader, 65_536)
    watch.send_signal(signal.SIGINT)
    watch.wait(20)
    frames = [each.replace("\r", "").strip("\n") for each in _NEXT_FRAME.split(said.decode())]
    return next(each for each in reversed(frames) if "stalled" in each)


def draw(frame: str, chromium: str) -> None:
    """The frame as a terminal shows it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(frame))
    console.print()
    svg = console.export_svg(title=COMMAND)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = Path(folder) / "page.html"
        page_file.write_text(f"<body style='margin:0'>{svg}</body>", encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(page_file.as_uri())
        page.wait_for_timeout(1_000)
        file = PICTURES / "sinks-watch.png"
        page.locator("svg").screenshot(path=file)
        browser.close()
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)
    print(f"{file.relative_to(ROOT)}  {file.stat().st_size // 1024} kB")


def main() -> None:
    """Start the stack, watch, take the picture, and stop it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=str(ROOT / ".venv/bin/python"), help="the Python with mz-orchestration")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="sinks-picture-") as folder,
        Stack(arguments.python, f"{folder}/stack") as stack,
    ):
        draw(last_frame(arguments.python, stack), arguments.chromium)


if __name__ == "__main__":
    main()
