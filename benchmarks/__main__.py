"""Run benchmarks by name, or all of them.

python -m benchmarks train --json          one, with its own options
python -m benchmarks --out build/benchmarks.json
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from vfl import __version__

NAMES = ("histogram", "train", "psi", "ledger", "explain")


def main() -> int:
    """With a name: that benchmark, in a process of its own. Without: all, as one JSON object."""
    words = sys.argv[1:]
    if words and words[0] in NAMES:
        return subprocess.run([sys.executable, "-m", f"benchmarks.{words[0]}", *words[1:]], check=False).returncode
    if words[:1] != ["--out"] or len(words) != 2:
        print(f"{__doc__}\nnames: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "machine": platform.machine()}
    report: dict[str, object] = {"tallystick": __version__, "machine": machine}
    failed = False
    for name in NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        failed = failed or done.returncode != 0
        report[name] = {"command": f"python -m benchmarks {name} --json", **json.loads(done.stdout)}
    Path(words[1]).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"written to {words[1]}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
