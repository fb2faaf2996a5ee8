"""Back to a checkpoint from before steps that were not finite, leaving out what they saw."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from franca.distributed.together import on_rank_zero
from franca.train.checkpoint import Progress, complete_checkpoints
from franca.train.left_out import LeftOut


@dataclass(frozen=True)
class WayBack:
    """A checkpoint to go on from, and what is left out from there on."""

    step: int
    path: Path
    left_out: LeftOut

    def explain(self, progress: Progress) -> str:
        """What is about to happen, in a sentence."""
        ((first, end),) = self.left_out.ranges
        return (
            f"{progress.not_finite_in_a_row} steps in a row, up to step {progress.step:,}, were not finite: going back "
            f"to the checkpoint of step {self.step:,}, once, and leaving out the global batches {first:,} to "
            f"{end - 1:,} that they saw; not_finite.jsonl names their samples"
        )


def find_way_back(checkpoints: Path, progress: Progress, left_out: LeftOut) -> WayBack | None:
    """Where a run can go back to whose last steps were not finite.

    That is the newest complete checkpoint from before these steps; or, where only younger ones are kept, the oldest,
    whose weights are the same.

    Args:
        checkpoints: Folder of the checkpoints.
        progress: Of the run.
        left_out: What it leaves out already.

    Returns:
        None where there is no checkpoint, or the run has gone back before: a second time it would be no accident.
    """
    found = on_rank_zero(lambda: complete_checkpoints(checkpoints))
    if not found or left_out.ranges:
        return None
    first_bad = progress.step - progress.not_finite_in_a_row
    step, path = max((one for one in found if one[0] <= first_bad), default=found[0])
    bad = (left_out.batch_of(first_bad), left_out.batch_of(progress.step - 1) + 1)
    return WayBack(step, path, LeftOut((bad,)))


def take_way_back(run: Path, way: WayBack) -> None:
    """Make the run folder that of a run which stands at the way's checkpoint; a kill in between changes nothing."""

    def take() -> None:
        for step, path in complete_checkpoints(way.path.parent):
            if step > way.step:
                (path / "COMPLETE").unlink()
                shutil.rmtree(path)
        way.left_out.write(run)

    on_rank_zero(take)
