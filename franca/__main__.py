"""``python -m franca``: the same as the ``franca`` command."""

from __future__ import annotations

import sys

from franca.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
