"""Checks between options: what each one alone may be is written beside it in the schema."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from franca.config.derived import koleo_group_size, micro_batch, num_heads, width
from franca.config.problems import Problem
from franca.config.schema import Config


def problems(config: Config, *, need_data: bool = True) -> list[Problem]:
    """Everything in ``config`` that does not fit together.

    Args:
        config: values that each are in range.
        need_data: whether ``data.train`` must be set, as it must for training.
    """
    rules = (*_RULES, _data_is_given) if need_data else _RULES
    return [problem for rule in rules for problem in rule(config)]


def _data_is_given(config: Config) -> Iterator[Problem]:
    if not config.data.train:
        yield Problem(("data.train",), "required: a folder of images, tar shards, or synthetic (drawn images)")


def _crops_fit_patches(config: Config) -> Iterator[Problem]:
    patch = config.model.patch_size_px
    sizes = {"data.global_size_px": config.data.global_size_px}
    if config.data.num_local_crops:
        sizes["data.local_size_px"] = config.data.local_size_px
    for key, size in sizes.items():
        if size % patch:
            near = sorted({max(patch, size // patch * patch), (size // patch + 1) * patch})
            advice = f"take {' or '.join(map(str, near))}"
            text = f"{size} is not a multiple of model.patch_size_px = {patch}: {advice}"
            yield Problem((key, "model.patch_size_px"), text)


def _ranges_are_ordered(config: Config) -> Iterator[Problem]:
    data, objective = config.data, config.objective
    ranges = {
        "data.global_scale": data.global_scale,
        "data.local_scale": data.local_scale,
        "data.blur_sigma_px": data.blur_sigma_px,
        "objective.mask_ratio": objective.mask_ratio,
        "objective.mask_aspect": objective.mask_aspect,
    }
    for key, values in ranges.items():
        if len(values) != 2 or values[0] > values[1]:
            yield Problem((key,), f"expected [smallest, largest]; found {values}")
        elif key.endswith("_scale") and values[0] == 0:
            yield Problem((key,), f"a crop cannot cover none of the image; found {values}")


def _weights_fit(config: Config) -> Iterator[Problem]:
    train, weights = config.data.train, config.data.weights
    if weights is None:
        return
    num_sources = len(train) if isinstance(train, list) else 1
    if len(weights) != num_sources or any(weight <= 0 for weight in weights):
        text = f"expected a number above 0 for each of the {num_sources} items of data.train; found {weights}"
        yield Problem(("data.weights", "data.train"), text)


def _channels_are_three(config: Config) -> Iterator[Problem]:
    for key, values in {"data.mean": config.data.mean, "data.std": config.data.std}.items():
        if len(values) != 3:
            yield Problem((key,), f"expected three numbers, one each for red, green and blue; found {values}")


def _heads_divide_width(config: Config) -> Iterator[Problem]:
    heads, full = num_heads(config.model), width(config.model)
    if full % heads:
        text = f"{heads} heads do not divide the width {full}: change model.num_heads or model.width"
        yield Problem(("model.num_heads", "model.width", "model.arch"), text)


def _nesting_is_whole(config: Config) -> Iterator[Problem]:
    key, nesting = "objective.nesting", config.objective.nesting
    if not nesting or nesting[0] != 1 or any(low >= high for high, low in pairwise(nesting)):
        yield Problem((key,), f"expected decreasing fractions that start with 1, as [1, 1/2, 1/4]; found {nesting}")
        return
    full, prototypes = width(config.model), config.objective.num_prototypes
    for fraction in nesting:
        if not _is_whole(full * fraction) or full * fraction < 1:
            text = f"a level needs whole dimensions, but {fraction:g} of the width {full} is {full * fraction:g}"
            yield Problem((key, "model.width", "model.arch"), text)
        if not _is_whole(prototypes * fraction) or prototypes * fraction < 2:
            share = f"{fraction:g} of objective.num_prototypes = {prototypes} is {prototypes * fraction:g}"
            text = f"a level needs a whole number of prototypes, two at least, but {share}"
            yield Problem((key, "objective.num_prototypes"), text)


def _something_is_learned(config: Config) -> Iterator[Problem]:
    objective = config.objective
    koleo = (
        objective.koleo_weight if koleo_group_size(config) > 1 else 0
    )  # alone in its group, no image has a neighbour
    if not (objective.dino_weight or objective.ibot_weight or koleo):
        text = "every loss has weight 0: give one of dino_weight, ibot_weight, koleo_weight a weight above 0"
        yield Problem(("objective.dino_weight", "objective.ibot_weight", "objective.koleo_weight"), text)


def _batches_divide(config: Config) -> Iterator[Problem]:
    whole, part = config.train.global_batch, micro_batch(config)
    if whole % part:
        text = f"{part} does not divide train.global_batch = {whole}: take a divisor"
        yield Problem(("performance.micro_batch", "train.global_batch"), text)
        return
    if not config.objective.koleo_weight:
        return
    group = koleo_group_size(config)
    keys = (
        "objective.koleo_group_size",
        "performance.micro_batch",
        "train.global_batch",
        "objective.koleo_weight",
    )
    if part % group:
        yield Problem(keys, f"groups of {group} images do not divide a micro-batch of {part}: set a divisor of {part}")


def _device_is_known(config: Config) -> Iterator[Problem]:
    device = config.performance.device
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
        text = f"expected auto, cpu, cuda, cuda:N or mps; found {device!r}"
        yield Problem(("performance.device",), text)


def _one_start(config: Config) -> Iterator[Problem]:
    if config.init.backbone and config.init.full:
        text = "set this or init.full, not both: init.full brings the backbone along"
        yield Problem(("init.backbone", "init.full"), text)


def _evaluation_is_whole(config: Config) -> Iterator[Problem]:
    found = config.evaluation
    if (found.train is None) != (found.val is None):
        text = "neighbours are looked for in one and classified in the other: give both, or neither"
        yield Problem(("evaluation.train", "evaluation.val"), text)
    if found.train is not None and found.online is None:
        yield Problem(("evaluation.online",), "required with evaluation.train: steps between two evaluations")


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


_RULES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    _crops_fit_patches,
    _ranges_are_ordered,
    _weights_fit,
    _channels_are_three,
    _heads_divide_width,
    _nesting_is_whole,
    _something_is_learned,
    _batches_divide,
    _device_is_known,
    _one_start,
    _evaluation_is_whole,
)
