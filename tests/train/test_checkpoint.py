"""Checkpoints: exact, strict, and safe from a kill."""

from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import Tensor

from franca.distributed.ranks import Ranks
from franca.distributed.shards import whole
from franca.errors import CheckpointError
from franca.train import saver as saver_module
from franca.train.checkpoint import Progress, complete_checkpoints, load, load_networks, step_name
from franca.train.clipping import Clip
from franca.train.optim import build_optimizer
from franca.train.parallel import parallelize
from franca.train.saver import Saver
from franca.train.step import train_step
from franca.train.student_teacher import StudentTeacher
from tests.distributed.ranks import run_ranks
from tests.objective.factory import cut, make_batch, make_network, make_objective
from tests.train.layouts import ClipAndKeep
from tests.train.test_step import RATES, parameters


def make(seed: int = 1) -> tuple[StudentTeacher, torch.optim.Optimizer]:
    networks = StudentTeacher(make_network(seed), make_network(seed + 1))
    return networks, build_optimizer(networks.student)


def save(folder: Path, networks: StudentTeacher, optimizer: torch.optim.Optimizer, progress: Progress) -> Path:
    """Save and wait until it is written."""
    with closing(Saver(folder, networks, optimizer, keep_last=9)) as saver:
        saver.save(progress)
        saver.wait()
    return folder / step_name(progress.step)


