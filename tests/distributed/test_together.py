"""What ranks settle: the same answer, and the same error, on all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from franca.distributed.process_group import process_group
from franca.distributed.ranks import Ranks
from franca.distributed.reduce import is_distributed
from franca.distributed.together import (
    any_rank,
    gather,
    is_rank_zero,
    on_rank_zero,
    raise_together,
    raising_together,
)
from franca.errors import ConfigError, TooManyBadSamples
from tests.distributed.ranks import run_ranks


def test_alone_nothing_needs_a_group() -> None:
    assert is_rank_zero() and any_rank(True) and not any_rank(False)
    assert gather("x") == ["x"] and on_rank_zero(lambda: 3) == 3
    raise_together(None)
    with pytest.raises(ConfigError, match="mine") as caught:
        raise_together(ConfigError("mine"))
    assert caught.value.met_on_rank is None
    with process_group(Ranks(), torch.device("cpu")):
        assert not is_distributed()


def test_alone_an_error_passes_as_it_is() -> None:
    mine = ConfigError("mine")
    with pytest.raises(ConfigError) as caught, raising_together():
        raise mine
    assert caught.value is mine
    with pytest.raises(ZeroDivisionError), raising_together():
        raise ZeroDivisionError
    with raising_together():
        pass


def _settle(rank: int, folder: Path) -> dict[str, object]:
    def write() -> str:
        (folder / "written").open("x").close()  # fails where another rank was here
        return f"by {rank}"

    found: dict[str, object] = {"written": on_rank_zero(write), "gathered": gather(rank * 10)}
    found["any"] = [any_rank(rank == 1), any_rank(False)]
    raise_together(None)
    with pytest.raises(TooManyBadSamples) as bad:
        raise_together(TooManyBadSamples(f"bad on {rank}") if rank == 1 else None)
    with pytest.raises(TooManyBadSamples) as met, raising_together():
        _fail_on(1, rank)
    with pytest.raises(FileExistsError):
        on_rank_zero(write)
    with pytest.raises(ConfigError) as refused:
        on_rank_zero(_refuse)
    return found | {"errors": [(str(e.value), e.value.met_on_rank) for e in (bad, met, refused)]}


def _fail_on(rank: int, mine: int) -> None:
    if mine == rank:
        raise TooManyBadSamples(f"met on {rank}")


def _refuse() -> None:
    raise ConfigError("no")


def test_all_ranks_find_the_same(tmp_path: Path) -> None:
    for found in run_ranks(_settle, tmp_path):
        assert found == {
            "written": "by 0",
            "gathered": [0, 10],
            "any": [True, False],
            "errors": [("bad on 1", 1), ("met on 1", 1), ("no", 0)],
        }
