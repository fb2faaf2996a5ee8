"""Extraction against calling the backbone by hand."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from franca.data.sample import BadSample, Sample
from franca.distributed.in_step import BrokenOff
from franca.errors import ConfigError, DataError, OutOfMemory
from franca.features import extract as extraction
from franca.features.extract import extract as extract_job
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.preprocess import bring_to, normalise
from franca.features.settings import FeatureSettings
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer
from tests.distributed.ranks import run_ranks

SIZE_PX = 16
STOPPED = FeatureSettings(image_size_px=16, batch_size=3, workers=0, cache=False)


@dataclass
class Images:
    """Random images of different sizes; those in ``bad`` cannot be read."""

    count: int = 7
    bad: tuple[int, ...] = ()
    labelled: bool = True
    kind: str = "folder"
    location: str = "somewhere"
    class_names: tuple[str, ...] | None = ("cat", "dog")

    @property
    def group_sizes(self) -> tuple[int, ...]:
        return (self.count,)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Sample:
        if index in self.bad:
            raise BadSample(f"image {index}", "truncated")
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(256, (3, 20 + index, 30), dtype=torch.uint8, generator=generator)
        return Sample(f"image {index}", image, index % 2 if self.labelled else None)


def extract(
    backbone: nn.Module,
    source: Images,
    wanted: Wanted = CLASS_EMBEDDING,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> FeatureTable:
    """Extraction on the CPU, with any settings."""
    job = Job(FeatureModel(backbone), source, wanted, FeatureSettings(**settings), torch.device("cpu"))
    return extract_job(job, progress)


@pytest.fixture
def backbone() -> VisionTransformer:
    model = VisionTransformer(width=24, depth=3, num_heads=2, patch_size_px=4, image_size_px=SIZE_PX, num_registers=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    model.preprocessing = Preprocessing(SIZE_PX, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    return model


def inputs(source: Images, size_px: int = SIZE_PX) -> Tensor:
    images = [bring_to(source.read(i).image, (size_px, size_px)) for i in range(len(source)) if i not in source.bad]
    return normalise(torch.stack(images), (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))


def test_features_are_those_of_the_backbone(backbone: VisionTransformer) -> None:
    source = Images()
    table = extract(backbone, source, Wanted(2, True, True), batch_size=3, workers=0, precision="fp32")
    with torch.no_grad():
        last = backbone.eval().features(inputs(source))
        earlier = backbone.get_intermediate_layers(inputs(source), n=2, return_class_token=True)[0][1]
    torch.testing.assert_close(table.cls, torch.stack([earlier, last.cls], 1))
    assert table.patches is not None and table.patch_mean is not None and table.labels is not None
    (batch,) = table.patches.batches(7)
    torch.testing.assert_close(batch.patches.flatten(1, 2), last.patches, rtol=1e-3, atol=1e-3)  # kept in halves
    assert table.patches.grid == (4, 4) and batch.masks is None
    torch.testing.assert_close(table.patch_mean, last.patches.mean(1))
    assert table.labels.tolist() == [0, 1, 0, 1, 0, 1, 0]
    assert (table.keys[6], table.class_names, table.skipped) == ("image 6", ("cat", "dog"), ())


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 0), (2, 2)])
def test_batches_and_workers_change_nothing(backbone: VisionTransformer, batch_size: int, workers: int) -> None:
    whole = extract(backbone, Images(), batch_size=100, workers=0, precision="fp32")
    parts = extract(backbone, Images(), batch_size=batch_size, workers=workers, precision="fp32")
    torch.testing.assert_close(parts.cls, whole.cls)
    assert parts.keys == whole.keys


def test_only_what_is_wanted_is_kept(backbone: VisionTransformer) -> None:
    table = extract(backbone, Images(), workers=0)
    assert table.cls.shape == (7, 1, 24) and table.cls.dtype == torch.float32
    assert table.patch_mean is None and table.patches is None


def test_a_shorter_model_gives_all_its_blocks(backbone: VisionTransformer) -> None:
    assert extract(backbone, Images(), Wanted(layers=9), workers=0).cls.shape == (7, 3, 24)


def test_the_image_size_can_be_changed(backbone: VisionTransformer) -> None:
    table = extract(backbone, Images(), image_size_px=24, workers=0, precision="fp32")
    with torch.no_grad():
        torch.testing.assert_close(table.embedding, backbone(inputs(Images(), 24)))


def test_unreadable_images_are_left_out_and_named(backbone: VisionTransformer) -> None:
    source = Images(bad=(0, 1, 5))
    table = extract(backbone, source, batch_size=2, workers=0, precision="fp32")
    assert table.keys == ("image 2", "image 3", "image 4", "image 6")
    assert [(bad.key, bad.reason) for bad in table.skipped] == [(f"image {i}", "truncated") for i in (0, 1, 5)]
    with torch.no_grad():
        torch.testing.assert_close(table.embedding, backbone(inputs(source)))


def test_nothing_readable(backbone: VisionTransformer) -> None:
    with pytest.raises(DataError, match="somewhere: none of its 2 images could be read"):
        extract(backbone, Images(count=2, bad=(0, 1)), workers=0)


def test_no_labels(backbone: VisionTransformer) -> None:
    assert extract(backbone, Images(labelled=False), workers=0).labels is None


def test_patches_must_tile_the_image(backbone: VisionTransformer) -> None:
    with pytest.raises(DataError, match=r"image_size_px=18 .* 4 px; try image_size_px=16 or image_size_px=20"):
        extract(backbone, Images(), image_size_px=18)


def test_progress_counts_every_image(backbone: VisionTransformer) -> None:
    seen: list[tuple[int, int]] = []
    extract(backbone, Images(bad=(3,)), batch_size=3, workers=0, progress=lambda *now: seen.append(now))
    assert seen == [(3, 7), (6, 7), (7, 7)]


def test_bf16_is_near_fp32(backbone: VisionTransformer) -> None:
    exact = extract(backbone, Images(), workers=0, precision="fp32").embedding
    rounded = extract(backbone, Images(), workers=0, precision="bf16").embedding
    assert not torch.equal(exact, rounded)
    assert torch.cosine_similarity(exact, rounded).min() > 0.99


def test_a_model_that_only_embeds() -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    table = extract(Mean(), Images(), Wanted(4, True, True), image_size_px=8, workers=0)
    assert table.cls.shape == (7, 1, 3)
    assert table.patch_mean is None and table.patches is None


def test_a_model_that_fails_is_told_in_one_message() -> None:
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(7, 2))
    said = (
        r"the model fails on a batch of images \[1, 3, 16, 16\], fp32 on cpu: RuntimeError: .*768.*7x2.*image_size_px"
    )
    with pytest.raises(ConfigError, match=said) as caught:
        extract(backbone, Images(), image_size_px=16, precision="fp32")
    assert isinstance(caught.value.__cause__, RuntimeError)


class FailsOnMany(nn.Module):
    """Does not take more than two images at once."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: Tensor) -> Tensor:
        if len(images) > 2:
            raise self.error
        return images.mean((2, 3))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (
            ZeroDivisionError("no"),
            ConfigError,
            r"\[3, 3, 16, 16\].*: ZeroDivisionError: no \(.*test_extract.py:\d+, in f",
        ),
        (torch.OutOfMemoryError("CUDA out of memory."), OutOfMemory, r"\[3, 3, 16, 16\].*CUDA out .* Lower batch_size"),
    ],
)
def test_a_model_that_fails_on_the_way_is_told_too(error: Exception, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught:
        extract(FailsOnMany(error), Images(), image_size_px=16, batch_size=3, workers=0, cache=False)
    assert caught.value.__cause__ is error


def test_a_model_whose_width_follows_the_batch_is_told() -> None:
    class Whimsical(nn.Module):
        """Gives one image its pixels, several their mean colours."""

        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1) if len(images) == 1 else images.mean((2, 3))

    with pytest.raises(ConfigError, match=r"3 dimensions for 3 images and 768 for one; expected \[B, D\]"):
        extract(Whimsical(), Images(), image_size_px=16, batch_size=3, workers=0, cache=False)