def train(networks: StudentTeacher, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        train_step(networks, make_objective(), optimizer, [make_batch(step)], RATES, clip=Clip(3.0))


@pytest.mark.parametrize("at", [0, 2])
def test_going_on_is_bitwise_the_same_also_from_step_zero(tmp_path: Path, at: int) -> None:
    networks, optimizer = make()
    train(networks, optimizer, range(at))
    path = save(tmp_path, networks, optimizer, Progress(at, {"images": 5}))
    train(networks, optimizer, range(at, 4))

    resumed, other = make(seed=7)
    assert load(path, resumed, other) == Progress(at, {"images": 5})
    train(resumed, other, range(at, 4))
    expected = parameters(networks)
    for name, value in parameters(resumed).items():
        assert torch.equal(value, expected[name]), name


Next = tuple[list[Tensor], dict[str, Tensor], dict[str, Tensor]]


def next_step(folder: Path, rank: int, world: int, mode: str, *, at: int) -> Next:
    """Restore the checkpoint of step ``at``; its parameters, and what the next step's losses and gradients are."""
    ranks = Ranks(rank=rank, world=world, local_rank=rank, local_world=world)
    networks, _ = make(seed=7)
    parallelize(networks, mode, ranks, device=torch.device("cpu"), precision="fp32")
    optimizer = build_optimizer(networks.student)
    assert load(folder / step_name(at), networks, optimizer).counts == {"images": 5}
    restored = {name: whole(p.detach()).clone() for name, p in networks.named_parameters()}
    clip = ClipAndKeep()
    mine = cut(make_batch(at, num_images=24), world)[rank]
    result = train_step(networks, make_objective(), optimizer, [mine], RATES, clip=clip)  # type: ignore[arg-type]
    stepped = {f"{name} after": whole(p.detach()) for name, p in networks.named_parameters()}
    return [result.losses.total, result.norms.total], clip.kept[0], restored | stepped


def _train_and_save(rank: int, folder: Path) -> None:
    networks, _ = make()
    ranks = Ranks(rank=rank, world=2, local_rank=rank, local_world=2)
    parallelize(networks, "fsdp", ranks, device=torch.device("cpu"), precision="fp32")
    optimizer = build_optimizer(networks.student)
    for step in range(2):
        mine = cut(make_batch(step, num_images=24), 2)[rank]
        train_step(networks, make_objective(), optimizer, [mine], RATES, clip=Clip(3.0))
    save(folder, networks, optimizer, Progress(2, counts={"images": 5}))


def _load_and_step(rank: int, folder: Path, world: int, mode: str) -> Next:
    return next_step(folder, rank, world, mode, at=2)


@pytest.fixture(scope="module")
def of_two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a checkpoint that two ranks saved in shards."""
    folder = tmp_path_factory.mktemp("checkpoints")
    run_ranks(_train_and_save, folder)
    return folder


@pytest.mark.parametrize(
    ("world", "mode"),
    [
        (3, "fsdp"),
        pytest.param(2, "fsdp", marks=pytest.mark.slow),
        pytest.param(2, "ddp", marks=pytest.mark.slow),
        pytest.param(4, "fsdp", marks=pytest.mark.slow),
        pytest.param(4, "ddp", marks=pytest.mark.slow),
    ],
)
def test_a_checkpoint_knows_no_ranks(of_two_ranks: Path, world: int, mode: str) -> None:
    losses, gradients, parameters = next_step(of_two_ranks, 0, 1, "none", at=2)
    for found in run_ranks(_load_and_step, of_two_ranks, world, mode, world_size=world):
        for name, value in parameters.items():
            if name.endswith(" after"):
                torch.testing.assert_close(found[2][name], value, rtol=1e-3, atol=1e-4, msg=name)
            else:
                assert torch.equal(found[2][name], value), name
        torch.testing.assert_close(found[0], losses, rtol=1e-5, atol=1e-5)
        for name, value in gradients.items():
            assert (found[1][name] - value).norm() < 1e-5 * value.norm().clamp(min=1e-2), name


def _save_where_nothing_can_be_written(rank: int, folder: Path) -> str:
    networks, optimizer = make()
    with pytest.raises(CheckpointError) as caught:
        save(folder / "file", networks, optimizer, Progress(1))
    return str(caught.value)


def test_all_ranks_hear_that_one_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for message in run_ranks(_save_where_nothing_can_be_written, tmp_path):
        assert "cannot be written" in message


def test_names_and_shapes_must_agree(tmp_path: Path) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress())
    other, _ = make()
    del other.student.heads["ibot"], other.teacher.heads["ibot"]
    with pytest.raises(CheckpointError, match=r"unexpected: networks\.student\.heads\.ibot"):
        load_networks(path, other)
    wider, _ = make()
    wider.student.backbone.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 20))
    wider.student.backbone.extra = torch.nn.Parameter(torch.zeros(1))
    with pytest.raises(CheckpointError) as caught:
        load_networks(path, wider)
    assert "missing: networks.student.backbone.extra" in str(caught.value)
    assert "cls_token: (1, 1, 16) in the file, (1, 1, 20) in this run" in str(caught.value)


def test_an_unfinished_checkpoint_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, optimizer = make()
    save(tmp_path, networks, optimizer, Progress(1))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "_sync", die)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, networks, optimizer, Progress(2))
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [1]
    save(tmp_path, networks, optimizer, Progress(2))
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [1, 2]


def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress(1))
    (data,) = path.glob("*.distcp")
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(path, networks, optimizer)


def test_the_newest_and_the_milestones_are_kept(tmp_path: Path) -> None:
    networks, optimizer = make()
    saver = Saver(tmp_path, networks, optimizer, keep_last=2, keep_every_steps=3)
    for step in range(8):
        saver.save(Progress(step))
    saver.wait()
    saver.close()
    assert [step for step, _ in complete_checkpoints(tmp_path)] == [0, 3, 6, 7]


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, optimizer = make()
    train(networks, optimizer, range(1))
    before = parameters(networks)
    moved_on = threading.Event()
    sync = saver_module._sync
    monkeypatch.setattr(saver_module, "_sync", lambda path: (moved_on.wait(60), sync(path)))
    saver, progress = Saver(tmp_path, networks, optimizer), Progress(1, counts={"images": 4})
    saver.save(progress)
    train(networks, optimizer, range(1, 3))
    progress.step, progress.counts["images"] = 3, 12
    assert not complete_checkpoints(tmp_path)
    moved_on.set()
    saver.wait()
    saver.close()
    other, other_optimizer = make(seed=7)
    assert load(tmp_path / step_name(1), other, other_optimizer) == Progress(1, counts={"images": 4})
    for name, value in parameters(other).items():
        assert torch.equal(value, before[name]), name


def test_a_full_disk_is_told_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks, optimizer = make()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(saver_module, "_sync", full)
        with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left"):
            save(tmp_path, networks, optimizer, Progress(1))
    assert list(tmp_path.iterdir()) == []


def test_a_complete_checkpoint_is_never_taken_away_for_another_of_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks, optimizer = make()
    path = save(tmp_path, networks, optimizer, Progress(1))
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(saver_module.shutil, "rmtree", lambda *_, **__: pytest.fail("it was there already"))
        save(tmp_path, networks, optimizer, Progress(1))
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    (path / "COMPLETE").unlink()  # a save that was killed
    save(tmp_path, networks, optimizer, Progress(1))
    assert complete_checkpoints(tmp_path) == [(1, path)]
