"""What a backbone expects of its images."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become input: a square of this size, in [0, 1], minus mean, over std, per channel.

    The defaults are ImageNet's.
    """

    image_size_px: int = 224
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)


def default_preprocessing(image_size_px: int, in_chans: int) -> Preprocessing:
    """ImageNet's mean and std for three channels; for others, which have none, one half: [0, 1] becomes [-1, 1]."""
    if in_chans == 3:
        return Preprocessing(image_size_px)
    return Preprocessing(image_size_px, mean=(0.5,) * in_chans, std=(0.5,) * in_chans)
