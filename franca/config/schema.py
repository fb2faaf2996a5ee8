"""Every option: its type, default, unit and meaning.

Groups say what an option may change. ``data``, ``model``, ``objective``, ``optim``, ``train`` and ``init``
change results; ``run`` and ``evaluation`` do not; ``performance`` gives the same training up to stated rounding. The
text under a field is its documentation: ``franca config explain KEY`` prints it. Ranges and choices are checked by
`franca.config.build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Any

from franca.config.architectures import ARCHITECTURES, aliases

RESULT_GROUPS = ("data", "model", "objective", "optim", "train", "init")


def option(
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Any:
    """A dataclass field whose value, or each item of it, has a range (ends included) or choices.

    ``aliases`` are other lower-case spellings that are read as a choice, whatever their case.
    """
    metadata = {"low": low, "high": high, "choices": choices, "aliases": aliases}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """The drawn images, used where a source is ``synthetic``."""

    num_images: int = option(20_000, low=1)
    """Images in the training split."""
    num_val_images: int = option(1_000, low=1)
    """Images in the validation split."""
    size_px: int = option(64, low=8)
    """Height and width of a drawn image, in pixels."""
    seed: int = option(0, low=0)
    """Which images are drawn; the two splits never share one."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Where images come from, in which order, and how they are cropped."""

    train: str | list[str] | None = None
    """A folder, tars (path, glob, {a..b} brace, address, list, @file), ``module:callable`` or ``synthetic``; with
    ``weights`` a list of several of these. Required."""
    weights: list[float] | None = None
    """Mixes the items of ``train``: one number above 0 for each, its share of the images seen; only proportions
    matter."""
    kind: str = option("auto", choices=("auto", "folder", "tar", "synthetic", "custom"))
    """What ``train`` is; ``auto`` recognises it from the path and prints what it found."""
    max_bad_fraction: float = option(0.05, low=0, high=1)
    """Stop when more than this share of the samples read is unreadable."""
    order: str = option("auto", choices=("auto", "full", "lanes"))
    """``full`` is one permutation of all samples; ``lanes`` keeps reading nearly sequential; ``auto`` takes
    ``full`` up to four million samples, unless they must be fetched from elsewhere."""
    num_lanes: int = option(64, low=1)
    """Lanes that the permuted shards are cut into, when the order is ``lanes``."""
    window: int = option(8192, low=1)
    """Samples of one lane that are shuffled together, when the order is ``lanes``."""
    global_size_px: int = option(224, low=8)
    """Height and width of the two global crops, in pixels; a multiple of the patch size."""
    global_scale: list[float] = option([0.32, 1.0], low=0, high=1)
    """Share of the image's area that a global crop covers, smallest and largest."""
    num_local_crops: int = option(8, low=0)
    """Local crops per image."""
    local_size_px: int = option(98, low=8)
    """Height and width of a local crop, in pixels; a multiple of the patch size."""
    local_scale: list[float] = option([0.05, 0.32], low=0, high=1)
    """Share of the image's area that a local crop covers, smallest and largest."""
    color_jitter: float = option(0.8, low=0, high=1)
    """Probability of changing brightness, contrast, saturation and hue."""
    grayscale: float = option(0.2, low=0, high=1)
    """Probability of dropping colour."""
    solarize: float = option(0.2, low=0, high=1)
    """Probability of solarising the second global crop."""
    flip: float = option(0.5, low=0, high=1)
    """Probability of a horizontal flip."""
    blur: str = option("intended", choices=("intended", "inverted"))
    """Blur probabilities of (global 1, global 2, local): intended 1.0, 0.1, 0.5; inverted is one minus these,
    which is what DINOv2's code and the published models did."""
    blur_sigma_px: list[float] = option([0.1, 2.0], low=0.01)
    """Smallest and largest standard deviation of the blur, in pixels of the crop. The default is made for 224 px; on
    crops of 40 px it would wipe out what a patch holds."""
    mean: list[float] = option([0.485, 0.456, 0.406])
    """Per-channel mean subtracted from pixels in [0, 1]."""
    std: list[float] = option([0.229, 0.224, 0.225], low=1e-6)
    """Per-channel standard deviation that pixels are divided by."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The backbone. Width, depth and heads follow ``arch`` unless given."""

    arch: str = option("vit_base", choices=tuple(ARCHITECTURES), aliases=aliases())
    """Size of the backbone; short names such as ``S``, ``small`` or ``vits`` are understood."""
    patch_size_px: int = option(14, low=1)
    """Height and width of a patch, in pixels."""
    width: int | None = option(None, low=1)
    """Embedding dimension D; None takes the architecture's."""
    depth: int | None = option(None, low=1)
    """Number of blocks; None takes the architecture's."""
    num_heads: int | None = option(None, low=1)
    """Attention heads; None takes the architecture's."""
    ffn: str = option("swiglu", choices=("mlp", "swiglu"))
    """Feed-forward of a block; Franca uses SwiGLU in every size."""
    num_registers: int = option(0, low=0)
    """Register tokens; the paper uses none."""
    layer_scale: float | None = option(1e-5, low=0)
    """Initial layer scale; None leaves layer scale out."""
    init_std: float = option(0.02, low=1e-6)
    """Standard deviation of the first weights of linear layers. 0.02 suits wide models; a narrow one starts learning
    sooner with about 0.7 / sqrt(width)."""
    stochastic_depth: float = option(0.1, low=0, high=0.999)
    """Rate at which a sample skips a residual branch in training."""
    position_interpolation: str = option("size", choices=("size", "offset"))
    """How position embeddings are resized to other grids, such as those of local crops: ``size`` with antialiasing;
    ``offset`` as DINOv2's models without registers and the authors' Franca were trained."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Heads, losses, masks."""

    nesting: list[float] = option([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16], low=0, high=1)
    """Prefixes of the embedding with a head of their own, as fractions of D; [1] is plain DINOv2. "1/2" may
    be written."""
    num_prototypes: int = option(131_072, low=2)
    """Prototypes of the widest level; the others have as many in proportion to their width."""
    dino_weight: float = option(1.0, low=0)
    """Weight of the class-token loss."""
    ibot_weight: float = option(1.0, low=0)
    """Weight of the masked-patch loss."""
    koleo_weight: float = option(0.1, low=0)
    """Weight of the KoLeo regulariser, which spreads class tokens."""
    koleo_group_size: int | None = option(None, low=2)
    """Consecutive images among which KoLeo looks for the nearest neighbour; it divides the micro-batch. None
    takes the largest divisor of the global batch up to 32."""
    dino_bottleneck: int = option(384, low=1)
    """Width of the class-token head's bottleneck."""
    ibot_bottleneck: int = option(256, low=1)
    """Width of the patch head's bottleneck."""
    head_hidden: int = option(2048, low=1)
    """Hidden width of a head."""
    head_layers: int = option(3, low=1)
    """Linear layers of a head, bottleneck included."""
    head_input: str = option("slice", choices=("slice", "project", "slice_project"))
    """What a level reads: the prefix (the paper), a projection of the whole token (the authors' first
    release), or a projection of the prefix (their later one)."""
    head_normalize: bool = True
    """L2-normalise the bottleneck; False is the authors' release, which also ends the head on a GELU."""
    student_temperature: float = option(0.1, low=1e-4)
    """Softmax temperature of the student."""
    sinkhorn_iterations: int = option(3, low=1)
    """Rounds of Sinkhorn-Knopp."""
    mask_probability: float = option(0.5, low=0, high=1)
    """Share of the global crops that are masked."""
    mask_ratio: list[float] = option([0.1, 0.65], low=0, high=1)
    """Smallest and largest share of the patches that a masked crop hides."""
    mask_aspect: list[float] = option([0.3, 1 / 0.3], low=1e-3)
    """Range of height over width of the visible block."""
    mask_roll: bool = True
    """Shift the visible block cyclically, so that every patch is seen equally often."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW and its schedules. All lengths are in optimizer steps."""

    learning_rate: float = option(1e-3, low=0)
    """Peak learning rate at ``reference_batch``."""
    scaling_rule: str = option("sqrt", choices=("sqrt", "linear", "none"))
    """How the learning rate follows ``train.global_batch / reference_batch``."""
    reference_batch: int = option(2048, low=1)
    """Global batch at which ``learning_rate`` holds as it is."""
    warmup_steps: int = option(100_000, low=0)
    """Linear warm-up of the learning rate from zero."""
    min_learning_rate: float = option(1e-6, low=0)
    """Learning rate at the last step."""
    weight_decay: float = option(0.04, low=0)
    """Weight decay at the first step."""
    weight_decay_end: float = option(0.2, low=0)
    """Weight decay at the last step."""
    beta1: float = option(0.9, low=0, high=1)
    """AdamW's first moment decay."""
    beta2: float = option(0.999, low=0, high=1)
    """AdamW's second moment decay."""
    teacher_momentum: float = option(0.994, low=0, high=1)
    """Teacher's share of itself per step, at the first step."""
    teacher_momentum_end: float = option(1.0, low=0, high=1)
    """The same at the last step."""
    teacher_temperature: float = option(0.04, low=1e-4)
    """Teacher temperature at the first step."""
    teacher_temperature_end: float = option(0.07, low=1e-4)
    """Teacher temperature after its warm-up."""
    teacher_temperature_warmup_steps: int = option(37_500, low=0)
    """Steps over which the teacher temperature rises linearly."""
    freeze_last_layer_steps: int = option(1250, low=0)
    """Steps during which prototypes do not move."""
    freeze_backbone_steps: int = option(0, low=0)
    """Steps during which only the heads learn. New heads on a backbone from ``init.backbone`` need some, or their first
    gradients undo what it knows."""
    clip_norm: float = option(3.0, low=0)
    """Largest gradient norm; 0 does not clip."""
    clip_per_part: bool = True
    """Clip backbone, DINO head and iBOT head each by its own norm (the paper); False clips by the norm of
    all."""
    patch_embed_multiplier: float = option(0.2, low=0)
    """Learning-rate multiplier of the patch embedding."""
    layer_decay: float = option(1.0, low=0, high=1)
    """Learning-rate factor from one block to the block below."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, how many at once, from which seed."""

    steps: int = option(625_000, low=1)
    """Optimizer steps."""
    global_batch: int = option(2048, low=1)
    """Images per optimizer step, over all ranks and micro-batches."""
    seed: int = option(0, low=0)
    """Fixes initial weights, sample order, crops, masks and stochastic depth."""
    max_steps_not_finite: int = option(10, low=1)
    """Steps in a row whose losses or gradients are not finite, which change nothing, until the run goes back, once, to
    its last checkpoint and leaves their images out; the second time it stops."""


