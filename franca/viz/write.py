"""Drawings as PNG files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from franca.errors import ConfigError
from franca.viz.sheet import Drawing, contact_sheet, picture

SHEET = "sheet.png"
SHEET_CELL_PX = 112
SHEET_COLUMNS = 8
LEAST_CELL_PX = 224
COMPRESSION = 3  # of 9: twice as fast as the default and hardly larger


def check_folder(out: Path) -> None:
    """Makes the folder for pictures, now and not after the work.

    Raises:
        ConfigError: It is a file, or cannot be made or written.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"OUT={out} is a file; expected the name of a folder, which gets one PNG an image")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"OUT={out}: the folder cannot be made: {error.strerror}") from error
    if not os.access(out, os.W_OK):
        raise ConfigError(f"OUT={out}: the folder cannot be written; choose another")


def write_drawings(drawings: Sequence[Drawing], out: Path) -> Path:
    """Writes a picture of each drawing, and the contact sheet of all; files of the same names are replaced.

    Returns:
        The path of the sheet.
    """
    for drawing in drawings:
        sides = [side for row in drawing.rows for cell in row if not cell.is_map for side in cell.pixels.shape[:2]]
        picture(drawing.rows, max(LEAST_CELL_PX, *sides)).save(out / file_name(drawing), compress_level=COMPRESSION)
    sheet = out / SHEET
    contact_sheet(drawings, SHEET_CELL_PX, SHEET_COLUMNS).save(sheet, compress_level=COMPRESSION)
    return sheet


def file_name(drawing: Drawing) -> str:
    """The place of the image and what can be kept of its key: ``00012_cats_tom.png``."""
    stem = re.sub(r"\.\w{1,5}$", "", drawing.key)
    return f"{drawing.place:05d}_{re.sub(r'[^A-Za-z0-9.-]+', '_', stem)[-80:]}.png"
