"""Compiled blocks: the same names and results, also where the compiler fails."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from franca.train import compilation
from franca.train.compilation import compile_blocks
from franca.train.optim import build_optimizer
from franca.train.step import train_step
from franca.train.student_teacher import StudentTeacher
from tests.objective.factory import make_batch, make_network, make_objective
from tests.train.layouts import ClipAndKeep
from tests.train.test_step import RATES


@pytest.fixture(autouse=True)
def _forget_what_was_compiled() -> Any:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


Found = tuple[Tensor, dict[str, Tensor]]


def step(networks: StudentTeacher) -> Found:
    """The loss and the gradients of one step."""
    optimizer, clip = build_optimizer(networks.student), ClipAndKeep()
    result = train_step(networks, make_objective(), optimizer, [make_batch(0)], RATES, clip=clip)  # type: ignore[arg-type]
    assert result.applied
    return result.losses.total, clip.kept[0]


def networks_with(say: list[str] | None) -> StudentTeacher:
    """Student and teacher, compiled where there is someone to tell."""
    networks = StudentTeacher(make_network(1), make_network(2))
    if say is not None:
        compile_blocks([*networks.student.backbone.blocks, *networks.teacher.backbone.blocks], say.append)
    return networks


def assert_like_eager(networks: StudentTeacher, found: Found) -> None:
    eager = networks_with(None)
    loss, gradients = step(eager)
    assert list(networks.state_dict()) == list(eager.state_dict())
    torch.testing.assert_close(found[0], loss, rtol=1e-5, atol=1e-5)
    assert found[1].keys() == gradients.keys()
    for name, value in gradients.items():
        assert (found[1][name] - value).norm() < 1e-5 * value.norm().clamp(min=1e-3), name


def test_where_the_compiler_fails_blocks_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> NoReturn:
        raise RuntimeError("no working compiler\nand a long story")

    monkeypatch.setattr(compilation, "lookup_backend", lambda name: broken)
    said: list[str] = []
    networks = networks_with(said)
    assert_like_eager(networks, step(networks))
    (note,) = said  # once, whatever the number of blocks
    assert "run as they are: RuntimeError: no working compiler" in note and "story" not in note


@pytest.mark.slow
def test_compiled_blocks_compute_the_same() -> None:
    said: list[str] = []
    networks = networks_with(said)
    assert_like_eager(networks, step(networks))
    assert said == []