@dataclass(frozen=True, kw_only=True)
class InitConfig:
    """What to start from, instead of random weights."""

    backbone: str | None = None
    """A backbone that student and teacher both start from: a run folder, an exported or released file, a URL, or a name
    such as ``dinov2_vits14``. Positions are resized to ``data.global_size_px``; heads start random."""
    full: str | None = None
    """A run folder whose newest checkpoint gives student, teacher and heads; the optimizer starts anew."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Folders, logging, checkpoints: nothing here changes results."""

    dir: str | None = None
    """The run folder; None is runs/<recipe>."""
    log_every_steps: int = option(10, low=1)
    """Steps between two lines of metrics.jsonl."""
    health_every_steps: int | None = option(50, low=1)
    """Steps between two measurements of targets, features and updates, which alarms go by; one costs about a sixth of a
    step. None measures nothing."""
    checkpoint_every_steps: int = option(1000, low=1)
    """Steps between two checkpoints."""
    keep_last: int = option(2, low=1)
    """Checkpoints kept, newest first."""
    keep_every_steps: int | None = option(None, low=1)
    """Checkpoints at multiples of this are kept for good; None keeps none."""
    export_every_steps: int | None = option(None, low=1)
    """Teachers at multiples of this are exported for good; None keeps only the first and the newest."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """Judging the teacher while it is trained; nothing here changes results."""

    online: int | None = option(None, low=1)
    """Steps between two evaluations, as ``franca eval`` would judge the teacher's export: k-NN where ``train`` and
    ``val`` are given, and always the health of its features. None evaluates nothing."""
    train: str | list[str] | None = None
    """Labelled images whose classes vote: class folders, tars with labels, or ``synthetic``; best a small set."""
    val: str | list[str] | None = None
    """Labelled images that are classified."""
    k: int = option(20, low=1)
    """Neighbours that vote."""
    prefixes: bool = True
    """Also judge every Matryoshka prefix."""
    num_images: int = option(1000, low=2)
    """Images of ``data.train``, taken evenly, whose features' health is looked at where no others are given."""


