"""A file for ``timm.create_model``: safetensors with timm's names, and the line that loads it in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.config.architectures import ARCHITECTURES, Architecture
from franca.export.bake import stored_size_px
from franca.export.formats import Reader
from franca.export.load_line import load_line
from franca.export.outputs import split_tokens
from franca.features.preprocess import RESIZE_OVER_CROP
from franca.layers.mlp import swiglu_hidden
from franca.models.layouts import to_timm, with_layer_scale
from franca.models.safetensors import read_safetensors, write_safetensors
from franca.models.vision_transformer import VisionTransformer

METADATA_KEY = "timm"

# timm's builders of DINOv2 models. The giant is the one with SwiGLU, the others have a perceptron.
PATCH_SIZE_PX = 14
NUM_REGISTERS = 4
MLP_RATIO = {"mlp": 4.0, "swiglu": 2.66667 * 2}
UNGATED = ("vit_small", "vit_base", "vit_large")
GATED = "vit_giant"


def write(backbone: VisionTransformer, path: Path) -> None:
    """Write the file; a backbone without layer scale gets factors of one, as every builder has it."""
    metadata = {
        "format": "pt",
        METADATA_KEY: json.dumps(create_model_arguments(backbone)),
        "create_model": _create_model_line(backbone, Path(path.name)),
    }
    write_safetensors(path, to_timm(with_layer_scale(backbone.state_dict())), metadata)


def load(path: Path, architecture: Mapping[str, Any]) -> Reader:
    """Load by `timm.create_model`, which is strict."""
    import timm

    _, metadata = read_safetensors(path)
    arguments = json.loads(metadata[METADATA_KEY])
    model = timm.create_model(**arguments, checkpoint_path=str(path)).eval()

    @torch.inference_mode()
    def read(images: Tensor) -> dict[str, Tensor]:
        return {**split_tokens(model.forward_features(images), model.num_reg_tokens), "cls": model(images)}

    return read


def usage(backbone: VisionTransformer, path: Path) -> str:
    """The call of `timm.create_model`, and that of ours."""
    return f"{_create_model_line(backbone, path)}\nhere: {load_line(backbone, path)}; mean and std must be given"


def _create_model_line(backbone: VisionTransformer, path: Path) -> str:
    arguments = create_model_arguments(backbone)
    name = arguments.pop("model_name")
    words = [repr(name), *(f"{key}={value!r}" for key, value in arguments.items()), f"checkpoint_path={str(path)!r}"]
    return f"timm.create_model({', '.join(words)})"


def create_model_arguments(backbone: VisionTransformer) -> dict[str, Any]:
    """A builder of timm, and where the backbone differs from what it builds."""
    builder = _builder(backbone.config)
    size, registers = ARCHITECTURES[builder], backbone.num_registers
    built = {
        "patch_size": PATCH_SIZE_PX,
        "in_chans": 3,
        "embed_dim": size.width,
        "depth": size.depth,
        "num_heads": size.num_heads,
        "reg_tokens": NUM_REGISTERS if registers else 0,
    }
    wanted = {
        "patch_size": backbone.patch_size_px,
        "in_chans": backbone.config["in_chans"],
        "embed_dim": backbone.width,
        "depth": backbone.config["depth"],
        "num_heads": backbone.config["num_heads"],
        "reg_tokens": registers,
    }
    return {
        "model_name": f"{builder}_patch{PATCH_SIZE_PX}{f'_reg{NUM_REGISTERS}' if registers else ''}_dinov2",
        "img_size": stored_size_px(backbone),
        **{name: value for name, value in wanted.items() if value != built[name]},
        **_mlp_ratio(backbone.config),
        "num_classes": 0,
        "pretrained_cfg_overlay": _preprocessing(backbone),
    }


def _builder(config: Mapping[str, Any]) -> str:
    if config["ffn"] == "swiglu":
        return GATED
    size = Architecture(config["width"], config["depth"], config["num_heads"])
    return next((name for name in UNGATED if ARCHITECTURES[name] == size), UNGATED[0])


def _mlp_ratio(config: Mapping[str, Any]) -> dict[str, float]:
    """timm takes int(width * ratio) rows for the first layer, which with SwiGLU holds gate and content."""
    width, ratio = config["width"], MLP_RATIO[config["ffn"]]
    rows = int(width * config["ffn_ratio"]) if config["ffn"] == "mlp" else 2 * swiglu_hidden(width, config["ffn_ratio"])
    # Half a row more, so that rounding to a float cannot lose a whole one.
    return {} if int(width * ratio) == rows else {"mlp_ratio": (rows + 0.5) / width}


def _preprocessing(backbone: VisionTransformer) -> dict[str, Any]:
    """What `timm.data.resolve_model_data_config` makes the transforms from."""
    height, width = stored_size_px(backbone)
    return {
        "input_size": (backbone.config["in_chans"], height, width),
        "mean": backbone.preprocessing.mean,
        "std": backbone.preprocessing.std,
        "crop_pct": 1 / RESIZE_OVER_CROP,
    }
