"""Logistic regression: `python -m eval.logreg MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "logreg", *sys.argv[1:]]))
