"""k-NN: `python -m eval.knn MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "knn", *sys.argv[1:]]))
