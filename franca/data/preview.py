"""A contact sheet of what the model sees: a row an image, with its crops and its masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from franca.batch import Batch

Pixels: TypeAlias = NDArray[np.uint8]  # colours last

GAP_PX = 8
HEADER_PX = 18
PAPER, INK, HIDDEN = 255, 0, 128  # grey values


@dataclass(frozen=True)
class Cell:
    """A picture of the sheet, under a title."""

    title: str
    pixels: Pixels  # [h, w, 3]


def contact_sheet(
    originals: Sequence[Tensor], batch: Batch, *, mean: Sequence[float], std: Sequence[float]
) -> Image.Image:
    """Draws the images of a batch and everything that was made of them.

    Args:
        originals: B images [3, H, W] uint8 of any size.
        batch: Their crops and masks.
        mean: What was subtracted from the crops, per channel.
        std: What the crops were divided by, per channel.

    Returns:
        Rows of: the image, its two global crops, its local crops, and the global crops as the student sees them, with
        hidden patches in grey.
    """
    large = _views(batch.global_crops, batch.num_images, mean, std)  # [2, B, S, S, 3]
    small = _views(batch.local_crops, batch.num_images, mean, std)  # [V, B, s, s, 3]
    side = batch.global_crops.shape[-1]
    masks = batch.masks.numpy().reshape(2, batch.num_images, -1)  # [2, B, N]
    rows = [
        [
            Cell("image", _fitted(original, side)),
            *(Cell(f"global {view + 1}", large[view, index]) for view in range(2)),
            *_local_cells(small[:, index], side),
            *(Cell(f"student {view + 1}", _masked(large[view, index], masks[view, index])) for view in range(2)),
        ]
        for index, original in enumerate(originals)
    ]
    return _sheet(rows)


def _views(crops: Tensor, num_images: int, mean: Sequence[float], std: Sequence[float]) -> Pixels:
    """Crops [V * B, 3, S, S] as they were before they were normalised: [V, B, S, S, 3]."""
    pixels = crops * torch.tensor(std)[:, None, None] + torch.tensor(mean)[:, None, None]
    views = (pixels.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    return np.asarray(views.unflatten(0, (len(views) // num_images, num_images)))


def _fitted(image: Tensor, side: int) -> Pixels:
    """An image with its longer side brought to ``side`` px, in the middle of a square."""
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    square = Image.new("RGB", (side, side), (PAPER,) * 3)
    square.paste(picture.resize((width, height), Image.Resampling.BICUBIC), ((side - width) // 2, (side - height) // 2))
    return np.asarray(square)


def _local_cells(crops: Pixels, side: int) -> Iterator[Cell]:
    """Local crops [V, s, s, 3], as many above each other as the height of a global crop holds."""
    if len(crops):
        per_column = max(1, (side + GAP_PX) // (crops.shape[1] + GAP_PX))
        for start in range(0, len(crops), per_column):
            yield Cell("local" if start == 0 else "", _stacked(crops[start : start + per_column]))


def _stacked(crops: Pixels) -> Pixels:
    """Crops [n, s, s, 3] above each other."""
    padded = np.pad(crops, ((0, 0), (0, GAP_PX), (0, 0), (0, 0)), constant_values=PAPER)
    return padded.reshape(-1, *crops.shape[2:])[:-GAP_PX]


def _masked(crop: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """A crop [S, S, 3] with its hidden patches [N] in grey."""
    grid = round(mask.size**0.5)
    patch = crop.shape[0] // grid
    hidden = mask.reshape(grid, grid).repeat(patch, axis=0).repeat(patch, axis=1)[..., None]  # [S, S, 1]
    return np.where(hidden, np.uint8(HIDDEN), crop)


def _sheet(rows: Sequence[Sequence[Cell]]) -> Image.Image:
    """Rows whose cells have the same sizes, with titles above the first."""
    height = max(cell.pixels.shape[0] for cell in rows[0])
    lefts = np.cumsum([GAP_PX, *(cell.pixels.shape[1] + GAP_PX for cell in rows[0])])
    sheet = Image.new("RGB", (int(lefts[-1]), HEADER_PX + len(rows) * (height + GAP_PX)), (PAPER,) * 3)
    pen = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        for left, cell in zip(lefts.tolist(), row, strict=False):
            sheet.paste(Image.fromarray(cell.pixels), (left, HEADER_PX + number * (height + GAP_PX)))
            if number == 0:
                pen.text((left, 3), cell.title, fill=(INK,) * 3)
    return sheet
