"""What is said at the end of a start."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from franca.train.checkpoint import Progress
from franca.train.closing_line import closing_line

TEACHER = Path("exports/teacher.safetensors")


def test_the_end_names_the_teacher_and_a_stop_what_comes_next() -> None:
    assert closing_line(Progress(1200), TEACHER, Counter(), finished=True) == (
        "finished 1,200 steps. Teacher: exports/teacher.safetensors"
    )
    assert closing_line(Progress(7), TEACHER, Counter(), finished=False) == (
        "stopped after 7 steps; the same command goes on from there"
    )


def test_what_was_lost_is_told_with_its_places() -> None:
    counts = {"data/skipped": 3, "data/skipped/truncated": 3, "steps_skipped": 2}
    places = Counter({"a.tar": 2, "b.tar": 1})
    line = closing_line(Progress(7, counts=counts), TEACHER, places, finished=True)
    assert "3 unreadable samples replaced (truncated 3; most in a.tar 2, b.tar 1)" in line
    assert "2 steps that were not finite not applied" in line
