"""Class scores of every pixel of an image, from windows that slide over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from franca.evaluation.dense.crops import covering_size, scale_image

MAX_WINDOWS = 32  # in one forward
MAX_PROBABILITIES = 1 << 24  # held at once: 64 MiB in fp32

Scorer = Callable[[Tensor], list[Tensor]]  # windows [B, 3, H, W] uint8 to logits [B, C, h, w] of each head


@dataclass(frozen=True)
class Windows:
    """How windows are laid over an image."""

    size_px: tuple[int, int]  # height and width of a window
    stride: float = 0.5  # from one to the next, in window sides
    scales: tuple[float, ...] = (1.0,)  # of the image, times what makes it just cover a window

    def classes(self, image: Tensor, score: Scorer, size: tuple[int, int]) -> list[Tensor]:
        """The class of each pixel whose probability, mean over scales, is largest.

        Probabilities are made a strip of rows at a time: those of a large image with many classes would take gigabytes.

        Args:
            image: [3, H, W] uint8, any size.
            score: Judges windows.
            size: Height and width of the result, those of the mask.

        Returns:
            [*size] int64 for each head.
        """
        scaled = (scale_image(image, covering_size(image.shape[1:], self.size_px, scale)) for scale in self.scales)
        by_scale = [self.logits(one, score) for one in scaled]
        return [_most_probable(logits, size) for logits in zip(*by_scale, strict=True)]

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


def _most_probable(by_scale: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Class of each pixel [*size], from logits [C, H, W] of one head at several scales."""
    num_rows = max(1, MAX_PROBABILITIES // (len(by_scale[0]) * size[1]))
    strips = []
    for first in range(0, size[0], num_rows):
        rows = slice(first, min(first + num_rows, size[0]))
        shares = sum(enlarged_rows(logits, size, rows).softmax(0) for logits in by_scale)
        assert isinstance(shares, Tensor)  # there is one scale at least
        strips.append(shares.argmax(0))
    return torch.cat(strips)


def enlarged_rows(logits: Tensor, size: tuple[int, int], rows: slice) -> Tensor:
    """Some rows [C, n, W'] of what bilinear interpolation of logits [C, H, W] to ``size`` gives."""
    height = logits.shape[1]
    wanted = torch.arange(rows.start, rows.stop, device=logits.device, dtype=torch.float64)
    places = ((wanted + 0.5) * height / size[0] - 0.5).clamp(min=0)  # rows of the logits, from pixel centre to centre
    above = places.long().clamp(max=height - 1)
    below = (above + 1).clamp(max=height - 1)
    strip = torch.lerp(logits[:, above], logits[:, below], (places - above).to(logits)[:, None])
    return interpolate(strip[None], size=(len(wanted), size[1]), mode="bilinear", align_corners=False)[0]


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
