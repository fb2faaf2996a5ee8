"""Cells with titles, side by side: the picture of one image, and the contact sheet of all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP_PX = 6
TITLE_PX = 15
FONT_PX = 11
PAPER, INK, MARK, MARK_EDGE = (255, 255, 255), (0, 0, 0), (255, 60, 40), (255, 255, 255)


@dataclass(frozen=True)
class Patch:
    """A patch of a grid, to be outlined."""

    row: int
    column: int
    grid: tuple[int, int]  # rows and columns


@dataclass(frozen=True)
class Cell:
    """One picture under its title."""

    title: str
    pixels: Tensor  # [h, w, 3] uint8
    is_map: bool = False  # its pixels are patches, and stay squares when enlarged
    marked: Patch | None = None


Rows = Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Drawing:
    """What is drawn of one image."""

    key: str  # names the image within its source
    place: int  # of the image in its source
    rows: Rows  # of its own picture
    summary: Rows  # its part of the contact sheet; as many rows and columns for all images


def image_cell(title: str, image: Tensor, marked: Patch | None = None) -> Cell:
    """A cell with an image [3, H, W] uint8."""
    return Cell(title, image.permute(1, 2, 0), marked=marked)


def picture(rows: Rows, side_px: int) -> Image.Image:
    """Cells in rows, each cell brought to a longer side of ``side_px`` and put into a square."""
    width, height = _extent(rows, side_px)
    paper = Image.new("RGB", (width + GAP_PX, height + GAP_PX), PAPER)
    _paste_rows(paper, rows, GAP_PX, GAP_PX, side_px)
    return paper


def contact_sheet(drawings: Sequence[Drawing], side_px: int, max_columns: int) -> Image.Image:
    """The summaries of all drawings, side by side where they fit into ``max_columns`` cells, and below each other."""
    blocks = [drawing.summary for drawing in drawings]
    width, height = _extent(blocks[0], side_px)
    across = min(len(blocks), max(1, max_columns // max(map(len, blocks[0]))))
    # A wider gap tells the cells of one image from those of the next.
    step_x, step_y = width + 2 * GAP_PX, height + 2 * GAP_PX
    down = math.ceil(len(blocks) / across)
    paper = Image.new("RGB", (across * step_x, down * step_y + GAP_PX), PAPER)
    for number, rows in enumerate(blocks):
        y, x = divmod(number, across)
        _paste_rows(paper, rows, GAP_PX + x * step_x, GAP_PX + y * step_y, side_px)
    return paper


def _extent(rows: Rows, side_px: int) -> tuple[int, int]:
    """Width and height of cells with the gaps between them."""
    columns = max(map(len, rows))
    return columns * (side_px + GAP_PX), len(rows) * (side_px + TITLE_PX + GAP_PX)


def _paste_rows(paper: Image.Image, rows: Rows, left: int, top: int, side_px: int) -> None:
    pen = ImageDraw.Draw(paper)
    font = ImageFont.load_default(FONT_PX)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            x, y = left + column * (side_px + GAP_PX), top + number * (side_px + TITLE_PX + GAP_PX)
            pen.text((x, y), shortened(cell.title, side_px, font), fill=INK, font=font)
            drawn = drawn_cell(cell, side_px)
            paper.paste(drawn, (x + (side_px - drawn.width) // 2, y + TITLE_PX + (side_px - drawn.height) // 2))


def drawn_cell(cell: Cell, side_px: int) -> Image.Image:
    """A cell without its title, with a longer side of ``side_px``."""
    image = Image.fromarray(np.asarray(cell.pixels.contiguous()))
    scale = side_px / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    drawn = image.resize((width, height), Image.Resampling.NEAREST if cell.is_map else Image.Resampling.BICUBIC)
    if cell.marked is not None:
        _outline(drawn, cell.marked)
    return drawn


def _outline(image: Image.Image, patch: Patch) -> None:
    """A frame around the patch, which leaves the patch itself to be seen."""
    rows, columns = patch.grid
    top, bottom = (round((patch.row + more) * image.height / rows) for more in (0, 1))
    left, right = (round((patch.column + more) * image.width / columns) for more in (0, 1))
    pen = ImageDraw.Draw(image)
    for distance, colour in ((3, MARK_EDGE), (2, MARK), (1, MARK)):
        frame = (max(left - distance, 0), max(top - distance, 0))
        end = (min(right - 1 + distance, image.width - 1), min(bottom - 1 + distance, image.height - 1))
        pen.rectangle((*frame, *end), outline=colour)


def shortened(text: str, width_px: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text without as much of its beginning as does not fit: the end of a path tells more."""
    if font.getlength(text) <= width_px:
        return text
    kept = next((start for start in range(len(text)) if font.getlength("…" + text[start:]) <= width_px), len(text))
    return "…" + text[kept:]
