"""Who works on which positions: every one once, whatever the ranks."""

from __future__ import annotations

import pytest

from franca.config.recipes import load_recipe
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError
from franca.train.share import Share, share_of_batch


def shares(world: int, *overrides: str) -> list[Share]:
    config = load_recipe("tiny", ["train.global_batch=16", "objective.koleo_group_size=2", *overrides])
    return [share_of_batch(config, Ranks(rank=rank, world=world, local_world=world)) for rank in range(world)]


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("micro_batch", [None, 2, 4])
def test_every_position_of_a_step_is_seen_once(world: int, micro_batch: int | None) -> None:
    dealt = shares(world, f"performance.micro_batch={micro_batch or 'null'}")
    accumulation, part = dealt[0].accumulation, dealt[0].micro_batch
    assert world * accumulation * part == 16 and (micro_batch is None or part == micro_batch)
    for step in range(3):
        items = [share.item(step * accumulation + index) for share in dealt for index in range(accumulation)]
        positions = [item * part + offset for item in items for offset in range(part)]
        assert positions == list(range(16 * step, 16 * step + 16))  # consecutive within a rank, in the order of ranks


def test_the_text_multiplies_out() -> None:
    assert str(shares(1)[0]) == "1 x 16"
    assert str(shares(2, "performance.micro_batch=4")[1]) == "2 ranks x 2 x 4"


@pytest.mark.parametrize(
    ("world", "override"), [(3, "train.seed=0"), (4, "performance.micro_batch=8"), (32, "train.seed=0")]
)
def test_unequal_parts_are_refused(world: int, override: str) -> None:
    with pytest.raises(ConfigError, match=f"global_batch=16 is not a multiple of {world} ranks"):
        shares(world, override)


def test_a_koleo_group_on_two_ranks_is_refused() -> None:
    with pytest.raises(ConfigError, match="groups of 16 images do not divide a micro-batch of 8 on each of 2 ranks"):
        shares(2, "objective.koleo_group_size=16")
    shares(2, "objective.koleo_group_size=16", "objective.koleo_weight=0")
