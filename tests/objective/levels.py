"""One level of a clustering loss with random contents, and what a backend makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from franca.objective.backends import Backend
from franca.objective.targets import Pairs


@dataclass(frozen=True)
class Level:
    """Rows of teacher and student, prototypes of both, and who meets whom."""

    teacher_rows: Tensor  # [R', b]
    student_rows: Tensor  # [R, b]
    teacher_weight: Tensor  # [K, b]
    student_weight: Tensor  # [K, b]
    pairs: Pairs
    teacher_temperature: float = 0.04
    student_temperature: float = 0.1

    def to(self, target: torch.dtype | torch.device) -> Level:
        """The same numbers in another dtype, or on another device."""
        names = ("teacher_rows", "student_rows", "teacher_weight", "student_weight")
        pairs = self.pairs
        if isinstance(target, torch.device):
            pairs = Pairs(*(tensor.to(target) for tensor in vars(pairs).values()))
        return replace(self, pairs=pairs, **{name: getattr(self, name).to(target) for name in names})


def dino_pairs(num_images: int, num_local: int) -> Pairs:
    """Each global crop meets the other one, each local crop both."""
    views = [(t, s) for t in range(2) for s in range(2 + num_local) if s != t]
    teacher, student = torch.tensor(views).T
    image = torch.arange(num_images)
    weight = torch.full((len(views) * num_images,), 1 / (len(views) * num_images))
    return Pairs(
        (student[:, None] * num_images + image).flatten(), (teacher[:, None] * num_images + image).flatten(), weight
    )


def ibot_pairs(num_rows: int) -> Pairs:
    """Row meets row; weights differ."""
    row = torch.arange(num_rows)
    return Pairs(row, row, (1 + row % 7) / (4 * max(num_rows, 1)))


def odd_pairs(num_rows: int, num_teacher_rows: int, num_pairs: int) -> Pairs:
    """Anybody meets anybody, some often and some nobody."""
    generator = torch.Generator().manual_seed(5)
    student, teacher = (torch.randint(n, (num_pairs,), generator=generator) for n in (num_rows, num_teacher_rows))
    return Pairs(student, teacher, torch.rand(num_pairs, generator=generator) / num_pairs)


def make_level(
    pairs: Pairs, num_rows: int, num_teacher_rows: int, *, num_prototypes: int = 700, width: int = 16, **options: float
) -> Level:
    """Random unit rows, and prototypes whose lengths differ; float64."""
    generator = torch.Generator().manual_seed(num_rows + num_prototypes)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    rows = [F.normalize(draw(number, width), dim=1) for number in (num_teacher_rows, num_rows)]
    weights = [draw(num_prototypes, width) * draw(num_prototypes, 1).exp() for _ in range(2)]
    return Level(rows[0], rows[1], weights[0], weights[1], pairs, **options)


LEVELS = {
    "dino": make_level(dino_pairs(33, 3), 165, 66),
    "ibot": make_level(ibot_pairs(141), 141, 141),
    "odd": make_level(odd_pairs(133, 9, 150), 133, 9),
}


@dataclass(frozen=True)
class Found:
    """All that a backend gives."""

    potentials: Tensor
    normalizers: Tensor
    loss: Tensor
    of_bottleneck: Tensor
    of_weight: Tensor


def find(backend: Backend, level: Level, *, precision: torch.dtype | None = None, scale: float = 1.0) -> Found:
    """Assign, predict, and go backwards from ``scale`` times the loss."""
    bottleneck = level.student_rows.clone().requires_grad_()
    weight = level.student_weight.clone().requires_grad_()
    with torch.autocast(bottleneck.device.type, dtype=precision, enabled=precision is not None):
        targets = backend.assign(
            level.teacher_rows, level.teacher_weight, temperature=level.teacher_temperature, num_iterations=3
        )
        loss = backend.cross_entropy(bottleneck, weight, targets, level.pairs, temperature=level.student_temperature)
    (scale * loss).backward()
    assert bottleneck.grad is not None and weight.grad is not None
    return Found(targets.potentials, targets.normalizers, loss.detach(), bottleneck.grad, weight.grad)


def errors(found: Found, expected: Found) -> dict[str, float]:
    """Length of every difference relative to the length of what was expected."""
    return {
        name: float(((getattr(found, name) - value).norm() / value.norm()).nan_to_num(0.0))
        for name, value in vars(expected).items()
    }
