"""Overclustering: `python -m eval.overcluster MODEL val=SRC [key=value ...]`."""

import sys

from franca.cli.main import main

sys.exit(main(["eval", "overcluster", *sys.argv[1:]]))
