"""Linear segmentation: `python -m eval.segmentation MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "segmentation", *sys.argv[1:]]))
