"""In-context segmentation: `python -m eval.incontext MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "incontext", *sys.argv[1:]]))
