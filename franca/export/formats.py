"""The formats that a backbone can be exported to.

The module of a format has three functions::

    write(backbone: VisionTransformer, path: Path) -> None       # ConfigError where the format cannot express it
    load(path: Path, architecture: Mapping[str, Any]) -> Reader  # by the reader's own loader, strictly
    usage(backbone: VisionTransformer, path: Path) -> str        # what its user types, and what to know
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from franca.errors import ConfigError

if TYPE_CHECKING:  # the command line lists the formats before torch is there
    from torch import Tensor

    from franca.models.vision_transformer import VisionTransformer

Reader = Callable[["Tensor"], "dict[str, Tensor]"]
"""Images [B, C, H, W], fp32, to ``cls`` [B, D], ``patches`` [B, N, D] and, with registers ``registers`` [B, R, D];
and ``patches_rasa`` [B, N, D] where the backbone has a projector."""

TOLERANCE = 1e-4
"""Allowed difference of an output over its largest value."""


class FormatModule(Protocol):
    """What the module of a format offers."""

    def write(self, backbone: VisionTransformer, path: Path) -> None:
        """Write the backbone, on the grid of its stored positions."""

    def load(self, path: Path, architecture: Mapping[str, Any]) -> Reader:
        """Load what `write` wrote, as a user of the format would; ``architecture`` is for a format that lacks it."""

    def usage(self, backbone: VisionTransformer, path: Path) -> str:
        """How the result is loaded."""


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        module: see the top of this file.
        summary: what it is, for the help.
        suffixes: what the name of a file must end with; none for a folder.
        packages: what must be installed to write and to check it; the first one is the reader.
        extra: of this project, that brings the packages.
        projects: whether it can hold a projector of patch tokens beside the backbone.
        companions: what the names of further files have after the name of the first; they may be written or not.
    """

    module: str
    summary: str
    suffixes: tuple[str, ...]
    packages: tuple[str, ...] = ("torch",)
    extra: str = ""
    companions: tuple[str, ...] = ()
    projects: bool = False


FORMATS = {
    "safetensors": Format(
        "franca.export.safetensors_file", "a file of ours, with all that is needed", (".safetensors",)
    ),
    "torch": Format("franca.export.torch_file", "a state dict with DINOv2's names", (".pth", ".pt")),
    "timm": Format("franca.export.timm_file", "a file for timm.create_model", (".safetensors",), ("timm",), "timm"),
    "hf": Format("franca.export.transformers_folder", "a folder for transformers", (), ("transformers",), "hf"),
    "onnx": Format(
        "franca.export.onnx_file",
        "a graph for one image size and any batch",
        (".onnx",),
        ("onnxruntime", "onnx", "onnxscript"),
        "onnx",
        companions=(".data",),
        projects=True,
    ),
}


def open_format(name: str) -> FormatModule:
    """The module of a format.

    Raises:
        ConfigError: if a package that it needs is not installed.
    """
    form = FORMATS[name]
    missing = [package for package in form.packages if find_spec(package) is None]
    if missing:
        raise ConfigError(
            f"--format {name} needs {', '.join(missing)}, not installed here: pip install 'franca-vision[{form.extra}]'"
        )
    return cast(FormatModule, import_module(form.module))


def reader_name(name: str) -> str:
    """The package that reads a format, with its version."""
    package = FORMATS[name].packages[0]
    return f"{package} {version(package)}"
