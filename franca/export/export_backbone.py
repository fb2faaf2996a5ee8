"""Export a backbone: write, read back elsewhere, compare, and only then put it in place."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from franca.errors import ConfigError
from franca.export.bake import at_size, in_fp32, stored_size_px
from franca.export.formats import FORMATS, TOLERANCE, open_format, reader_name
from franca.export.verify import verify
from franca.models.vision_transformer import VisionTransformer


@dataclass(frozen=True)
class Exported:
    """What came out."""

    path: Path
    size_px: tuple[int, int]  # height and width of the images that it was compared on
    num_bytes: int
    seconds: float
    reader: str  # the package that read it back, with its version
    differences: dict[str, float]  # per output, the largest difference over the largest value
    usage: str  # how to load it


def export_backbone(
    backbone: VisionTransformer,
    out: Path,
    name: str,
    *,
    size_px: Sequence[int] | None = None,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> Exported:
    """Write a backbone for another program, in fp32.

    The export is loaded by its reader in a process of its own and compared with the backbone. Where that fails nothing
    is left at ``out``, and what was there stays.

    Args:
        backbone: with weights, on any device, of any type.
        out: a file, or a folder where the format is one.
        name: of a format in `FORMATS`.
        size_px: height and width that the positions are stored for; None takes those that the backbone has.
        tolerance: allowed difference of any output, over its largest value.
        overwrite: replace what is at ``out``.

    Raises:
        ConfigError: for a wrong name, place, size or tolerance, a missing package, or what the format cannot express.
        ExportError: if the reader cannot load the export or computes something else.
    """
    start = time.monotonic()
    check_place(out, name, overwrite=overwrite)
    check_tolerance(tolerance)
    module = open_format(name)
    backbone = in_fp32(backbone)
    if size_px is not None:
        backbone = at_size(backbone, size_px)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        module.write(backbone, staging / out.name)
        differences = verify(backbone, name, staging / out.name, tolerance=tolerance)
        num_bytes = sum(file.stat().st_size for file in staging.rglob("*") if file.is_file())
        stale = [file for file in _companions(out, name) if not (staging / file.name).exists()]
        _move(staging, out.parent)
        for file in stale:  # of an export that was here before
            file.unlink(missing_ok=True)
    finally:
        shutil.rmtree(staging)
    return Exported(
        path=out,
        size_px=stored_size_px(backbone),
        num_bytes=num_bytes,
        seconds=time.monotonic() - start,
        reader=reader_name(name),
        differences=differences,
        usage=module.usage(backbone, out),
    )


def check_place(out: Path, name: str, *, overwrite: bool) -> None:
    """Check what can be known before anything is loaded.

    Raises:
        ConfigError: if the format is unknown, or nothing of this format can be put at ``out``.
    """
    if name not in FORMATS:
        raise ConfigError(f"There is no format {name!r}. Choose one of: {', '.join(FORMATS)}.")
    suffixes = FORMATS[name].suffixes
    if suffixes and out.suffix not in suffixes:
        raise ConfigError(f"{out}: format {name} is a file whose name ends with {' or '.join(suffixes)}.")
    if suffixes and out.is_dir():
        raise ConfigError(f"{out} is a folder, but format {name} is a file: name a file in it.")
    if not suffixes and out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file, but format {name} is a folder: name another place.")
    files = [out, *_companions(out, name)] if suffixes else list(out.iterdir()) if out.is_dir() else []
    in_use = [file for file in files if file.exists()]
    if in_use and not overwrite:
        raise ConfigError(
            f"{in_use[0] if suffixes else out} exists: name another place, or replace it with --overwrite."
        )


def _companions(out: Path, name: str) -> list[Path]:
    """Further files that the format may have beside its first."""
    return [out.with_name(out.name + ending) for ending in FORMATS[name].companions]


def check_tolerance(tolerance: float) -> None:
    """Check that a tolerance allows something, but not everything.

    Raises:
        ConfigError: if it is negative, infinite or not a number.
    """
    if not 0 <= tolerance < math.inf:
        raise ConfigError(
            f"--tolerance is {tolerance}, but must be a number from 0: what an output may differ by, over its largest "
            f"value. The usual one is {TOLERANCE:g}."
        )


def _move(staging: Path, place: Path) -> None:
    """Move every file of the staging folder to the same path below ``place``, over what is there."""
    for file in sorted(staging.rglob("*")):
        target = place / file.relative_to(staging)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        else:
            os.replace(file, target)
