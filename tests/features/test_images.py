"""Batches of images: who is in them, and who is not."""

from __future__ import annotations

import pytest
import torch

from franca.batch import Skipped
from franca.distributed import cores
from franca.features.images import LabelledImage, default_workers, to_batch


def test_a_batch_keeps_order_and_lists_what_is_missing() -> None:
    first = LabelledImage("a", torch.full((3, 2, 2), 1, dtype=torch.uint8), 4)
    last = LabelledImage("c", torch.full((3, 2, 2), 3, dtype=torch.uint8), None)
    batch = to_batch([first, Skipped("b", "empty"), last])
    assert batch.images[:, 0, 0, 0].tolist() == [1, 3]
    assert (batch.keys, batch.labels, batch.skipped) == (("a", "c"), (4, None), (Skipped("b", "empty"),))


def test_a_batch_of_nothing() -> None:
    batch = to_batch([Skipped("b", "empty")])
    assert (len(batch.images), batch.keys) == (0, ())


def test_a_handful_of_images_starts_no_process() -> None:
    assert default_workers(10) == 0
    assert 0 <= default_workers(10**9) <= 8


def test_ranks_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 16)
    alone = default_workers(10**9)
    for name, value in {"RANK": 1, "WORLD_SIZE": 4, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 4}.items():
        monkeypatch.setenv(name, str(value))
    assert (alone, default_workers(10**9)) == (8, 3)
