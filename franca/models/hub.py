"""Load a backbone by what a user calls it: a run folder, a file of weights, its URL, or one of our names."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError
from franca.models.downloads import fetch, is_url
from franca.models.foreign import build_foreign
from franca.models.inferred import Untold
from franca.models.locate import locate
from franca.models.registry import RELEASES, build_release
from franca.models.releases import Weights, choices, default_weights, find_weights
from franca.models.tensor_file import read_tensors
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import METADATA_KEY, build_exported

UNTOLD = tuple(field.name for field in fields(Untold))
# What may differ between a name and a file loaded under it: neither changes the function of the other weights.
FREE = ("image_size_px", "stochastic_depth", "layer_scale", "position_interpolation")


def load(
    name_or_path: str | os.PathLike[str],
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    verbose: bool = True,
    **overrides: Any,
) -> VisionTransformer:
    """Load a backbone in evaluation mode.

    Files may be our exports, checkpoints of Franca and DINOv2, or state dicts of timm and transformers.

    Args:
        name_or_path: a run folder, whose newest teacher is read; a file, its URL, or the first of its pieces; or a
            name such as ``franca_vitb14``.
        pretrained: False gives a named backbone weights drawn from seed 0.
        weights: for a named backbone: a name of released weights such as ``IN21K``, a path or a URL; None takes the
            model's default.
        mean: per channel, what to subtract from pixels in [0, 1]; None keeps what the file says, or ImageNet's.
        std: per channel, what to divide by.
        verbose: tell on stderr of downloads, and which tensors of other people's files matched.
        overrides: arguments of `franca.models.registry.build_backbone` that replace those of a name. For a file that is
            no export of ours: ``num_heads``, ``position_interpolation`` and ``image_size_px``, see
            `franca.models.inferred.Untold`.

    Raises:
        CheckpointError: if there is no such backbone, or its weights are missing or do not match.
        ConfigError: if arguments contradict each other.
    """
    name = os.fspath(name_or_path)
    if name in RELEASES:
        backbone = _load_release(name, pretrained, weights, overrides, verbose)
    else:
        given = ["pretrained=False"] * (not pretrained) + ["weights"] * (weights is not None)
        backbone = _load_location(name, given, overrides, verbose)
    _set_normalization(backbone, mean=mean, std=std)
    return backbone


def _load_release(
    name: str, pretrained: bool, weights: str | os.PathLike[str] | None, overrides: dict[str, Any], verbose: bool
) -> VisionTransformer:
    if not pretrained:
        if weights is not None:
            raise ConfigError(f"{name}: pretrained=False and weights={os.fspath(weights)!r} contradict each other.")
        return build_release(name, **overrides).eval()
    with torch.device("meta"):  # before any download: wrong arguments are told here
        wanted = build_release(name, **overrides).config
    path, released = _find_weights(name, weights, verbose)
    untold = Untold(**{key: value for key, value in overrides.items() if key in UNTOLD})
    backbone = _build(path, *read_tensors(path), untold, verbose)
    _check_architecture(backbone, wanted, overrides, f"The weights in {path} are not of {name}")
    if released is not None:
        backbone.export_info |= {"weights": released.name, "licence": released.licence}
    return backbone


def _load_location(location: str, given: list[str], overrides: dict[str, Any], verbose: bool) -> VisionTransformer:
    path = locate(location, verbose=verbose)
    if path is None:
        near = difflib.get_close_matches(location, RELEASES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise CheckpointError(
            f"No model {location!r}: no such file or folder, nor a name.{hint} Give a run folder, a file of weights, a "
            f"URL, or one of: {', '.join(RELEASES)}."
        )
    tensors, metadata = read_tensors(path)
    known = METADATA_KEY in metadata
    refused = given + [key for key in overrides if known or key not in UNTOLD]
    if refused:
        others = "" if known else f" Of such a file, only {', '.join(UNTOLD)} can be told."
        raise ConfigError(
            f"{location} brings its own weights and architecture: leave out {', '.join(refused)}.{others}"
        )
    return _build(path, tensors, metadata, Untold(**overrides), verbose)


def _find_weights(name: str, weights: str | os.PathLike[str] | None, verbose: bool) -> tuple[Path, Weights | None]:
    """The file of weights; and what is known about it, where it is not a path or a URL that is given."""
    released = None
    if weights is None:
        released = default_weights(name)
    elif isinstance(weights, str) and not is_url(weights):
        released = find_weights(name, weights)
    if released is not None:
        return fetch(released.urls, released.file, sha256=released.sha256, verbose=verbose), released
    assert weights is not None
    path = locate(os.fspath(weights), verbose=verbose)
    if path is None:
        raise CheckpointError(f"No weights {weights}: No such file or folder, nor a name. {choices(name)}")
    return path, None


def _build(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], untold: Untold, verbose: bool
) -> VisionTransformer:
    if METADATA_KEY in metadata:
        return build_exported(tensors, metadata, source=str(path))
    return build_foreign(tensors, source=str(path), untold=untold, verbose=verbose)


def _check_architecture(
    backbone: VisionTransformer, wanted: dict[str, Any], overrides: dict[str, Any], problem: str
) -> None:
    """Raises a CheckpointError where a file holds another architecture than a name and its overrides describe."""
    different = [
        f"{key} is {backbone.config[key]!r} instead of {wanted[key]!r}"
        for key in wanted
        if (key in overrides or key not in FREE) and backbone.config[key] != wanted[key]
    ]
    scales = [config["layer_scale"] is not None for config in (backbone.config, wanted)]
    if scales[0] != scales[1] and "layer_scale" not in overrides:
        different.append(f"it has {'layer scale' if scales[0] else 'no layer scale'}")
    if different:
        raise CheckpointError(f"{problem}: {', '.join(different)}.")


def _set_normalization(
    backbone: VisionTransformer, *, mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Replace what images are normalised with, where it is given."""
    in_chans = backbone.config["in_chans"]
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != in_chans:
            raise ConfigError(f"{name} has {len(values)} numbers, but the backbone takes {in_chans} channels.")
    now = backbone.preprocessing
    backbone.preprocessing = replace(
        now, mean=now.mean if mean is None else tuple(mean), std=now.std if std is None else tuple(std)
    )
