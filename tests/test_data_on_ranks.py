"""What the trainer's steps see, on any number of ranks and workers: all of a run but the training itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from rich.console import Console

from franca.batch import Batch
from franca.config.recipes import load_recipe
from franca.train import pretrain as trainer
from franca.train import training
from tests.data.tars import picture, write_tar
from tests.distributed.ranks import run_ranks

GLOBAL_BATCH, MICRO_BATCH = 12, 2
SIZES = (13, 1, 20, 7, 19)  # of shards of very different lengths, with 60 samples in all: five steps a pass
STEPS_A_PASS = sum(SIZES) // GLOBAL_BATCH
STEPS = 2 * STEPS_A_PASS
BAD = {"0.tar/3": 3, "1.tar/0": 13, "4.tar/18": 59}  # samples that cannot be decoded, by key


class Image(NamedTuple):
    """What a step sees of one position."""

    position: int
    sample: int
    content: str  # of all its crops and masks, and of what is random in the model


class Step(NamedTuple):
    """What all ranks together see in one step."""

    images: list[Image]
    bad: list[str]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("shards")
    for shard, size in enumerate(SIZES):
        members = [(f"{n}.png", b"?" if f"{shard}.tar/{n}" in BAD else picture(40 * shard + n)) for n in range(size)]
        write_tar(root / f"{shard}.tar", members)
    return root


@pytest.fixture(scope="module")
def alone(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Step]:
    """What one rank without workers sees."""
    return seen(shards, tmp_path_factory.mktemp("runs"), world=1, workers=0)


@pytest.mark.parametrize(
    ("world", "workers"),
    [(1, 2), (3, 0), *(pytest.param(*several, marks=pytest.mark.slow) for several in ((2, 0), (2, 2), (3, 2)))],
)
def test_ranks_and_workers_change_nothing(
    shards: Path, alone: list[Step], tmp_path: Path, world: int, workers: int
) -> None:
    found = seen(shards, tmp_path, world=world, workers=workers)
    assert len(found) == len(alone) == STEPS
    for number, (mine, expected) in enumerate(zip(found, alone, strict=True)):
        assert mine == expected, f"step {number}"


def test_every_sample_comes_once_a_pass_and_bad_ones_are_replaced(alone: list[Step]) -> None:
    good = set(range(sum(SIZES))) - set(BAD.values())
    orders = []
    for number in range(2):
        steps = alone[number * STEPS_A_PASS :][:STEPS_A_PASS]
        samples = [image.sample for step in steps for image in step.images]
        positions = [image.position for step in steps for image in step.images]
        assert positions == list(range(number * sum(SIZES), (number + 1) * sum(SIZES)))
        assert set(samples) == good  # all that can be read; the replacements of the others are among them
        assert set(BAD) <= {key for step in steps for key in step.bad}
        orders.append(samples)
    assert orders[0] != orders[1]
    contents = [image.content for step in alone for image in step.images]
    assert len(set(contents)) == len(contents)


def seen(shards: Path, folder: Path, *, world: int, workers: int) -> list[Step]:
    """What the steps of a run see."""
    ranks = run_ranks(_run, str(shards), str(folder / "run"), world, workers, world_size=world)
    return [
        Step(
            sorted(image for part in parts for image in part.images), sorted(key for part in parts for key in part.bad)
        )
        for parts in zip(*ranks, strict=True)
    ]


def _run(rank: int, shards: str, folder: str, world: int, workers: int) -> list[Step]:
    """The trainer on one rank, with a look at each batch in place of a training step."""
    names = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    steps: list[Step] = []

    def look(_networks: Any, _objective: Any, _optimizer: Any, loader: Iterator[Batch], *_: Any, **known: Any) -> bool:
        batches = list(loader)
        width = known["accumulation"]
        steps.extend(_together(batches[start : start + width]) for start in range(0, len(batches), width))
        return True

    training.train = look
    trainer.process_group = lambda *_: nullcontext()  # there is one already
    config = load_recipe(
        "tiny",
        [
            f"run.dir={folder}",
            f"data.train={shards}",
            f"train.steps={STEPS}",
            f"train.global_batch={GLOBAL_BATCH}",
            f"performance.micro_batch={MICRO_BATCH}",
            f"performance.workers={workers}",
            "objective.koleo_weight=0",
            "performance.device=cpu",
        ],
    )
    trainer.pretrain(config, command="", console=Console(quiet=True))
    return steps


def _together(batches: list[Batch]) -> Step:
    """One rank's part of a step."""
    assert len({batch.num_images for batch in batches}) == 1 and batches[0].num_images == MICRO_BATCH
    return Step(
        [image for batch in batches for image in _images(batch)],
        [skipped.key for batch in batches for skipped in batch.skipped],
    )


def _images(batch: Batch) -> Iterator[Image]:
    views = [part.unflatten(0, (-1, batch.num_images)) for part in (batch.global_crops, batch.local_crops, batch.masks)]
    for index, (position, sample) in enumerate(zip(batch.positions.tolist(), batch.samples.tolist(), strict=True)):
        digest = hashlib.sha256(f"{batch.seed} {batch.global_batch}".encode())
        for part in views:
            digest.update(part[:, index].contiguous().to(torch.float32).numpy().tobytes())
        yield Image(position, sample, digest.hexdigest())
