"""Photographs a page as a browser shows it, for the pictures in docs/images."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_LOOK = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars")


def photograph(address: str, target: Path, width: int, height: int, wait_ms: int = 0) -> None:
    """The page at `address` into `target`, a PNG. wait_ms: for its scripts. Raises SystemExit without a browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit("no browser: apt-get install chromium")
    wait = [f"--virtual-time-budget={wait_ms}"] if wait_ms else []
    words = [browser, *_LOOK, *wait, f"--window-size={width},{height}", f"--screenshot={target}", address]
    subprocess.run(words, check=True, capture_output=True, timeout=120)  # noqa: S603 - words of our own
