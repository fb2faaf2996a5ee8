"""Checks of options that hold several values to be tried."""

from __future__ import annotations

from collections.abc import Sequence

from franca.errors import ConfigError


def check_some(**options: Sequence[object]) -> None:
    """Raises a ConfigError where an option that is a list of things to try is empty."""
    empty = [name for name, values in options.items() if not values]
    if empty:
        raise ConfigError(f"{', '.join(f'{name}=[]' for name in empty)}: expected at least one value")
