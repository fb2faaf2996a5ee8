from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from franca.batch import Batch
from franca.config.schema import Config, DataConfig, ModelConfig, PerformanceConfig, TrainConfig
from franca.data.collate import ATTEMPTS, PretrainingData
from franca.data.decode import decode
from franca.data.sample import Encoded, Sample
from franca.errors import TooManyBadSamples
from tests.data.fake import FakeSource


def config(*, global_batch: int = 12, micro_batch: int | None = None, seed: int = 0) -> Config:
    return Config(
        data=DataConfig(global_size_px=16, local_size_px=8, num_local_crops=2),
        model=ModelConfig(patch_size_px=4),
        train=TrainConfig(global_batch=global_batch, seed=seed),
        performance=PerformanceConfig(micro_batch=micro_batch),
    )


def assert_equal(first: Batch, second: Batch) -> None:
    for field in dataclasses.fields(Batch):
        mine, other = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(mine, other) if isinstance(mine, torch.Tensor) else mine == other


def test_a_batch_has_the_shapes_it_promises() -> None:
    batch = PretrainingData.from_config(FakeSource(50), config(micro_batch=4))[3]
    assert batch.global_crops.shape == (8, 3, 16, 16)
    assert batch.local_crops.shape == (8, 3, 8, 8)
    assert batch.global_crops.dtype == batch.local_crops.dtype == torch.float32
    assert batch.masks.shape == (8, 16)
    assert batch.masks.dtype == torch.bool
    assert batch.positions.tolist() == [12, 13, 14, 15]
    assert batch.samples.dtype == torch.int64
    assert batch.global_batch == 12
    assert 0 <= batch.seed < 2**63
    assert batch.skipped == ()


def test_every_image_is_the_one_of_its_sample() -> None:
    source = FakeSource(50, flat=True)  # each image is one grey value of its own
    plain = dataclasses.replace(config().data, color_jitter=0, grayscale=0, solarize=0, mean=[0.0] * 3, std=[1.0] * 3)
    batch = PretrainingData.from_config(source, dataclasses.replace(config(), data=plain))[1]
    for crops, views in ((batch.global_crops, 2), (batch.local_crops, 2)):
        grey = (crops.mean((1, 2, 3)) * 255).round().long().view(views, 12)
        assert torch.equal(grey, batch.samples.expand(views, 12))


@pytest.mark.parametrize("micro_batch", [1, 4, 6])
def test_micro_batches_together_are_the_global_batch(micro_batch: int) -> None:
    whole = PretrainingData.from_config(FakeSource(50), config())[2]
    parts = 12 // micro_batch
    data = PretrainingData.from_config(FakeSource(50), config(micro_batch=micro_batch))
    batches = [data[2 * parts + part] for part in range(parts)]

    def joined(name: str, views: int) -> torch.Tensor:
        pieces = [getattr(batch, name).unflatten(0, (views, micro_batch)) for batch in batches]
        return torch.cat(pieces, dim=1).flatten(0, 1)

    assert torch.equal(joined("masks", 2), whole.masks)
    assert torch.equal(torch.cat([batch.samples for batch in batches]), whole.samples)
    torch.testing.assert_close(joined("global_crops", 2), whole.global_crops, atol=1e-5, rtol=0)
    torch.testing.assert_close(joined("local_crops", 2), whole.local_crops, atol=1e-5, rtol=0)


def test_a_batch_is_the_same_each_time_and_other_seeds_differ() -> None:
    first = PretrainingData.from_config(FakeSource(50), config())[1]
    assert_equal(first, PretrainingData.from_config(FakeSource(50), config())[1])
    other = PretrainingData.from_config(FakeSource(50), config(seed=1))[1]
    assert not torch.equal(first.global_crops, other.global_crops)
    assert not torch.equal(first.samples, other.samples)
    assert first.seed != other.seed != PretrainingData.from_config(FakeSource(50), config(seed=1))[2].seed


def test_threads_do_not_change_a_batch() -> None:
    threads = torch.get_num_threads()
    data = PretrainingData.from_config(FakeSource(50), config())
    try:
        batches = []
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            batches.append(data[0])
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(threads)
    assert_equal(batches[0], batches[1])
    assert_equal(batches[0], batches[2])


