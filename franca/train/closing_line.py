"""The last line of a start: how far it came, what was lost on the way, and what comes next."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from franca.train.checkpoint import Progress
from franca.train.hooks import skipped_by_reason

NUM_WORST = 3


def closing_line(progress: Progress, teacher: Path, bad_places: Counter[str], *, finished: bool) -> str:
    """What is said at the end.

    Args:
        progress: Of the run.
        teacher: The export.
        bad_places: Unreadable samples by shard or folder, since this start.
        finished: Or stopped.
    """
    skipped, not_finite = (progress.counts.get(name, 0) for name in ("data/skipped", "steps_skipped"))
    bad = f", {skipped:,} unreadable samples replaced ({_reasons(progress, bad_places)})" if skipped else ""
    bad += f", {not_finite:,} steps that were not finite not applied" if not_finite else ""
    if finished:
        return f"finished {progress.step:,} steps{bad}. Teacher: {teacher}"
    return f"stopped after {progress.step:,} steps{bad}; the same command goes on from there"


def _reasons(progress: Progress, bad_places: Counter[str]) -> str:
    """Unreadable samples by reason, and the shards or folders that held most of them since this start."""
    text = ", ".join(f"{name} {number:,}" for name, number in skipped_by_reason(progress.counts).items())
    worst = ", ".join(f"{name} {number:,}" for name, number in bad_places.most_common(NUM_WORST))
    return f"{text}; most in {worst}" if worst else text
