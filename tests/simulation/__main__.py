"""Play seeds: `python -m tests.simulation SEED [SEED..] [--trace] [--bug NAME]`, `--seeds FIRST LAST` for many."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from simulation.command import main

sys.exit(main(sys.argv[1:]))
