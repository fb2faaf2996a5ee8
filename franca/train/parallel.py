"""How networks are spread over ranks: replicated, sharded, or both. Names of parameters stay what they are.

==== ====================================================================================
none one rank
ddp  every rank holds everything; gradients are summed while the backward pass goes on
fsdp student, teacher, gradients and optimizer are cut into as many shards as there are ranks
hsdp cut within each machine, replicated between machines
==== ====================================================================================

All three are ``torch.distributed.fsdp.fully_shard`` on different meshes; a shard of a mesh with one place is the whole.
Losses are divided by the global batch already, so gradients are summed over ranks, never averaged.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from franca.distributed.device import DTYPES
from franca.distributed.ranks import Ranks
from franca.distributed.together import gather
from franca.errors import ConfigError
from franca.objective.network import Network
from franca.train.student_teacher import StudentTeacher

SHARDED = ("fsdp", "hsdp")
LARGEST_REPLICA = 12 * 2**30
"""Bytes of weights, gradients and optimizer above which ``auto`` cuts them: ViT-L is replicated, ViT-g is not."""
BYTES_PER_PARAMETER = 20
"""Of the student: student, teacher, gradient and AdamW's two moments in fp32."""


def resolve_mode(name: str, networks: StudentTeacher, ranks: Ranks) -> str:
    """The mode that ``performance.parallel`` stands for.

    Raises:
        ConfigError: the mode does not go with the number of ranks.
    """
    if ranks.world == 1:
        return "none"
    if name == "none":
        raise ConfigError(
            f"performance.parallel=none is for one rank, but {ranks.launcher} started {ranks.world}; choose auto, ddp, "
            "fsdp or hsdp"
        )
    if name == "hsdp" and ranks.world % ranks.local_world:
        raise ConfigError(
            f"performance.parallel=hsdp needs as many ranks on every machine, but {ranks.world} is not a multiple of "
            f"the {ranks.local_world} on this one; choose ddp or fsdp"
        )
    if name == "auto":
        num_parameters = sum(parameter.numel() for parameter in networks.student.parameters())
        return "fsdp" if BYTES_PER_PARAMETER * num_parameters > LARGEST_REPLICA else "ddp"
    return name


def parallelize(networks: StudentTeacher, mode: str, ranks: Ranks, *, device: torch.device, precision: str) -> None:
    """Spread student and teacher over the ranks, and move them to their device.

    Every block, head and set of prototypes is a unit that is gathered when it is needed. Weights and the sums of
    gradients are fp32; blocks and heads compute in ``precision`` and, on CUDA, travel in it.

    Args:
        networks: On the meta device, or with the same weights on every rank.
        mode: From `resolve_mode`.
        ranks: As many as the process group has.
        device: Of this rank.
        precision: fp32 or bf16.

    Raises:
        ConfigError: hsdp on machines with different numbers of ranks; on every rank.
    """
    if mode != "none":
        mesh = _mesh(mode, ranks, device)
        # A replicated teacher has no gradients to sum, so it needs no wrapping.
        for network in (networks.student, networks.teacher) if mode in SHARDED else (networks.student,):
            _shard(network, mesh, _policies(device, precision), is_teacher=network is networks.teacher)
        # Features are views; torch warns of changes in place, of which there are none.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    if not any(parameter.is_meta for parameter in networks.parameters()):
        networks.to(device)


def num_shards(mode: str, ranks: Ranks) -> int:
    """Into how many parts weights, gradients and optimizer are cut."""
    return {"fsdp": ranks.world, "hsdp": ranks.local_world}.get(mode, 1)


def _mesh(mode: str, ranks: Ranks, device: torch.device) -> DeviceMesh:
    shards = num_shards(mode, ranks)
    if len(counts := set(gather(shards))) > 1:
        raise ConfigError(
            f"performance.parallel={mode} needs as many ranks on every machine; they have {sorted(counts)}. Choose ddp "
            "or fsdp, or start as many on each"
        )
    if shards == ranks.world:
        return init_device_mesh(device.type, (shards,), mesh_dim_names=("shard",))
    return init_device_mesh(device.type, (ranks.world // shards, shards), mesh_dim_names=("replicate", "shard"))


def _policies(device: torch.device, precision: str) -> tuple[MixedPrecisionPolicy, MixedPrecisionPolicy]:
    """How units travel that keep the dtype of their weights, and those that need not; inputs are left to autocast."""
    full = MixedPrecisionPolicy(cast_forward_inputs=False)
    if precision == "fp32" or device.type != "cuda":  # a layer norm on the CPU takes no weights of another type
        return full, full
    return full, replace(full, param_dtype=DTYPES[precision], reduce_dtype=torch.float32)


def _shard(
    network: Network,
    mesh: DeviceMesh,
    policies: tuple[MixedPrecisionPolicy, MixedPrecisionPolicy],
    *,
    is_teacher: bool,
) -> None:
    """Shard unit by unit, the inner ones first.

    Most units give up what they gathered after each pass. The student's embeddings and last norm keep it up to the
    backward pass that follows at once, and the teacher's prototypes, which targets point to, until `release_targets`.
    """
    kept = [part for head in network.heads.values() for part in head.prototypes] if is_teacher else [network.backbone]
    for unit, methods, policy in _units(network, *policies):
        fully_shard(unit, mesh=mesh, mp_policy=policy, reshard_after_forward=unit not in kept)
        assert isinstance(unit, FSDPModule)
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
        for method in methods:
            register_fsdp_forward_method(unit, method)


def _units(
    network: Network, full: MixedPrecisionPolicy, compute: MixedPrecisionPolicy
) -> Iterator[tuple[nn.Module, tuple[str, ...], MixedPrecisionPolicy]]:
    """What is gathered as one, by which methods it is called beside forward, and how it travels."""
    for block in network.backbone.blocks:
        yield block, (), compute
    yield network.backbone, ("forward_crops",), full
    for head in network.heads.values():
        for prototypes in head.prototypes:
            yield prototypes, ("assign",), full
        yield head, (), compute


def sum_gradients_now(network: Network, now: bool) -> None:
    """Whether the next backward pass sums gradients over replicas, or leaves it to a later one of the same step."""
    for part in network.parts().values():
        if isinstance(part, FSDPModule):
            part.set_requires_all_reduce(now)


def release_targets(teacher: Network) -> None:
    """Let the teacher's prototypes go, which targets point to; they would not see the teacher's next average."""
    for head in teacher.heads.values():
        for prototypes in head.prototypes:
            if isinstance(prototypes, FSDPModule):
                prototypes.reshard()
