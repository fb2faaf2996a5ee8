"""Which batch a step sees when some are left out."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.errors import CheckpointError
from franca.train.left_out import LeftOut


@pytest.mark.parametrize(
    ("ranges", "batches"),
    [
        ((), [0, 1, 2, 3, 4, 5, 6]),
        (((2, 4),), [0, 1, 4, 5, 6, 7, 8]),
        (((0, 1),), [1, 2, 3, 4, 5, 6, 7]),
        (((1, 2), (3, 6)), [0, 2, 6, 7, 8, 9, 10]),
        (((1, 2), (2, 3)), [0, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_steps_see_the_batches_that_are_left_in_order(ranges: tuple[tuple[int, int], ...], batches: list[int]) -> None:
    left_out = LeftOut(ranges)
    assert [left_out.batch_of(step) for step in range(7)] == batches
    out = {batch for first, end in ranges for batch in range(first, end)}
    assert out.isdisjoint(batches) and left_out.num_batches == len(out)


def test_micro_batches_of_a_batch_stay_together() -> None:
    assert [LeftOut(((1, 3),)).index_of(index, 2) for index in range(6)] == [0, 1, 6, 7, 8, 9]


def test_a_range_added_later_changes_no_earlier_step() -> None:
    before, after = LeftOut(), LeftOut(((5, 8),))
    assert [before.batch_of(step) for step in range(5)] == [after.batch_of(step) for step in range(5)]


def test_the_run_folder_keeps_it(tmp_path: Path) -> None:
    assert LeftOut.read(tmp_path) == LeftOut()
    left_out = LeftOut(((2, 4), (9, 10)))
    left_out.write(tmp_path)
    assert LeftOut.read(tmp_path) == left_out


@pytest.mark.parametrize("text", ["{", "{}", '{"batches": [[1]]}', '{"batches": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "left_out.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"left_out\.json.* cannot be read"):
        LeftOut.read(tmp_path)
