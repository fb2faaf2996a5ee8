"""What is wrong with a config, told so that it can be put right: every problem at once, each with its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from franca.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    """One thing to put right: the option it is listed under first, then the others that it involves."""

    keys: tuple[str, ...]
    text: str


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to ``word``, whatever the case, or None when none is near."""
    by_lower_case = {name.lower(): name for name in known}
    matches = get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.7)
    return by_lower_case[matches[0]] if matches else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"``, or nothing when no known word is near."""
    match = closest(word, known)
    return f"; did you mean {match}?" if match else ""


def raise_for(problems: Sequence[Problem], where: str) -> None:
    """Raise one error that lists all ``problems``, or return if there are none.

    Args:
        problems: what was found.
        where: what was read, such as ``recipe tiny``.

    Raises:
        ConfigError: there is at least one problem.
    """
    if not problems:
        return
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    width = max(len(problem.keys[0]) for problem in problems)
    lines = [f"  {problem.keys[0]:<{width}}  {problem.text}" for problem in problems]
    raise ConfigError("\n".join([f"{count} in {where}:", *lines]))
