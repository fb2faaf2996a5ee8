"""What commands say and write: words as they are, and files looked at before the work starts."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console

from franca.errors import ConfigError


def check_writable(out: Path, name: str) -> None:
    """Finds out now, not after an hour of work, that a file cannot be written; its folder is made.

    Args:
        out: The file.
        name: What the user calls it, for the message.

    Raises:
        ConfigError: It is a folder, or its folder cannot be made or written.
    """
    if out.is_dir():
        raise ConfigError(f"{name}={out} is a folder; expected the name of a file")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{name}={out}: the folder {out.parent} cannot be made: {error.strerror}") from error
    if not os.access(out.parent, os.W_OK):
        raise ConfigError(f"{name}={out}: the folder {out.parent} cannot be written; choose another")


def plain_console(*, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """A console that prints what users wrote as they wrote it: ``[a]`` is no markup, and ``:train:`` no picture."""
    return Console(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)
