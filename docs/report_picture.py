"""Takes docs/images/report.png: the first page of the report on a finished run, as a browser shows it.

python -m docs.report_picture runs/demo               needs Chromium (on Debian: apt-get install chromium)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from vfl.report_commands import make_report

TARGET = Path(__file__).resolve().parent / "images/report.png"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_WIDTH, _HEIGHT = 1000, 960


def photograph(run: Path, target: Path) -> None:
    """The first page of the report on `run` into `target`. Raises SystemExit without a browser."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise SystemExit("no browser: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        make_report(run, "all", "en", "html", None, Path(folder), "", as_json=True)
        page = (Path(folder) / "report.en.html").as_uri()
        look = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={_WIDTH},{_HEIGHT}"]
        words = [browser, *look, f"--screenshot={target}", page]
        subprocess.run(words, check=True, capture_output=True, timeout=120)  # noqa: S603 - words of our own


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    if len(words) != 1:
        sys.stderr.write(__doc__ or "")
        return 2
    photograph(Path(words[0]), TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
