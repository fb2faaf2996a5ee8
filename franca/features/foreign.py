"""Code of others that we call, a model's for one: what it raises becomes one message."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

import franca
from franca.distributed.allocators import is_out_of_memory
from franca.errors import TRACEBACK, ConfigError, FrancaError, OutOfMemory

_KNOWN_CODE = tuple(str(Path(str(package.__file__)).parent) for package in (torch, franca))


@contextmanager
def explain_failure(doing: str, expected: str, kind: type[FrancaError] = ConfigError) -> Iterator[None]:
    """Turns whatever code of others raises in the context into one of our errors, raised from it.

    Args:
        doing: What failed, with the name of the model: ``model x:y cannot be made``.
        expected: What would have been right, and what to do.
        kind: What is raised.

    Raises:
        OutOfMemory: The device or the machine has no more memory.
        FrancaError: Of this kind, for any other error; our own pass as they are.
    """
    try:
        yield
    except FrancaError:
        raise
    except Exception as error:  # what such code raises is not ours to foresee
        said = f"{doing}: {type(error).__name__}: {error}{_place(error)}".rstrip(".")
        if is_out_of_memory(error):
            raise OutOfMemory(f"{said}. Lower batch_size or image_size_px, or choose device=cpu") from error
        raise kind(f"{said}. {expected}. {TRACEBACK}=1 shows its traceback") from error


def _place(error: Exception) -> str:
    """Where it was raised: the last line that is neither torch's nor ours; empty where there is none."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not frame.filename.startswith((*_KNOWN_CODE, "<frozen"))]
    return f" ({theirs[-1].filename}:{theirs[-1].lineno}, in {theirs[-1].name})" if theirs else ""