@settings(max_examples=20, deadline=None)
@given(bad=st.sets(st.integers(0, 19), max_size=6))
def test_unreadable_samples_are_replaced_and_listed(bad: set[int]) -> None:
    good = PretrainingData.from_config(FakeSource(20), config())[0]
    batch = PretrainingData.from_config(FakeSource(20, bad=bad), config())[0]
    assert bad.isdisjoint(batch.samples.tolist())
    replaced = [int(sample) in bad for sample in good.samples]
    assert [not same for same in (good.samples == batch.samples).tolist()] == replaced
    assert {bad_one.key for bad_one in batch.skipped} >= {str(s) for s in good.samples.tolist() if s in bad}
    assert {bad_one.reason for bad_one in batch.skipped} <= {"truncated"}
    assert list(batch.keys) == [str(sample) for sample in batch.samples.tolist()]
    assert_equal(batch, PretrainingData.from_config(FakeSource(20, bad=bad), config())[0])


def test_a_source_without_readable_samples_is_given_up() -> None:
    data = PretrainingData.from_config(FakeSource(20, bad=range(20)), config())
    with pytest.raises(TooManyBadSamples, match=rf"memory: {ATTEMPTS} samples in a row .*\(truncated\)"):
        data[0]


def test_fewer_samples_than_a_batch() -> None:
    batch = PretrainingData.from_config(FakeSource(5), config())[0]
    assert sorted(batch.samples.tolist()[:10]) == sorted([*range(5), *range(5)])


class FileSource(FakeSource):
    """JPEGs, larger than crops need; those whose index is ``bad`` are cut off."""

    def __init__(self, num_samples: int, *, bad: tuple[int, ...] = ()) -> None:
        super().__init__(num_samples)
        self._cut_off = bad
        self.full_reads = 0

    def read_encoded(self, index: int) -> Encoded:
        noise = np.random.default_rng(index).integers(0, 256, (8, 6, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((240, 320)).save(buffer, "jpeg", subsampling=0)
        data = buffer.getvalue()
        return Encoded(str(index), data[:1000] if index in self._cut_off else data)

    def read(self, index: int) -> Sample:
        self.full_reads += 1
        file = self.read_encoded(index)
        return Sample(file.key, decode(file.data, file.key))


class PlainSource(FakeSource):
    """The images of a file source, not as files."""

    def __init__(self, files: FileSource) -> None:
        super().__init__(len(files))
        self.files = files

    def read(self, index: int) -> Sample:
        return self.files.read(index)


def test_files_are_decoded_no_larger_than_needed() -> None:
    files = FileSource(50)
    batch = PretrainingData.from_config(files, config())[0]
    assert files.full_reads == 0
    plain = PretrainingData.from_config(PlainSource(files), config())[0]
    assert files.full_reads == 12
    assert batch.keys == plain.keys == tuple(str(sample) for sample in batch.samples.tolist())
    for name in ("global_crops", "local_crops"):
        found, expected = getattr(batch, name), getattr(plain, name)
        assert 0 < (found - expected).abs().mean() < 0.1 * expected.std()


def test_a_cut_off_file_is_replaced() -> None:
    good = PretrainingData.from_config(FileSource(20), config())[0]
    batch = PretrainingData.from_config(FileSource(20, bad=(3, 4)), config())[0]
    replaced = [sample in (3, 4) for sample in good.samples.tolist()]
    assert [not same for same in (good.samples == batch.samples).tolist()] == replaced
    assert {skipped.reason for skipped in batch.skipped} == {"truncated"}


def test_a_cut_batch_is_bytes_and_finishes_to_the_batch() -> None:
    data = PretrainingData.from_config(FakeSource(50), config())
    cut = data.cut(2)
    assert cut.batch.global_crops.dtype == cut.batch.local_crops.dtype == torch.uint8
    assert cut.batch.global_crops.shape == (24, 3, 16, 16)
    assert_equal(data.finish(cut, torch.device("cpu")), data[2])
    assert_equal(data.finish(cut, torch.device("cpu")), data[2])  # finishing does not use the bytes up
