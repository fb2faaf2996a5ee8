"""Load a backbone by what a user calls it: a run folder, a file of weights, its URL, or one of our names."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError
from franca.models.downloads import cache_folder, fetch, is_url
from franca.models.fingerprint import fingerprint
from franca.models.foreign import build_foreign
from franca.models.inferred import Untold
from franca.models.locate import locate
from franca.models.overrides import UNTOLD, check_held, check_known, our_spelling, with_harmless
from franca.models.projector_file import read_projector
from franca.models.registry import RELEASES, build_release
from franca.models.releases import Weights, choices, default_weights, find_weights
from franca.models.tensor_file import read_tensors
from franca.models.vision_transformer import VisionTransformer
from franca.models.weights import METADATA_KEY, build_exported


def load(
    name_or_path: str | os.PathLike[str],
    *,
    pretrained: bool = True,
    weights: str | os.PathLike[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    rasa: str | os.PathLike[str] | None = None,
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
        rasa: the file, or its URL, of a projector fitted on these weights; ``forward_features`` then also gives
            ``patch_token_rasa``.
        verbose: tell on stderr of downloads, and which tensors of other people's files matched.
        overrides: arguments of `franca.models.registry.build_backbone` that replace those of a name. With weights
            ``image_size_px`` (or ``img_size``) resizes their positions to the grid of such images, which see the same
            as without. For a file that is no export of ours: ``num_heads``, ``position_interpolation`` and
            ``image_size_px``, see `franca.models.inferred.Untold`.

    Raises:
        CheckpointError: if there is no such backbone, its weights are missing or do not match, or the projector is of
            other weights.
        ConfigError: if arguments contradict each other.
    """
    name = _text(name_or_path, "The model")
    overrides = our_spelling(overrides)
    if name in RELEASES:
        backbone = _load_release(name, pretrained, weights, overrides, verbose, rasa)
    else:
        given = ["pretrained=False"] * (not pretrained) + ["weights"] * (weights is not None)
        backbone = _with_projector(_load_location(name, given, overrides, verbose), rasa, verbose)
    _set_normalization(backbone, mean=mean, std=std)
    return backbone


def _load_release(
    name: str,
    pretrained: bool,
    weights: str | os.PathLike[str] | None,
    overrides: dict[str, Any],
    verbose: bool,
    rasa: str | os.PathLike[str] | None,
) -> VisionTransformer:
    check_known(name, overrides)
    weights = _weights_text(name, weights)
    if not pretrained:
        if weights is not None:
            raise ConfigError(f"{name}: pretrained=False and weights={weights!r} contradict each other.")
        return _with_projector(build_release(name, **overrides).eval(), rasa, verbose)
    with torch.device("meta"):  # before any download: wrong arguments are told here
        wanted = build_release(name, **overrides).config
    path, released = _find_weights(name, weights, verbose)
    untold = Untold(**{key: value for key, value in overrides.items() if key in UNTOLD}, prefer_square=True)
    backbone = _build(path, *_read(path), untold, verbose)
    check_held(backbone.config, wanted, overrides, f"The weights in {path} are not of {name}")
    if released is not None:
        backbone.export_info |= {"weights": released.name, "licence": released.licence}
    # The projector before the rest: it is known by the weights of the file, which a resized grid would change.
    return with_harmless(_with_projector(backbone, rasa, verbose), overrides)


def _load_location(location: str, given: list[str], overrides: dict[str, Any], verbose: bool) -> VisionTransformer:
    path = locate(location, verbose=verbose)
    if path is None:
        near = difflib.get_close_matches(location.lower(), RELEASES, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise CheckpointError(
            f"No model {location!r}: no such file or folder, nor a name.{hint} Give a run folder, a file of weights, a "
            f"URL, or one of: {', '.join(RELEASES)}."
        )
    tensors, metadata = _read(path)
    known = METADATA_KEY in metadata
    refused = given + [key for key in overrides if known or key not in UNTOLD]
    if refused:
        others = "" if known else f" Of such a file, only {', '.join(UNTOLD)} can be told."
        raise ConfigError(
            f"{location} brings its own weights and architecture: leave out {', '.join(refused)}.{others}"
        )
    return _build(path, tensors, metadata, Untold(**overrides), verbose)


def _text(value: object, what: str) -> str:
    """A name, a path or a URL as text."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(text, str):
        raise ConfigError(f"{what} is {value!r}, but must be a name, a path or a URL.")
    return text


def _weights_text(name: str, weights: object) -> str | None:
    """What ``weights`` means; of an enumeration's member, as Franca's hub has them, its name or its value."""
    if isinstance(weights, Enum):
        return next((text for text in (weights.name, str(weights.value)) if find_weights(name, text)), weights.name)
    return None if weights is None else _text(weights, "weights")


def _with_projector(
    backbone: VisionTransformer, rasa: str | os.PathLike[str] | None, verbose: bool
) -> VisionTransformer:
    """The backbone with the projector of a file, if there is one."""
    if rasa is not None:
        text = _text(rasa, "rasa")
        path = locate(text, verbose=verbose)
        if path is None:
            raise CheckpointError(
                f"No projector {text}: no such file. franca rasa fit MODEL data=SRC out=FILE makes one."
            )
        backbone.attach_projector(read_projector(path, fingerprint(backbone)))
    return backbone


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file; where it lies in the cache, a message says how to get it anew."""
    try:
        return read_tensors(path)
    except CheckpointError as error:
        if path.parent != cache_folder():
            raise
        raise CheckpointError(
            f"{error} It is a cached download: if the transfer was broken, delete {path}, and it is downloaded again."
        ) from error


def _find_weights(name: str, weights: str | None, verbose: bool) -> tuple[Path, Weights | None]:
    """The file of weights; and what is known about it, where it is not a path or a URL that is given."""
    released = None
    if weights is None:
        released = default_weights(name)
    elif not is_url(weights):
        released = find_weights(name, weights)
    if released is not None:
        return fetch(released.urls, released.file, sha256=released.sha256, verbose=verbose), released
    assert weights is not None
    path = locate(weights, verbose=verbose)
    if path is None:
        raise CheckpointError(f"No weights {weights}: No such file or folder, nor a name. {choices(name)}")
    return path, None


def _build(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str], untold: Untold, verbose: bool
) -> VisionTransformer:
    if METADATA_KEY in metadata:
        return build_exported(tensors, metadata, source=str(path))
    return build_foreign(tensors, source=str(path), untold=untold, verbose=verbose)


def _set_normalization(
    backbone: VisionTransformer, *, mean: Sequence[float] | None, std: Sequence[float] | None
) -> None:
    """Replace what images are normalised with, where it is given."""
    in_chans: int = backbone.config["in_chans"]
    now = backbone.preprocessing
    backbone.preprocessing = replace(
        now,
        mean=now.mean if mean is None else _per_channel("mean", mean, in_chans),
        std=now.std if std is None else _per_channel("std", std, in_chans),
    )
    if min(backbone.preprocessing.std) <= 0:
        raise ConfigError(
            f"std is {list(backbone.preprocessing.std)}, but pixels are divided by it: give numbers above 0."
        )


def _per_channel(name: str, values: Sequence[float], in_chans: int) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} is {values!r}, but must be a list of numbers, one per channel.") from error
    if not all(map(math.isfinite, numbers)):
        raise ConfigError(f"{name} is {values!r}, but must be a list of finite numbers, one per channel.")
    if len(numbers) != in_chans:
        raise ConfigError(f"{name} has {len(numbers)} numbers, but the backbone takes {in_chans} channels.")
    return numbers
