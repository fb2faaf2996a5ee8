"""Student and teacher: two networks of one shape, of which the second follows the first."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from franca.distributed.shards import local
from franca.layers.initialization import STD
from franca.objective.network import Network


class StudentTeacher(nn.Module):
    """The student, which learns, and the teacher, its exponential moving average, which never sees a gradient."""

    def __init__(self, student: Network, teacher: Network) -> None:
        super().__init__()
        self.student = student
        self.teacher = teacher.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> StudentTeacher:
        """Set the student's mode; the teacher is always in evaluation mode."""
        super().train(mode)
        self.teacher.eval()
        return self

    def materialize(self, device: torch.device) -> None:
        """Give networks built on the meta device real memory, full of NaN, so that what is forgotten shows."""
        self.to_empty(device=device)
        with torch.no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                if tensor.is_floating_point():
                    tensor.fill_(float("nan"))

    def initialize(self, seed: int, device: torch.device, *, std: float = STD) -> None:
        """Draw the student from ``seed`` on the CPU, start the teacher as its copy, and move both to ``device``.

        Args:
            seed: of the random numbers.
            device: where both end up.
            std: standard deviation of the weights of linear layers.
        """
        self.student.initialize(seed, std=std)
        self.teacher.to_empty(device="cpu")
        self.teacher.load_state_dict(self.student.state_dict())
        self.to(device)

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """teacher = momentum * teacher + (1 - momentum) * student, in fp32; every rank averages its own shards."""
        average = get_ema_multi_avg_fn(momentum)
        average([local(p) for p in self.teacher.parameters()], [local(p) for p in self.student.parameters()], 0)
