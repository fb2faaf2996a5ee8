"""``python -m franca.export.reader FORMAT PATH IMAGES OUTPUTS``: what a fresh process makes of an export.

Nothing but files passes between this process and the one that exported.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from franca.export.formats import Reader, open_format
from franca.models.safetensors import read_safetensors, write_safetensors

ARCHITECTURE_KEY = "architecture"


def main(name: str, path: str, images_path: str, outputs_path: str) -> None:
    """Load an export, run it on every batch of images, and write the outputs as ``BATCH/NAME``."""
    batches, metadata = read_safetensors(images_path)
    read = open_format(name).load(Path(path), json.loads(metadata[ARCHITECTURE_KEY]))
    write_safetensors(outputs_path, read_batches(read, batches))


def read_batches(read: Reader, batches: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs for every batch, as ``BATCH/NAME``."""
    return {
        f"{batch}/{output}": tensor.contiguous()
        for batch, images in batches.items()
        for output, tensor in read(images).items()
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
