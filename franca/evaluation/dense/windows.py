"""Class scores of every pixel of an image, from windows that slide over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from franca.evaluation.dense.crops import covering_size, scale_image

MAX_WINDOWS = 32  # in one forward

Scorer = Callable[[Tensor], list[Tensor]]  # windows [B, 3, H, W] uint8 to logits [B, C, h, w] of each head


@dataclass(frozen=True)
class Windows:
    """How windows are laid over an image."""

    size_px: tuple[int, int]  # height and width of a window
    stride: float = 0.5  # from one to the next, in window sides
    scales: tuple[float, ...] = (1.0,)  # of the image, times what makes it just cover a window

    def probabilities(self, image: Tensor, score: Scorer, size: tuple[int, int]) -> list[Tensor]:
        """Probability of each class at each pixel, mean over scales.

        Args:
            image: [3, H, W] uint8, any size.
            score: Judges windows.
            size: Height and width of the result, those of the mask.

        Returns:
            [C, *size] for each head.
        """
        totals: list[Tensor] = []
        for scale in self.scales:
            scaled = scale_image(image, covering_size(image.shape[1:], self.size_px, scale))
            for head, logits in enumerate(self.logits(scaled, score)):
                enlarged = interpolate(logits[None], size=size, mode="bilinear", align_corners=False)
                share = enlarged[0].softmax(0) / len(self.scales)
                if head == len(totals):
                    totals.append(share)
                else:
                    totals[head] += share
        return totals

    def logits(self, image: Tensor, score: Scorer) -> list[Tensor]:
        """Logits [C, H, W] of an image [3, H, W] for each head, mean over the windows that a pixel lies in."""
        corners = self.corners((image.shape[1], image.shape[2]))
        height, width = self.size_px
        windows = torch.stack([image[:, top : top + height, left : left + width] for top, left in corners])
        scored = [score(part) for part in windows.split(MAX_WINDOWS)]
        return [
            _lay(torch.cat(parts), corners, self.size_px, (image.shape[1], image.shape[2]))
            for parts in zip(*scored, strict=True)
        ]

    def corners(self, shape: tuple[int, int]) -> list[tuple[int, int]]:
        """Top and left of every window over an image that is at least as large as one."""
        tops, lefts = (_starts(side, window, self.stride) for side, window in zip(shape, self.size_px, strict=True))
        return [(top, left) for top in tops for left in lefts]


def _starts(length: int, window: int, stride: float) -> list[int]:
    """Windows a stride apart, the last of which ends where the image does."""
    step = max(1, round(window * stride))
    return [min(start, length - window) for start in range(0, length - window + step, step)]


def _lay(logits: Tensor, corners: Sequence[tuple[int, int]], window: tuple[int, int], shape: tuple[int, int]) -> Tensor:
    """Windows' logits [B, C, h, w] enlarged and laid at their corners: the mean where they overlap."""
    canvas = logits.new_zeros(logits.shape[1], *shape)
    layers = logits.new_zeros(shape)
    for part, (top, left) in zip(logits, corners, strict=True):
        rows, columns = slice(top, top + window[0]), slice(left, left + window[1])
        canvas[:, rows, columns] += interpolate(part[None], size=window, mode="bilinear", align_corners=False)[0]
        layers[rows, columns] += 1
    return canvas / layers
