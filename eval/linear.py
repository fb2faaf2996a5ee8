"""Linear probe: `python -m eval.linear MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "linear", *sys.argv[1:]]))
