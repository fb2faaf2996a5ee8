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


def test_a_micro_batch_larger_than_the_share_is_the_share() -> None:
    assert str(shares(4, "performance.micro_batch=8")[0]) == "4 ranks x 1 x 4"


@pytest.mark.parametrize("world", [3, 32])
def test_unequal_shares_are_refused_with_the_numbers_of_ranks_that_fit(world: int) -> None:
    with pytest.raises(ConfigError, match=f"not a multiple of {world} ranks: start 1, 2, 4, 8 or 16 ranks"):
        shares(world)


def test_unequal_micro_batches_are_refused_with_those_that_fit() -> None:
    options = ["train.global_batch=24", "performance.micro_batch=4"]
    with pytest.raises(ConfigError, match=r"4 ranks, 6 images, .* whole KoLeo groups, 2 images: take 2 or 6"):
        shares(4, *options)
    with pytest.raises(ConfigError, match="equal parts: take 1, 2, 3 or 6"):
        shares(4, *options, "objective.koleo_weight=0")


def test_a_koleo_group_on_two_ranks_is_refused_with_what_fits() -> None:
    with pytest.raises(ConfigError) as caught:
        shares(4, "objective.koleo_group_size=8")
    assert "the share of each of 4 ranks is 4 of 16 images" in str(caught.value)
    assert "Start 1 or 2 ranks." in str(caught.value) and "koleo_group_size: 2 or 4" in str(caught.value)
    shares(4, "objective.koleo_group_size=8", "objective.koleo_weight=0")


def test_advice_where_a_rank_has_one_image() -> None:
    with pytest.raises(ConfigError, match=r"Start 1 ranks.*koleo_group_size: there is none"):
        shares(16, "objective.koleo_group_size=16")
