"""A few steps on one global batch after another, under every way to cut the batch and to spread the networks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from franca.batch import Batch
from franca.distributed.ranks import Ranks
from franca.distributed.shards import whole
from franca.objective.network import Network
from franca.train.clipping import Clip, Norms
from franca.train.optim import build_optimizer
from franca.train.parallel import parallelize
from franca.train.step import train_step
from franca.train.student_teacher import StudentTeacher
from tests.objective.factory import cut, make_batch, make_network, make_objective
from tests.train.test_step import RATES

CPU = torch.device("cpu")
IMAGES = 32
State = dict[str, Tensor]


@dataclass
class Trace:
    """What some steps found: losses, norms and gradients of each, and the parameters at the end."""

    values: list[State]
    gradients: list[State]
    parameters: State


class ClipAndKeep:
    """Clips, and keeps the gradients of before."""

    def __init__(self) -> None:
        self.kept: list[State] = []

    def __call__(self, network: Network) -> Norms:
        found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        self.kept.append({name: whole(gradient).clone() for name, gradient in found.items()})
        return Clip(3.0)(network)


def batch_of(step: int) -> Batch:
    """A global batch with another number of masked patches in every part; in step 2 the second half has none."""
    batch = make_batch(step, num_images=IMAGES)
    if step == 2:
        masks = batch.masks.unflatten(0, (2, IMAGES)).clone()
        masks[:, IMAGES // 2 :] = False
        masks = masks.flatten(0, 1)
        batch = replace(batch, masks=masks, masked_rows=masks.flatten().nonzero().flatten())
    return batch


def run_steps(
    rank: int,
    world: int,
    mode: str,
    accumulation: int,
    precision: str = "fp32",
    device: torch.device = CPU,
    *,
    checkpointed_blocks: int = 0,
    stochastic_depth: float = 0.0,
    weights: torch.dtype = torch.float32,
    start: State | None = None,
    steps: Iterable[int] = range(3),
) -> Trace:
    """Steps of one rank, which takes its share of every global batch.

    Args:
        rank: Of ``world``.
        world: Ranks.
        mode: From `franca.train.parallel.resolve_mode`.
        accumulation: Micro-batches of a rank.
        precision: Of matrix products.
        device: Of the rank.
        checkpointed_blocks: As `VisionTransformer.checkpoint_activations` takes it.
        stochastic_depth: Of the student.
        weights: Dtype of weights and images.
        start: Parameters to begin with; None for random ones.
        steps: Whose batches.
    """
    networks = StudentTeacher(make_network(1, stochastic_depth=stochastic_depth), make_network(2)).to(weights)
    if start is not None:
        networks.load_state_dict(start)
    networks.student.backbone.checkpoint_activations(checkpointed_blocks)
    ranks = Ranks(rank=rank, world=world, local_rank=rank % 2, local_world=min(world, 2), launcher="torchrun")
    parallelize(networks, mode, ranks, device=device, precision=precision)
    optimizer, objective, clip = build_optimizer(networks.student), make_objective(), ClipAndKeep()
    objective.precision = None if precision == "fp32" else torch.bfloat16
    values = []
    for step in steps:
        mine = cut(batch_of(step), world * accumulation)[rank * accumulation :][:accumulation]
        mine = [_of_dtype(batch, weights).to(device) for batch in mine]
        result = train_step(networks, objective, optimizer, mine, RATES, clip=clip)  # type: ignore[arg-type]
        assert result.applied
        parts = {f"norm {name}": norm for name, norm in result.norms.parts.items()}
        values.append({"total": result.losses.total, "norm": result.norms.total} | result.losses.parts | parts)
    state = {name: whole(parameter.detach()) for name, parameter in networks.named_parameters()}
    return Trace(values, clip.kept, state)


def _of_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    return replace(batch, global_crops=batch.global_crops.to(dtype), local_crops=batch.local_crops.to(dtype))
