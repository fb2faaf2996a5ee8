"""Values that follow from several options, when they are not given outright."""

from __future__ import annotations

from franca.config.architectures import ARCHITECTURES
from franca.config.schema import Config, ModelConfig, ObjectiveConfig


def width(model: ModelConfig) -> int:
    """Embedding dimension D."""
    return model.width or ARCHITECTURES[model.arch].width


def num_heads(model: ModelConfig) -> int:
    """Attention heads."""
    return model.num_heads or ARCHITECTURES[model.arch].num_heads


def micro_batch(config: Config) -> int:
    """Images per forward and backward."""
    return config.performance.micro_batch or config.train.global_batch


def checkpointed_blocks(config: Config) -> int:
    """Blocks in a run whose activations are computed again; 0 keeps all."""
    value = config.performance.activation_checkpointing
    return value if isinstance(value, int) else {"none": 0, "block": 1}[value]


def koleo_group_size(config: Config) -> int:
    """Images among which KoLeo looks for neighbours; it follows the global batch alone, so that a smaller
    micro-batch does not change the loss."""
    batch = config.train.global_batch
    largest = max(size for size in range(1, min(batch, 32) + 1) if batch % size == 0)
    return config.objective.koleo_group_size or largest


def clustering_weights(objective: ObjectiveConfig) -> dict[str, float]:
    """The clustering losses that have a weight, by name, in the order in which they are computed."""
    weights = {"dino": objective.dino_weight, "ibot": objective.ibot_weight}
    return {name: weight for name, weight in weights.items() if weight > 0}


def bottlenecks(objective: ObjectiveConfig) -> dict[str, int]:
    """Width of the bottleneck of every clustering loss, with a weight or without, by name."""
    return {"dino": objective.dino_bottleneck, "ibot": objective.ibot_bottleneck}


def prototype_rows(config: Config, *, micro_batch: int, world: int) -> dict[str, tuple[float, float]]:
    """Per clustering loss with a weight: a rank's teacher rows of a global batch and student rows of a micro-batch.

    Masked patches are those of the mean mask ratio.
    """
    data, objective = config.data, config.objective
    patches = (data.global_size_px // config.model.patch_size_px) ** 2
    masked = patches * objective.mask_probability * sum(objective.mask_ratio)  # of an image, which has two crops
    per_image = {"dino": (2.0, 2.0 + data.num_local_crops), "ibot": (masked, masked)}
    return {
        name: (per_image[name][0] * config.train.global_batch / world, per_image[name][1] * micro_batch)
        for name in clustering_weights(objective)
    }


def dense_logits_bytes(config: Config, *, micro_batch: int, world: int) -> int:
    """What the dense prototype losses of a rank hold at most, in fp32, three matrices a level.

    Sinkhorn-Knopp goes level by level over the rows of the global batch and needs the logits and two matrices of their
    size; the student's logits, targets and exponentials of all levels wait together for the backward pass.
    """
    rows = prototype_rows(config, micro_batch=micro_batch, world=world).values()
    widest = config.objective.num_prototypes
    assign = max((teacher * widest for teacher, _ in rows), default=0)
    losses = sum(student * widest * sum(config.objective.nesting) for _, student in rows)
    return int(3 * 4 * max(assign, losses))
