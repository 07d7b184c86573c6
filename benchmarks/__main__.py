"""`python -m benchmarks` is `bench`."""

from __future__ import annotations

import sys

from benchmarks.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