def failing_ranks(rank: int) -> tuple[str, bool]:
    """What is told, and whether what it was raised from is known, where the second rank alone fails."""
    model = Mean() if rank == 0 else FailsOnMany(ZeroDivisionError("no"))
    with pytest.raises(ConfigError) as caught:
        extract(model, Images(count=40), image_size_px=16, batch_size=3, workers=0, cache=False)
    return str(caught.value), isinstance(caught.value.__cause__, ZeroDivisionError)


def stopped_ranks(rank: int, temporary: str) -> tuple[str, int]:
    """How it ended and how many images were looked at, where the second rank alone is asked to stop, after a batch."""
    tempfile.tempdir = temporary
    done: list[int] = []
    job = Job(FeatureModel(Mean()), Images(40), Wanted(), STOPPED, torch.device("cpu"))
    with pytest.raises(BrokenOff) as caught:
        extract_job(job, lambda now, total: done.append(now), lambda: rank == 1 and bool(done))
    return str(caught.value), done[-1]


def test_one_rank_that_is_to_stop_breaks_off_the_work_of_all_at_the_next_batch(tmp_path: Path) -> None:
    assert run_ranks(stopped_ranks, str(tmp_path)) == [("it was broken off, since a stop was asked for", 3)] * 2
    assert list(tmp_path.iterdir()) == []


def test_the_rank_that_met_an_error_keeps_what_it_was_raised_from() -> None:
    (told, _), (met, known) = run_ranks(failing_ranks)
    assert told == met and "ZeroDivisionError: no" in met
    assert known


@torch.no_grad()
def test_the_class_token_alone_is_the_same(backbone: VisionTransformer) -> None:
    """Where nobody looks at patches, the last block leaves them out."""
    alone = extract(backbone, Images(), workers=0, precision="fp32")
    beside = extract(backbone, Images(), Wanted(patches=True), workers=0, precision="fp32")
    torch.testing.assert_close(alone.cls, beside.cls, rtol=1e-6, atol=1e-6)
    assert beside.patches is not None and alone.patches is None


def one_of_two_machines(rank: int, cache: str) -> tuple[str, list[float]]:
    """Where parts lay, and the features, on ranks that share no temporary folder."""
    os.environ["FRANCA_CACHE"] = cache
    platform.node = lambda: f"machine {rank}"
    place = extraction._seen_by_all()
    return str(place), extract(Mean(), Images(count=40)).embedding.flatten().tolist()


def test_ranks_on_several_machines_meet_in_the_cache_folder(tmp_path: Path) -> None:
    assert extraction._seen_by_all() is None
    cache = tmp_path / "cache"
    expected = extract(Mean(), Images(count=40)).embedding.flatten().tolist()
    for place, found in run_ranks(one_of_two_machines, str(cache)):
        assert place == str(cache) and found == expected
    assert list(cache.iterdir()) == []


class Mean(nn.Module):
    """The simplest model."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))
