"""How much memory a rank needs, part by part, before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from franca.config import derived
from franca.config.schema import Config
from franca.layers.block import Block
from franca.layers.mlp import SwiGLU
from franca.objective.backends import Backend
from franca.objective.prototypes import Prototypes
from franca.train.machine import Machine
from franca.train.parallel import SHARDED, num_shards
from franca.train.student_teacher import StudentTeacher

FP32 = 4


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one rank by purpose; weights, gradients and optimizer are exact, the rest is what a step keeps."""

    weights: int
    """Student and teacher."""
    gradients: int
    """Of the student, as they are kept."""
    optimizer: int
    """AdamW's two moments."""
    images: int
    """The crops of the rank's share of the global batch."""
    activations: int
    """What the student's blocks keep for the backward pass, of one micro-batch."""
    heads: int
    """What the student's heads keep, and the teacher's bottlenecks for the rank's share."""
    logits: int
    """Of all prototypes or a chunk of them, with the gradients of prototypes that chunks find before the backward
    pass."""
    copies: int
    """Weights in other forms: cast, multiplied by layer scale, gathered from other ranks."""
    accumulates: bool
    """Whether gradients of earlier micro-batches are there while activations are at their most."""

    @property
    def parts(self) -> dict[str, int]:
        """By name, for people."""
        return {
            "weights": self.weights,
            "gradients": self.gradients,
            "optimizer": self.optimizer,
            "images": self.images,
            "activations": self.activations,
            "heads": self.heads,
            "prototype logits": self.logits,
            "copies of weights": self.copies,
        }

    @property
    def peak(self) -> int:
        """The most at any time: in a single micro-batch gradients appear as activations go."""
        passing = self.activations + self.heads + self.logits + self.copies
        most = passing + self.gradients if self.accumulates else max(passing, self.gradients)
        return self.weights + self.optimizer + self.images + most

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {size_text(size)}" for name, size in self.parts.items())
        return f"{size_text(self.peak)} at the peak: {parts}"


def estimate_memory(config: Config, networks: StudentTeacher, machine: Machine, backend: Backend) -> Memory:
    """What a rank needs in a step; kernels' workspaces and the allocator's gaps come on top, and the buffers of nccl,
    which go by the channels that it finds between devices. The look at the teacher's health needs less than a step.
    """
    student, teacher = count_parameters(networks.student), count_parameters(networks.teacher)
    shards = num_shards(machine.parallel, machine.ranks)
    micro_batch, world = machine.share.micro_batch, machine.ranks.world
    prototypes = sum(count_parameters(part) for part in networks.student.modules() if isinstance(part, Prototypes))
    dense_logits = derived.dense_logits_bytes(config, micro_batch=micro_batch, world=world)
    return Memory(
        weights=FP32 * (student + teacher) // shards,
        gradients=FP32 * student // shards,
        optimizer=2 * FP32 * student // shards,
        images=micro_batch * machine.share.accumulation * _bytes_of_crops(config),
        activations=_activations(config, networks, machine),
        heads=_heads(config, machine),
        logits=backend.logits_bytes(dense_logits) + backend.waiting_bytes(FP32 * prototypes),
        copies=_copies(config, networks, machine),
        accumulates=machine.share.accumulation > 1,
    )


def size_text(num_bytes: float) -> str:
    """``1.2 MiB`` or ``3.4 GiB``."""
    mib = num_bytes / 2**20
    return f"{mib:.1f} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"


def count_parameters(module: nn.Module) -> int:
    """Scalar parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def _bytes_of_crops(config: Config) -> int:
    """Of one image, as pixels in fp32."""
    data = config.data
    return FP32 * 3 * (2 * data.global_size_px**2 + data.num_local_crops * data.local_size_px**2)


def _activations(config: Config, networks: StudentTeacher, machine: Machine) -> int:
    """Blocks, of which checkpointing keeps the inputs and one run, and the norm after them."""
    backbone, patch = networks.student.backbone, config.model.patch_size_px
    crops = {config.data.global_size_px: 2, config.data.local_size_px: config.data.num_local_crops}
    leading = 1 + config.model.num_registers
    tokens = machine.share.micro_batch * sum(n * (leading + (size // patch) ** 2) for size, n in crops.items())
    stream, skipped = FP32 * backbone.width, config.model.stochastic_depth
    block = _block_bytes(backbone.blocks[0], backbone.width, _itemsize(machine))  # type: ignore[arg-type]
    if skipped:
        block = (1 - skipped) * (block + 2 * stream)  # autograd keeps what both branches add to some rows
    depth, run = len(backbone.blocks), derived.checkpointed_blocks(config)
    blocks = depth * block if run == 0 else -(-depth // run) * stream + min(run, depth) * block
    return int(tokens * (blocks + 3 * stream))  # embeddings, the norm's input and output


def _block_bytes(block: Block, width: int, itemsize: int) -> float:
    """What a block keeps for a token: the inputs of both norms in fp32; the inputs of four linear layers, queries,
    keys, values, what attention gives, and what the activation function needs, as they are computed."""
    hidden = (block.mlp.w3 if isinstance(block.mlp, SwiGLU) else block.mlp.fc2).in_features
    gated = 4 if isinstance(block.mlp, SwiGLU) else 2  # gate, content, their parts and product; else before and after
    return 2 * FP32 * width + itemsize * (7 * width + gated * hidden)


def _heads(config: Config, machine: Machine) -> int:
    """Per row and level: every layer's output before and after its GELU, and the bottleneck twice in fp32."""
    objective, world = config.objective, machine.ranks.world
    rows = derived.prototype_rows(config, micro_batch=machine.share.micro_batch, world=world)
    bottlenecks = derived.bottlenecks(objective)
    hidden = 2 * _itemsize(machine) * objective.head_hidden * (objective.head_layers - 1)
    levels = len(objective.nesting)
    return int(
        sum(
            levels * (student * (hidden + 2 * FP32 * bottlenecks[name]) + teacher * FP32 * bottlenecks[name])
            for name, (teacher, student) in rows.items()
        )
    )


def _copies(config: Config, networks: StudentTeacher, machine: Machine) -> int:
    """Weights under layer scale wait for the backward pass, and autocast keeps casts until its end. Spread networks
    gather the next unit beside the one at work and hold its whole gradient, and targets hold the teacher's prototypes.
    """
    backbone, itemsize = networks.student.backbone, _itemsize(machine)
    scaled = sum(
        parameter.numel()
        for name, parameter in backbone.named_parameters()
        if config.model.layer_scale is not None and name.endswith(("proj.weight", "w3.weight", "fc2.weight"))
        if name.startswith("blocks.")
    )
    if machine.parallel == "none":
        return itemsize * (scaled if itemsize == FP32 else count_parameters(networks.student))
    units = [*backbone.blocks, *(part for head in networks.student.heads.values() for part in head.prototypes)]
    largest = max(count_parameters(unit) for unit in units)
    held = FP32 * sum(count_parameters(part) for part in networks.teacher.modules() if isinstance(part, Prototypes))
    return itemsize * scaled + 3 * FP32 * largest + (held if machine.parallel in SHARDED else 0)


def _itemsize(machine: Machine) -> int:
    """Bytes of a number in matrix products."""
    return FP32 if machine.precision == "fp32" else 2
