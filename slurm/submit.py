"""Submit a job: `python -m slurm.submit [--profile NAME] -- COMMAND ...`."""

import sys

from franca.cli.main import main

sys.exit(main(["submit", *sys.argv[1:]]))
