"""Does an export compute what the backbone computes, where its reader loads it?"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import franca
from franca.errors import ExportError
from franca.export.bake import stored_size_px
from franca.export.formats import reader_name
from franca.export.outputs import outputs_of
from franca.export.reader import ARCHITECTURE_KEY, read_batches
from franca.models.safetensors import read_safetensors, write_safetensors
from franca.models.vision_transformer import VisionTransformer

BATCHES = (3, 1)
LINES_SHOWN = 5


def verify(backbone: VisionTransformer, name: str, path: Path, *, tolerance: float) -> dict[str, float]:
    """Compare an export, loaded in a process of its own, with the backbone on random images.

    Args:
        backbone: what was exported.
        name: of the format.
        path: of the export.
        tolerance: allowed difference, see below.

    Returns:
        Per output, the largest difference over the largest value.

    Raises:
        ExportError: if its reader cannot load it, or a difference is above the tolerance.
    """
    batches = draw_images(backbone)
    with tempfile.TemporaryDirectory(prefix="franca-export-") as folder:
        found = _read_in_fresh_process(backbone, name, path, batches, Path(folder))
    return compare(read_batches(outputs_of(backbone), batches), found, reader_name(name), tolerance)


def compare(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], reader: str, tolerance: float
) -> dict[str, float]:
    """The largest difference of every output over its batches, see `verify`.

    Args:
        expected: tensors as ``BATCH/NAME``.
        found: the same, by the reader.
        reader: its name, for the message.
        tolerance: allowed difference.

    Raises:
        ExportError: for other outputs, other shapes, or a difference above the tolerance.
    """
    shapes, other = ({key: list(value.shape) for key, value in outputs.items()} for outputs in (expected, found))
    if shapes != other:
        raise ExportError(f"{reader} gives outputs of other shapes than franca: {other} instead of {shapes}.")
    differences: dict[str, float] = {}
    for key, tensor in expected.items():
        output = key.partition("/")[2]
        differences[output] = max(differences.get(output, 0.0), _difference(tensor, found[key]))
    large = [f"{output} by {value:.1e}" for output, value in differences.items() if not value <= tolerance < math.inf]
    if large:
        raise ExportError(
            f"What {reader} computes from the export differs from franca: {', '.join(large)} of the largest value, "
            f"allowed is {tolerance:.1e}. If that is close enough, raise --tolerance."
        )
    return differences


def draw_images(backbone: VisionTransformer) -> dict[str, Tensor]:
    """Batches of random images of the size that the stored positions are for, by their number."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(max(BATCHES), backbone.config["in_chans"], *stored_size_px(backbone), generator=generator)
    return {str(size): images[:size] for size in BATCHES}


def _read_in_fresh_process(
    backbone: VisionTransformer, name: str, path: Path, batches: Mapping[str, Tensor], folder: Path
) -> dict[str, Tensor]:
    images_path, outputs_path = folder / "images.safetensors", folder / "outputs.safetensors"
    write_safetensors(images_path, batches, {ARCHITECTURE_KEY: json.dumps(backbone.config)})
    files = [str(file.absolute()) for file in (path, images_path, outputs_path)]
    command = [sys.executable, "-m", "franca.export.reader", name, *files]
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(torch.get_num_threads()),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": _python_path(),
    }
    # Python looks for modules where it starts: here in a folder that holds none.
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-LINES_SHOWN:])
        raise ExportError(f"{reader_name(name)} cannot read the export of format {name}:\n{last}")
    return read_safetensors(outputs_path)[0]


def _python_path() -> str:
    """Where this very franca lies, before what the user has set, which means the folder that the user is in."""
    ours = Path(franca.__file__).absolute().parents[1]
    theirs = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return os.pathsep.join([str(ours), *theirs])


def _difference(expected: Tensor, found: Tensor) -> float:
    largest = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    difference = float((expected - found).abs().max() / largest)
    return difference if math.isfinite(difference) else math.inf  # max() would pass over what is not a number
