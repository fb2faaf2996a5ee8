"""Cells, pictures and sheets, pixel by pixel."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageFont

from franca.viz.sheet import (
    FONT_PX,
    GAP_PX,
    MARK,
    TITLE_PX,
    Cell,
    Drawing,
    Patch,
    contact_sheet,
    drawn_cell,
    image_cell,
    picture,
    shortened,
)

GREY, BLUE = (128, 128, 128), (0, 0, 255)


def flat(colour: tuple[int, int, int], height: int = 4, width: int = 4) -> torch.Tensor:
    return torch.tensor(colour, dtype=torch.uint8).expand(height, width, 3)


def test_a_map_is_enlarged_to_squares() -> None:
    pixels = torch.randint(256, (2, 3, 3), dtype=torch.uint8)
    enlarged = np.asarray(drawn_cell(Cell("", pixels, is_map=True), 30))
    assert np.array_equal(enlarged, pixels.numpy().repeat(10, 0).repeat(10, 1))


def test_an_image_keeps_its_shape_and_is_the_same_at_its_own_size() -> None:
    image = torch.randint(256, (3, 20, 40), dtype=torch.uint8)
    assert np.array_equal(np.asarray(drawn_cell(image_cell("", image), 40)), image.permute(1, 2, 0).numpy())
    assert drawn_cell(image_cell("", image), 80).size == (80, 40)


def test_a_frame_surrounds_a_patch_and_leaves_it_to_be_seen() -> None:
    drawn = np.asarray(drawn_cell(Cell("", flat(GREY, 40, 40), marked=Patch(1, 2, (4, 4))), 40))
    assert (drawn[10:20, 20:30] == GREY).all()
    frame = [*drawn[9, 19:31], *drawn[20, 19:31], *drawn[9:21, 19], *drawn[9:21, 30]]
    assert (np.array(frame) == MARK).all()
    assert (drawn[:6] == GREY).all() and (drawn[:, :16] == GREY).all()


def test_a_frame_at_the_edge_stays_inside() -> None:
    drawn = np.asarray(drawn_cell(Cell("", flat(GREY, 40, 40), marked=Patch(3, 0, (4, 4))), 40))
    assert (drawn[29:, 0] == MARK).all() and (drawn[39, :11] == MARK).all()


def at(paper: Image.Image, left: int, top: int) -> np.ndarray:
    return np.asarray(paper)[top, left]


def test_a_picture_has_cells_where_its_rows_say() -> None:
    paper = picture([[Cell("a", flat(GREY)), Cell("b", flat(BLUE))], [Cell("c", flat(BLUE, 4, 2))]], 20)
    step_x, step_y = 20 + GAP_PX, 20 + TITLE_PX + GAP_PX
    assert paper.size == (2 * step_x + GAP_PX, 2 * step_y + GAP_PX)
    top = GAP_PX + TITLE_PX
    assert (at(paper, GAP_PX, top) == GREY).all() and (at(paper, GAP_PX + step_x, top) == BLUE).all()
    assert (at(paper, GAP_PX + 4, top + step_y) == 255).all()  # a narrow one lies in the middle
    assert (at(paper, GAP_PX + 5, top + step_y) == BLUE).all()


def test_a_sheet_puts_drawings_side_by_side_as_far_as_they_fit() -> None:
    colours = [GREY, BLUE, (255, 0, 0)]
    rows = [[[Cell("", flat(colour)), Cell("", flat(colour))]] for colour in colours]
    sheet = contact_sheet([Drawing(str(n), n, row, row) for n, row in enumerate(rows)], 20, max_columns=5)
    step_x, step_y = 2 * (20 + GAP_PX) + 2 * GAP_PX, 20 + TITLE_PX + 3 * GAP_PX
    top = GAP_PX + TITLE_PX
    assert (at(sheet, GAP_PX, top) == colours[0]).all()
    assert (at(sheet, GAP_PX + step_x, top) == colours[1]).all()
    assert (at(sheet, GAP_PX, top + step_y) == colours[2]).all()


def test_long_titles_lose_their_beginning() -> None:
    font = ImageFont.load_default(FONT_PX)
    short = shortened("a/very/long/path/to/an/image.png", 60, font)
    assert short.startswith("…") and short.endswith("image.png"[-4:]) and font.getlength(short) <= 60
    assert shortened("cat", 60, font) == "cat"
