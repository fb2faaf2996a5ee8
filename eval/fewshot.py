"""Few-shot classification: `python -m eval.fewshot MODEL train=SRC val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "fewshot", *sys.argv[1:]]))
