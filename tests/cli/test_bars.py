from __future__ import annotations

import io

import pytest
from rich.console import Console

from franca.cli.bars import pass_bar, progress_bars


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None, _environ={})


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_for_each_piece_of_work(terminal: bool) -> None:
    out = console(terminal=terminal)
    with progress_bars(out) as progress:
        progress("train", 3, 7)
        progress("val", 2, 2)
        progress("train", 7, 7)
    for text in ("train", "7/7", "val", "2/2"):
        assert (text in shown(out)) == terminal


@pytest.mark.parametrize("terminal", [True, False])
def test_passes_with_and_without_a_known_number(terminal: bool) -> None:
    out = console(terminal=terminal)
    with pass_bar(out) as step:
        step(1, None)
        step(2, 5)
    assert ("passes" in shown(out)) == terminal
