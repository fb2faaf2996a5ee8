"""Errors that a user can cause, and may want to catch.

Every message says what was wrong, where, what was expected and what to do. ``exit_code`` is what the command
line returns: 2 for wrong use or input, 1 for a job that failed on the way.
"""

from __future__ import annotations

TRACEBACK = "FRANCA_TRACEBACK"
"""Environment variable: where it is set, the command line shows where its errors come from, beside what they say."""

STOPPED_EXIT_CODE = 75
"""What the command line returns for a run that was asked to stop: run the same command again to go on."""


class FrancaError(ValueError):
    """Base of all errors that a user can cause."""

    exit_code = 2
    met_on_rank: int | None = None
    """The rank that met it, where all ranks raise it together: that one tells, the others only end."""


class ConfigError(FrancaError):
    """A recipe, an option or a combination of options is wrong. The message lists every problem found."""


class DataError(FrancaError):
    """A data source is missing, empty, or not what it was said to be."""


class CheckpointError(FrancaError):
    """A checkpoint or an exported model is missing, incomplete, does not match, or cannot be written."""


class TooManyBadSamples(DataError):
    """More samples were unreadable than ``data.max_bad_fraction`` allows; the run stopped."""

    exit_code = 1


class DivergedError(FrancaError):
    """Many steps in a row had losses or gradients that are not finite; the run stopped."""

    exit_code = 1


class SaveError(CheckpointError):
    """A checkpoint cannot be written; the ones before it are intact."""

    exit_code = 1


class OutOfMemory(FrancaError):
    """The device's memory, or the machine's, is used up. The message says which options lower the need."""

    exit_code = 1


class ExportError(FrancaError):
    """An export cannot be read by the program that it is for, or computes something else there."""

    exit_code = 1
