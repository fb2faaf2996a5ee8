"""A line on the screen while something takes long before training can start."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

_logger = logging.getLogger(__name__)
_WORTH_A_LINE = 100


@contextmanager
def waiting_line(text: str, total: int) -> Iterator[Callable[[int, int], None] | None]:
    """A progress bar on a terminal; elsewhere one line at the start, if there is much to do.

    Args:
        text: What is being done.
        total: How many items; with none there is nothing to see.

    Returns:
        What to call with (items done, items in all), or None.
    """
    console = Console(stderr=True, emoji=False)
    if not total or not console.is_terminal:
        if total >= _WORTH_A_LINE:
            _logger.warning("%s", text)
        yield None
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done, _: bar.update(task, completed=done)
