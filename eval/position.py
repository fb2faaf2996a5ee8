"""Position in patch features: `python -m eval.position MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "position", *sys.argv[1:]]))
