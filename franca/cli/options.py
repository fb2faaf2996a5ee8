"""Options that a command takes as ``key=value`` words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from franca.config.build import build, text_keys
from franca.config.recipes import nested, parse_overrides

Options = TypeVar("Options")


def options_of(words: Sequence[str], schema: type[Options], where: str) -> Options:
    """The options of a command.

    Args:
        words: ``key=value``, as in ``seed=1`` or, for an option of a group, ``synthetic.size_px=64``; later ones win.
        schema: Dataclass of the options; what is not given keeps its default.
        where: What is being read, for the message.

    Raises:
        ConfigError: A word is not ``key=value``, an option is unknown or wrong; the message lists all problems.
    """
    return build(nested(parse_overrides(words, text_keys=text_keys(schema))), schema, where=where)
