"""Label-free health: `python -m eval.health MODEL data=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "health", *sys.argv[1:]]))