@dataclass(frozen=True, kw_only=True)
class PerformanceConfig:
    """Speed and memory: the same training up to stated rounding."""

    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    precision: str = option("auto", choices=("auto", "fp32", "bf16", "fp16"))
    """Precision of matrix products; weights stay fp32. ``auto`` is bf16 where the device multiplies it
    natively."""
    parallel: str = option("auto", choices=("auto", "none", "ddp", "fsdp", "hsdp"))
    """How the model is spread over ranks: ``ddp`` replicates it, ``fsdp`` cuts it into one shard a rank, ``hsdp``
    cuts it within each machine; ``auto`` is ``none`` for one rank, else ``ddp`` for what is small and ``fsdp``."""
    workers: int | None = option(None, low=0)
    """Data worker processes of a rank; None takes one less than its share of the cores, from 1 to 8; 0 loads in the
    main process."""
    augment_on: str = option("cpu", choices=("cpu", "device"))
    """Where crops get their colours and are normalised: ``cpu`` is in the data workers; ``device`` leaves it to the
    device and halves the work of the workers."""
    micro_batch: int | None = option(None, low=1)
    """Images per forward and backward of a rank; with the number of ranks it divides the global batch. A rank whose
    share is smaller, and None, take the whole share."""
    cache_dir: str | None = None
    """Folder below which ``franca-shards`` holds copies of shards that lie elsewhere; None is ``shards`` in
    ``$FRANCA_CACHE``, by default ``~/.cache/franca``."""
    cache_gib: float = option(100.0, low=0)
    """Most that these copies take up, in GiB; what was not used for longest is dropped."""
    remote_timeout_seconds: float = option(30.0, low=0.1)
    """How long a server may say nothing before a shard is asked for again."""
    remote_retries: int = option(4, low=0)
    """How often a shard is asked for again, after pauses that grow; then its samples count as bad."""
    activation_checkpointing: str | int = option("none", choices=("none", "block"), low=1)
    """What the student keeps for the backward pass: ``none`` keeps all; ``block`` keeps only what enters each block and
    computes the rest again, one more forward pass; a number K does so for runs of K blocks."""
    compile: bool = False
    """Compile each block, and what chunked prototype losses do to a chunk, with torch.compile."""
    attention: str = option("auto", choices=("auto", "sdpa", "plain"))
    """Attention kernel; ``auto`` takes the one that is fast on the device."""
    prototypes: str = option("auto", choices=("auto", "dense", "chunked", "triton", "probe"))
    """How prototype losses are computed: ``dense`` holds the logits; ``chunked`` computes them a chunk at a time;
    ``triton`` is chunked with a fused kernel, for CUDA. ``auto`` is dense where that takes no more than a chunk,
    chunked elsewhere; ``probe`` times chunked and triton at the start and takes the faster."""
    prototype_chunk_mib: int | None = option(None, low=1)
    """MiB that a chunk of logits may take, with its copies. None takes 64 on the CPU, 512 elsewhere. A chunk holds 64
    rows, or all if fewer, and 16 prototypes at least, which takes more than 1 MiB for bottlenecks beyond 1,156."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    init: InitConfig = field(default_factory=InitConfig)
    run: RunConfig = field(default_factory=RunConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    performance: PerformanceConfig = field(default_factory=PerformanceConfig)
