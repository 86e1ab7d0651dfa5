"""Takes docs/images/report.png: the first page of the report on a finished run, as a browser shows it.

python -m docs.report_picture runs/demo               needs Chromium (on Debian: apt-get install chromium)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from docs.photograph import photograph
from vfl.report_commands import make_report

TARGET = Path(__file__).resolve().parent / "images/report.png"
_WIDTH, _HEIGHT = 1000, 960


def main(words: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    if len(words) != 1:
        sys.stderr.write(__doc__ or "")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        make_report(Path(words[0]), "all", "en", "html", None, Path(folder), "", as_json=True)
        photograph((Path(folder) / "report.en.html").as_uri(), TARGET, _WIDTH, _HEIGHT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
