"""From the configuration tree to objects that take plain arguments."""

from __future__ import annotations

from typing import Any

import torch

from franca.config import derived
from franca.config.schema import Config
from franca.distributed.device import DTYPES
from franca.models.registry import build_backbone
from franca.models.vision_transformer import VisionTransformer
from franca.objective.backends import Choice, choose_backend
from franca.objective.clustering import Clustering, Tokens
from franca.objective.dino import ClassTokens
from franca.objective.heads import MatryoshkaHead
from franca.objective.ibot import MaskedPatches
from franca.objective.network import Network
from franca.objective.pretraining import KoLeo, PretrainingObjective
from franca.objective.probe import Task
from franca.train.export import ExportTeacher
from franca.train.machine import Machine
from franca.train.optim import build_optimizer as optimizer_of
from franca.train.schedules import Schedule, scaled_learning_rate
from franca.train.student_teacher import StudentTeacher


def build_networks(config: Config) -> StudentTeacher:
    """Student and teacher on the meta device: names and shapes, no memory."""
    with torch.device("meta"):
        networks = StudentTeacher(_build_network(config), _build_network(config))
    networks.student.backbone.checkpoint_activations(derived.checkpointed_blocks(config))
    return networks


def _build_network(config: Config) -> Network:
    return Network(_build_backbone(config), _build_heads(config))


def _build_backbone(config: Config) -> VisionTransformer:
    model = config.model
    return build_backbone(
        model.arch,
        patch_size_px=model.patch_size_px,
        image_size_px=config.data.global_size_px,
        width=model.width,
        depth=model.depth,
        num_heads=model.num_heads,
        ffn=model.ffn,
        num_registers=model.num_registers,
        layer_scale=model.layer_scale,
        stochastic_depth=model.stochastic_depth,
        position_interpolation=model.position_interpolation,
    )


def _build_heads(config: Config) -> dict[str, MatryoshkaHead]:
    """A head for every clustering loss that has a weight."""
    objective = config.objective
    width = derived.width(config.model)
    bottlenecks = derived.bottlenecks(objective)
    return {
        name: MatryoshkaHead(
            width,
            [round(width * fraction) for fraction in objective.nesting],
            [round(objective.num_prototypes * fraction) for fraction in objective.nesting],
            hidden=objective.head_hidden,
            bottleneck=bottlenecks[name],
            num_layers=objective.head_layers,
            reads=objective.head_input,
            normalize=objective.head_normalize,
        )
        for name in derived.clustering_weights(objective)
    }


def build_objective(config: Config, *, precision: str) -> PretrainingObjective:
    """The terms that have a weight; KoLeo needs at least two images in a group."""
    objective = config.objective
    tokens: dict[str, Tokens] = {"dino": ClassTokens(), "ibot": MaskedPatches()}
    weights = derived.clustering_weights(objective)
    group_size = derived.koleo_group_size(config)
    return PretrainingObjective(
        [
            Clustering(name, tokens[name], weight, objective.student_temperature, objective.sinkhorn_iterations)
            for name, weight in weights.items()
        ],
        KoLeo(objective.koleo_weight, group_size) if objective.koleo_weight > 0 and group_size > 1 else None,
        use_masks="ibot" in weights,
        precision=_product_dtype(precision),
    )


def choose_prototypes(config: Config, machine: Machine) -> Choice:
    """How prototype losses are computed; the same on every rank.

    Raises:
        ConfigError: the device cannot do what ``performance.prototypes`` asks for.
    """
    objective = config.objective
    part = {"micro_batch": machine.share.micro_batch, "world": machine.ranks.world}
    rows = derived.prototype_rows(config, **part)
    return choose_backend(
        config.performance.prototypes,
        device=machine.device,
        dense_bytes=derived.dense_logits_bytes(config, **part),
        task=Task(
            num_rows=int(max((teacher for teacher, _ in rows.values()), default=0)),
            num_prototypes=objective.num_prototypes,
            width=max(derived.bottlenecks(objective).values()),
            precision=_product_dtype(machine.precision),
        ),
        chunk_mib=config.performance.prototype_chunk_mib,
        compile=config.performance.compile,
    )


def _product_dtype(precision: str) -> torch.dtype | None:
    return None if precision == "fp32" else DTYPES[precision]


def build_optimizer(config: Config, networks: StudentTeacher) -> torch.optim.AdamW:
    """AdamW over the student, whose parameters are on their device."""
    optim = config.optim
    return optimizer_of(
        networks.student,
        betas=(optim.beta1, optim.beta2),
        patch_embed_multiplier=optim.patch_embed_multiplier,
        layer_decay=optim.layer_decay,
    )


def build_schedule(config: Config) -> Schedule:
    """The rates of every step, the learning rate scaled to the batch."""
    optim = config.optim
    return Schedule(
        num_steps=config.train.steps,
        learning_rate=peak_learning_rate(config),
        min_learning_rate=optim.min_learning_rate,
        warmup_steps=optim.warmup_steps,
        weight_decay=optim.weight_decay,
        weight_decay_end=optim.weight_decay_end,
        teacher_momentum=optim.teacher_momentum,
        teacher_momentum_end=optim.teacher_momentum_end,
        teacher_temperature=optim.teacher_temperature,
        teacher_temperature_end=optim.teacher_temperature_end,
        teacher_temperature_warmup_steps=optim.teacher_temperature_warmup_steps,
        freeze_prototypes_steps=optim.freeze_last_layer_steps,
        freeze_backbone_steps=optim.freeze_backbone_steps,
    )


def peak_learning_rate(config: Config) -> float:
    """The learning rate after the batch-size rule."""
    return scaled_learning_rate(
        config.optim.learning_rate,
        global_batch=config.train.global_batch,
        reference_batch=config.optim.reference_batch,
        rule=config.optim.scaling_rule,
    )


def build_export(config: Config, networks: StudentTeacher) -> ExportTeacher:
    """What writes the teacher out, with the facts that a user of it needs."""
    info: dict[str, Any] = {
        "arch": config.model.arch,
        "nesting": list(config.objective.nesting),
        "data": config.data.train,
        "global_batch": config.train.global_batch,
        "seed": config.train.seed,
    }
    return ExportTeacher(
        networks,
        mean=tuple(config.data.mean),
        std=tuple(config.data.std),
        image_size_px=config.data.global_size_px,
        info=info,
    )
