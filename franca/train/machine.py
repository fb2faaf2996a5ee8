"""Where and how a start of a run computes; the next start of the same run may do otherwise."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from franca.config.schema import Config
from franca.distributed.device import resolve_device, resolve_precision
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError
from franca.train.parallel import resolve_mode
from franca.train.share import Share, share_of_batch
from franca.train.student_teacher import StudentTeacher


@dataclass(frozen=True)
class Machine:
    """This rank's place among all, its part of each global batch, its device, and how the networks are spread."""

    ranks: Ranks
    share: Share
    device: torch.device
    precision: str
    parallel: str

    def __str__(self) -> str:
        spread = "" if self.parallel == "none" else f", {self.parallel}"
        return f"{self.device}, {self.precision}, {self.ranks}{spread}"


def resolve_machine(config: Config, networks: StudentTeacher, ranks: Ranks) -> Machine:
    """Where this start computes, and what part of it this rank is.

    Raises:
        ConfigError: the machine lacks the devices, or the mode is not supported or does not fit the number of ranks.
    """
    performance = config.performance
    device = resolve_device(performance.device, ranks)
    precision = resolve_precision(performance.precision, device)
    if precision == "fp16":
        raise ConfigError("performance.precision=fp16 is not supported in training; choose auto, bf16 or fp32")
    parallel = resolve_mode(performance.parallel, networks, ranks)
    return Machine(ranks, share_of_batch(config, ranks), device, precision, parallel)
