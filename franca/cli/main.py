"""``franca COMMAND …``: finds the command, and turns our errors into one message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn

from franca import __version__
from franca.config.problems import did_you_mean
from franca.distributed.ranks import rank_of
from franca.errors import TRACEBACK, ConfigError, FrancaError

INTERRUPTED = 130
FAILED = 1
WRONG_PATH = (PermissionError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)


class Command(NamedTuple):
    """A module with ``add_arguments(parser)`` and ``run(args) -> exit code``, and its line in the help."""

    module: str
    summary: str
    wraps: bool = False
    """Whether another command follows after ``--``."""


COMMANDS = {
    "pretrain": Command("franca.cli.pretrain", "train a backbone on images without labels"),
    "eval": Command("franca.cli.eval", "judge a backbone: classification, dense tasks, health"),
    "extract": Command("franca.cli.extract", "write the features of images to a file"),
    "rasa": Command("franca.cli.rasa", "take position out of patch features"),
    "viz": Command("franca.cli.viz", "draw what a model sees: patch colours, attention, neighbours"),
    "data": Command("franca.cli.data", "check, index, pack and preview images"),
    "demo": Command("franca.cli.demo", "pretrain, evaluate and report on drawn images, in minutes"),
    "models": Command("franca.cli.models", "list the backbones that have a name, and their released weights"),
    "export": Command("franca.cli.export", "write a backbone for timm, transformers, ONNX or torch, checked there"),
    "report": Command("franca.cli.report", "draw a run: curves, scores, pictures"),
    "submit": Command(
        "franca.cli.submit", "run any of these as a SLURM job, through every stop to its end", wraps=True
    ),
    "jobs": Command("franca.cli.jobs", "show how far submitted runs are"),
    "logs": Command("franca.cli.logs", "show what the ranks of a submitted run say"),
    "doctor": Command("franca.cli.doctor", "say what this machine has, and whether a step of training runs on it"),
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
            if os.environ.get(TRACEBACK):
                traceback.print_exception(error)
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
        raise no_such_command(name, list(COMMANDS))
    try:
        arguments = parse(name, rest)
    except SystemExit:  # only --help ends here: Parser raises its errors
        return 0
    code: int = import_module(COMMANDS[name].module).run(arguments)
    return code


def parse(name: str, words: Sequence[str]) -> argparse.Namespace:
    """The arguments of a command; for one that wraps another, ``command`` holds the words after ``--``.

    Raises:
        ConfigError: the words are not as the command takes them.
        SystemExit: they ask for help, which is printed.
    """
    known = COMMANDS[name]
    module = import_module(known.module)
    parser = Parser(prog=f"franca {name}", description=known.summary, allow_abbrev=False)
    module.add_arguments(parser)
    split = list(words).index("--") if known.wraps and "--" in words else len(words)
    arguments = parser.parse_intermixed_args(list(words[:split]))
    if known.wraps:
        arguments.command = list(words[split + 1 :])
    return arguments


def no_such_command(name: str, known: Sequence[str]) -> ConfigError:
    """What to raise for a command that is none of ``known``."""
    return ConfigError(f"there is no command {name!r}{did_you_mean(name, known)}\nCommands: {', '.join(known)}.")


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
            f"{TRACEBACK}=1 in the environment shows where an error comes from.",
        ]
    )
