"""The command line; see the package's docstring."""

import sys

from . import main

sys.exit(main(sys.argv[1:]))
