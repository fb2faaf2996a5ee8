"""A folder that transformers reads as Dinov2Model or Dinov2WithRegistersModel, with its image processor."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from franca.errors import CheckpointError, ConfigError
from franca.export.bake import stored_size_px
from franca.export.formats import Reader
from franca.export.outputs import split_tokens
from franca.features.preprocess import RESIZE_OVER_CROP
from franca.layers.block import NORM_EPS
from franca.models.layouts import to_transformers
from franca.models.safetensors import write_safetensors
from franca.models.vision_transformer import VisionTransformer

BICUBIC = 3  # as Pillow numbers it


def write(backbone: VisionTransformer, path: Path) -> None:
    """Write the folder; a backbone without layer scale gets factors of one, as these models always have it.

    Raises:
        ConfigError: for what these models cannot express.
    """
    _check(backbone)
    path.mkdir(exist_ok=True)
    _write_json(path / "config.json", _config(backbone))
    _write_json(path / "preprocessor_config.json", _processor(backbone))
    write_safetensors(path / "model.safetensors", to_transformers(backbone.state_dict()), {"format": "pt"})


def load(path: Path, architecture: Mapping[str, Any]) -> Reader:
    """Load by `AutoModel.from_pretrained`, without network, and refuse what it would only warn about."""
    from transformers import AutoModel

    model, report = AutoModel.from_pretrained(path, local_files_only=True, output_loading_info=True)
    found = {kind: sorted(names) for kind, names in report.items() if names}
    if found:
        raise CheckpointError(f"transformers does not find just the parameters that it looks for: {found}")
    model.eval()

    @torch.inference_mode()
    def read(images: Tensor) -> dict[str, Tensor]:
        output = model(pixel_values=images)
        registers = getattr(model.config, "num_register_tokens", 0)
        return {**split_tokens(output.last_hidden_state, registers), "cls": output.pooler_output}

    return read


def usage(backbone: VisionTransformer, path: Path) -> str:
    """The call of `AutoModel.from_pretrained`, and for which sizes it gives what ours gives."""
    size_px, made_px = stored_size_px(backbone)[0], backbone.preprocessing.image_size_px
    line = f"transformers.AutoModel.from_pretrained({str(path)!r})"
    if backbone.num_registers and backbone.position_interpolation == "size":
        return line
    note = f"{line}\nat sizes other than {size_px}x{size_px}, transformers resizes the positions in a way of its own"
    if made_px == size_px:
        return note
    return f"{note};\nthe image processor makes {made_px}x{made_px}: for that size, export with --size {made_px}"


def _check(backbone: VisionTransformer) -> None:
    height, width = stored_size_px(backbone)
    ratio = backbone.config["ffn_ratio"]
    problems = []
    if height != width:
        problems.append(f"positions are stored for a square, not for {height}x{width}: give a square --size")
    if ratio != int(ratio):
        problems.append(f"mlp_ratio is a whole number, not {ratio}")
    if problems:
        raise ConfigError(f"transformers' DINOv2 models cannot express this backbone: {'; '.join(problems)}.")


def _config(backbone: VisionTransformer) -> dict[str, Any]:
    config = backbone.config
    registers = config["num_registers"]
    kind = (
        {"architectures": ["Dinov2WithRegistersModel"], "model_type": "dinov2_with_registers"}
        if registers
        else {"architectures": ["Dinov2Model"], "model_type": "dinov2"}
    )
    return {
        **kind,
        **({"num_register_tokens": registers} if registers else {}),
        "hidden_size": config["width"],
        "num_hidden_layers": config["depth"],
        "num_attention_heads": config["num_heads"],
        "mlp_ratio": int(config["ffn_ratio"]),
        "use_swiglu_ffn": config["ffn"] == "swiglu",
        "image_size": stored_size_px(backbone)[0],
        "patch_size": config["patch_size_px"],
        "num_channels": config["in_chans"],
        "layer_norm_eps": NORM_EPS,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "layerscale_value": config["layer_scale"] or 1.0,
    }


def _processor(backbone: VisionTransformer) -> dict[str, Any]:
    """Resize and crop as `franca.features.preprocess` does."""
    preprocessing = backbone.preprocessing
    size_px = preprocessing.image_size_px
    return {
        "image_processor_type": "BitImageProcessor",
        "do_convert_rgb": backbone.config["in_chans"] == 3,
        "do_resize": True,
        "size": {"shortest_edge": round(size_px * RESIZE_OVER_CROP)},
        "resample": BICUBIC,
        "do_center_crop": True,
        "crop_size": {"height": size_px, "width": size_px},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
