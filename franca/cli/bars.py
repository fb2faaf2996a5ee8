"""Progress bars of commands, on a terminal; nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


@contextmanager
def progress_bars(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each piece of work, which appears when the work begins.

    Yields:
        To be called with the name of the bar, such as ``train``, the steps done, and the steps in all.
    """
    columns = (TextColumn("{task.description:<6}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total)
            bars.update(tasks[name], completed=done)

        yield update


@contextmanager
def pass_bar(console: Console) -> Iterator[Callable[[int, int | None], None]]:
    """One bar over passes, of which nobody may know how many there will be.

    Yields:
        To be called with the passes done, and those in all where they are known.
    """
    columns = (TextColumn("passes"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        task = bars.add_task("passes", total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
