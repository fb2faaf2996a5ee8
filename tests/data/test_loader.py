from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from franca.data.collate import PretrainingData
from franca.data.loader import Batches, make_loader
from franca.data.packed import PackedStrings
from franca.data.sample import Sample
from franca.errors import TooManyBadSamples
from tests.data.fake import FakeSource
from tests.data.test_collate import assert_equal, config

CPU = torch.device("cpu")


def load(source: FakeSource, *, start: int = 0, stop: int = 6, workers: int = 0) -> Batches:
    data = PretrainingData.from_config(source, config(micro_batch=4))
    return make_loader(data, start=start, stop=stop, workers=workers, device=CPU)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_do_not_change_batches(workers: int) -> None:
    source = FakeSource(50, bad=[3, 14, 15])
    alone, together = list(load(source)), list(load(source, workers=workers))
    assert len(alone) == len(together) == 6
    for first, second in zip(alone, together, strict=True):
        assert_equal(first, second)


@pytest.mark.parametrize("workers", [0, 1])
def test_colours_on_the_device_give_the_same_batches(workers: int) -> None:
    data = PretrainingData.from_config(FakeSource(50, bad=[3]), config(micro_batch=4))
    loader = make_loader(data, start=0, stop=3, workers=workers, device=CPU, augment_on="device")
    batches = list(loader)
    for found, expected in zip(batches, load(FakeSource(50, bad=[3]), stop=3), strict=True):
        assert_equal(found, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_starting_in_the_middle_gives_the_same_batches(workers: int) -> None:
    whole = list(load(FakeSource(50)))
    rest = list(load(FakeSource(50), start=4, workers=workers))
    assert [batch.positions[0] for batch in rest] == [16, 20]
    assert_equal(rest[0], whole[4])
    assert_equal(rest[1], whole[5])


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(load(FakeSource(50), workers=1, stop=2))
    assert torch.equal(torch.get_rng_state(), before)


def test_nothing_to_load() -> None:
    assert list(load(FakeSource(5), start=3, stop=3)) == []


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_source_gives_one_line_from_a_worker_too(workers: int) -> None:
    with pytest.raises(TooManyBadSamples) as caught:
        list(load(FakeSource(20, bad=range(20)), workers=workers))
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_leaving_early_ends_the_workers() -> None:
    batches = load(FakeSource(50), stop=1000, workers=2)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_workers_ignore_signals_meant_for_the_main_process() -> None:
    batches = load(FakeSource(50), stop=12, workers=1)
    next(batches)
    (worker,) = multiprocessing.active_children()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid or 0, number)
    assert len(list(batches)) == 11


SCRIPT = """
import multiprocessing, time
from tests.data.test_loader import FakeSource, load
batches = load(FakeSource(50), stop=100000, workers=2)
next(batches)
print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)
{end}
"""


def start(end: str) -> tuple[subprocess.Popen[str], list[int]]:
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(end=end)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, [int(pid) for pid in process.stdout.readline().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_die_with_a_killed_parent() -> None:
    process, workers = start("time.sleep(60)")
    assert len(workers) == 2
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 2
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(is_alive, workers))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_fails_in_the_middle_does_not_wait_for_its_workers() -> None:
    process, workers = start("1 / 0")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "worker" not in errors
    assert not any(map(is_alive, workers))


class ManyPaths(FakeSource):
    """A million paths, of which each gives a tiny image."""

    def __init__(self) -> None:
        super().__init__(1_000_000)
        self._paths = PackedStrings(
            f"photos/{index % 1000:03d}/{index:07d}_of_a_million.jpg" for index in range(len(self))
        )

    def read(self, index: int) -> Sample:
        assert self._paths[index].endswith(f"{index:07d}_of_a_million.jpg")
        return super().read(index)


def own_bytes(pid: int) -> int:
    """Memory that a process shares with no other: what copying on write adds up to."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads /proc")
def test_the_memory_of_workers_stays_flat_over_a_million_paths() -> None:
    batches = load(ManyPaths(), stop=2100, workers=2)
    sizes = []
    for number in range(2001):
        next(batches)
        if number in (50, 1000, 2000):
            sizes.append([own_bytes(worker.pid or 0) for worker in multiprocessing.active_children()])
    batches.close()
    assert len(sizes) == 3 and all(len(size) == 2 for size in sizes)
    for early, middle, late in zip(*sizes, strict=True):
        assert middle - early < 8 << 20
        assert late - early < 8 << 20


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("workers", [0, 1])
def test_batches_for_cuda_are_pinned(workers: int) -> None:
    data = PretrainingData.from_config(FakeSource(50), config())
    (batch,) = make_loader(data, start=0, stop=1, workers=workers, device=torch.device("cuda"))
    assert batch.global_crops.is_pinned()
    assert batch.masks.is_pinned()
    assert batch.to(torch.device("cuda")).samples.is_cuda


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("workers", [0, 1])
def test_cuda_finishes_batches_as_the_cpu_does(workers: int) -> None:
    data = PretrainingData.from_config(FakeSource(50), config())
    cuda = torch.device("cuda")
    (batch,) = make_loader(data, start=0, stop=1, workers=workers, device=cuda, augment_on="device")
    assert batch.global_crops.is_cuda and batch.samples.is_cuda
    for name in ("global_crops", "local_crops"):
        torch.testing.assert_close(getattr(batch, name).cpu(), getattr(data[0], name), atol=5e-3, rtol=0)
