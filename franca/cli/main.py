"""``franca COMMAND …``: finds the command, and turns our errors into one message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from franca import __version__
from franca.config.problems import did_you_mean
from franca.distributed.ranks import rank_of
from franca.errors import ConfigError, FrancaError

INTERRUPTED = 130
FAILED = 1
WRONG_PATH = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


class Command(NamedTuple):
    """A module with ``add_arguments(parser)`` and ``run(args) -> exit code``, and its line in the help."""

    module: str
    summary: str


COMMANDS = {
    "pretrain": Command("franca.cli.pretrain", "train a backbone on images without labels"),
    "eval": Command("franca.cli.eval", "judge a backbone: k-NN, linear probe"),
    "data": Command("franca.cli.data", "check, index, pack and preview images"),
    "demo": Command("franca.cli.demo", "pretrain, evaluate and report on drawn images, in minutes"),
    "models": Command("franca.cli.models", "list the backbones that have a name, and their released weights"),
    "export": Command("franca.cli.export", "write a backbone for timm, transformers, ONNX or torch, checked there"),
    "report": Command("franca.cli.report", "draw a run: curves, scores, pictures"),
    "config": Command("franca.cli.config", "list, show, check, compare and explain recipes"),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are ours: one message, told by `main`."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments, with the usage line that says how they go."""
        raise ConfigError(f"{message}\n{self.format_usage().strip()}\n{self.prog} --help says more.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 wrong use or input, 130 interrupted.

    Args:
        argv: the arguments after ``franca``; None takes those of the process.
    """
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return code
    except FrancaError as error:
        if error.met_on_rank in (None, rank_of(os.environ)):  # else the rank that met it tells
            print(f"{_speaker()}error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output left, as `head` does. Python would complain again as it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a path that may not be read or written, or a disk that failed, wherever it was met
        print(f"{_speaker()}error: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        return ConfigError.exit_code if isinstance(error, WRONG_PATH) else FAILED


def _run(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else ConfigError.exit_code
    name, *rest = argv
    if name == "--version":
        print(f"franca {__version__}")
        return 0
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        raise ConfigError(f"there is no command {name!r}{hint}\nCommands: {', '.join(COMMANDS)}.")
    module = import_module(COMMANDS[name].module)
    parser = Parser(prog=f"franca {name}", description=COMMANDS[name].summary, allow_abbrev=False)
    module.add_arguments(parser)
    try:
        arguments = parser.parse_intermixed_args(rest)
    except SystemExit:  # only --help ends here: Parser raises its errors
        return 0
    code: int = module.run(arguments)
    return code


def _speaker() -> str:
    """Which rank speaks, where it is not the first: only that one is expected to."""
    rank = rank_of(os.environ)
    return f"rank {rank}: " if rank else ""


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: franca COMMAND …",
            "",
            "Self-supervised pretraining of vision transformers.",
            "",
            "commands:",
            *lines,
            "",
            "franca COMMAND --help says how a command is used; franca --version prints the version.",
        ]
    )
