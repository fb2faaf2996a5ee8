"""Linear segmentation: batch normalisation and one linear layer on frozen patch features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from franca.config.schema import option
from franca.data.segmentation.pairs import mask_names_of
from franca.distributed.together import is_rank_zero
from franca.errors import ConfigError
from franca.evaluation.choices import check_some
from franca.evaluation.dense.confusion import scores
from franca.evaluation.dense.crops import CropSource
from franca.evaluation.dense.heads import Training, train_heads
from franca.evaluation.dense.pictures import write_picture
from franca.evaluation.dense.sampling import check_labelled, check_same_classes
from franca.evaluation.dense.summary import OCCURRING, iou_by_class, summarise
from franca.evaluation.dense.validation import judge_heads
from franca.evaluation.dense.variants import variants, with_full_width
from franca.evaluation.dense.windows import Windows
from franca.evaluation.known import Known
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject, lacking
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.patches import PatchTable
from franca.features.table import CLASS_EMBEDDING, FeatureTable, Wanted


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings:
    """How the head is trained, and how it is judged. Crops and windows have the size of the model's input."""

    optimizer: str = option("adamw", choices=("adamw", "sgd"))
    """AdamW, or SGD with momentum 0.9."""
    learning_rate: float = option(1e-2, low=0)
    """At the first step; it falls linearly to 0."""
    weight_decay: float = option(1e-4, low=0)
    """Of the optimizer."""
    epochs: int = option(100, low=1)
    """Passes over the training images."""
    max_steps: int | None = option(5000, low=1)
    """Steps after which training ends even so, its learning rate at 0 by then; None sets no limit."""
    images_per_step: int = option(16, low=1)
    """Crops whose mean loss makes a step."""
    pixel_stride: int = option(4, low=1)
    """The loss takes every so many rows and columns of pixels, from a corner drawn anew in each step; 1 takes all, for
    about ten times the work on a CPU."""
    augment: bool = False
    """Draw new crops in every pass over the images, and flip half of them: features are computed anew in each.
    Otherwise one crop of each image, drawn by the seed, serves all passes."""
    scale_range: list[float] = option([1.0, 1.0], low=0.1, high=10)
    """Smallest and largest scale of an image that is cropped; at 1 it just covers the crop."""
    stride: float = option(0.5, low=0.05, high=1)
    """From one window to the next over a validation image, in window sides."""
    scales: list[float] = option([1.0], low=1)
    """Scales of a validation image over which probabilities are averaged; at 1 it just covers a window."""
    seed: int = option(0, low=0)
    """Of crops and of the order of images."""
    prefixes: bool = False
    """Also report every Matryoshka prefix (d, d/2, ... d/64 dimensions), as ``miou_d24``; each has its own head."""
    pictures: str | None = None
    """Folder for pictures of validation images with masks and predictions; None draws none."""
    num_pictures: int = option(8, low=1)
    """Images in the picture, at equal distances in the validation images."""


def wanted(settings: SegmentationSettings) -> Wanted:
    """What this protocol reads of the shared features: nothing, since it cuts crops and windows of its own."""
    return CLASS_EMBEDDING


def check_before(settings: SegmentationSettings, known: Known) -> None:
    """Raises a ConfigError where scales are missing or out of order; to be asked before features are computed."""
    check_some(scales=settings.scales)
    _scale_range(settings)


def run(subject: Subject, settings: SegmentationSettings) -> Result:
    """Mean IoU on whole validation images, at the resolution of their masks.

    Raises:
        ConfigError: ``scale_range`` is not two numbers in order.
        DataError: The images have no masks, other classes in train and val, no labelled pixel, or the model no patches.

    Source:
        Section 5 of the paper, which follows DINOv2 with mmsegmentation. There crops are drawn anew in every pass
        (``augment=true``), and the logits of patches are enlarged after batch statistics of enlarged features.
    """
    names = _class_names(subject)
    tables = _tables(subject, settings)
    unread = tables(0).skipped  # asked for now: with augment=true only the crops of the newest epoch are at hand

    def crops(epoch: int) -> PatchTable:
        return subject.patches_of(tables(epoch))

    first = crops(0)
    check_labelled("train", first)
    kinds = variants(first.width, subject.projector, prefixes=settings.prefixes)
    training = _training(settings, len(first))
    heads = train_heads(crops, kinds, len(names), training, subject.device, subject.progress_of("head"))
    size_px = subject.job("train").size_px
    found = judge_heads(
        heads,
        subject.job("val"),
        Windows(size_px, settings.stride, tuple(settings.scales)),
        len(names),
        num_examples=0 if settings.pictures is None else settings.num_pictures,
        progress=subject.progress_of("windows"),
    )
    if settings.pictures is not None and is_rank_zero():
        write_picture(Path(settings.pictures).expanduser() / "segmentation.png", found.examples)
    runs = {kind.suffix: [scores(confusion)] for kind, confusion in zip(kinds, found.confusions, strict=True)}
    metrics, numbers = summarise(runs)
    if settings.prefixes:
        metrics = with_full_width(metrics, kinds[0].width)
    about = asdict(settings) | {"crop_px": list(size_px), "steps": training.steps}
    by_class = iou_by_class(runs[""], names)
    notes = (*lacking("train", unread), *lacking("val", found.skipped), OCCURRING)
    return Result("segmentation", metrics, about, notes, numbers, by_class)


def _class_names(subject: Subject) -> tuple[str, ...]:
    train, val = (mask_names_of(subject.source(role)) for role in ("train", "val"))
    check_same_classes(train, val)
    return train


def _tables(subject: Subject, settings: SegmentationSettings) -> Callable[[int], FeatureTable]:
    """Features of the crops of an epoch; the last ones are kept at hand."""
    job = subject.job("train")
    red, green, blue = (round(255 * mean) for mean in job.model.preprocessing.mean)
    source = CropSource(
        job.source,
        job.size_px,
        _scale_range(settings),
        flip=settings.augment,
        seed=settings.seed,
        fill=(red, green, blue),
    )
    as_they_are = replace(
        subject.features,
        image_size_px=list(job.size_px),
        fit="stretch",  # crops have that size, and stay as they are
        cache=subject.features.cache and not settings.augment,
    )

    @lru_cache(maxsize=1)
    def features(epoch: int) -> FeatureTable:
        crops = replace(source, epoch=epoch)
        cut = Job(job.model, crops, Wanted(patches=True, masks=True), as_they_are, job.device)
        return extract(cut, subject.progress_of("crops"))

    return features if settings.augment else lambda epoch: features(0)


def _scale_range(settings: SegmentationSettings) -> tuple[float, float]:
    if len(settings.scale_range) != 2 or settings.scale_range[0] > settings.scale_range[1]:
        raise ConfigError(f"scale_range={settings.scale_range}: expected two numbers, the smaller one first")
    return settings.scale_range[0], settings.scale_range[1]


def _training(settings: SegmentationSettings, num_images: int) -> Training:
    steps = settings.epochs * -(-num_images // settings.images_per_step)
    return Training(
        settings.optimizer,
        settings.learning_rate,
        settings.weight_decay,
        steps if settings.max_steps is None else min(steps, settings.max_steps),
        settings.images_per_step,
        settings.pixel_stride,
        settings.seed,
    )
