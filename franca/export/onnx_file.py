"""A graph for onnxruntime and its like: one image size, any batch, positions and layer scale baked in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from franca.export.bake import public_info, stored_size_px, without_layer_scale
from franca.export.formats import Reader
from franca.models.projector import Projector
from franca.models.vision_transformer import VisionTransformer

OPSET = 18
INPUT = "images"
METADATA_KEY = "franca"
LARGEST_SINGLE_FILE_BYTES = 2**31 - 2**24  # protobuf ends at 2 GiB; the graph itself needs little


class _Outputs(nn.Module):
    """The backbone as a function that gives a tuple, which is what a graph has."""

    def __init__(self, backbone: VisionTransformer) -> None:
        super().__init__()
        self.backbone = backbone
        self.projector: nn.Linear | None = None
        if backbone.rasa_basis is not None:  # one linear layer, which every reader knows to be fast
            projector = Projector(backbone.rasa_basis.double()).matrix.to(backbone.rasa_basis)
            self.projector = nn.Linear(backbone.width, backbone.width, bias=False)
            self.projector.weight = nn.Parameter(projector)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        features = self.backbone.features(images)
        outputs = [features.cls, features.patches]
        if self.backbone.num_registers:
            outputs.append(features.registers)
        if self.projector is not None:
            outputs.append(self.projector(features.patches))
        return tuple(outputs)


@torch.no_grad()
def write(backbone: VisionTransformer, path: Path) -> None:
    """Write the graph; beyond 2 GiB the weights go to a second file, ``.data`` beside it."""
    size_bytes = sum(tensor.nbytes for tensor in backbone.state_dict().values())
    height, width = stored_size_px(backbone)
    example = torch.zeros(2, backbone.config["in_chans"], height, width)
    program = torch.onnx.export(
        _Outputs(without_layer_scale(backbone)).eval(),
        (example,),
        input_names=[INPUT],
        output_names=_output_names(backbone),
        dynamic_shapes={INPUT: {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    _forget_sources(program.model)
    program.model.metadata_props[METADATA_KEY] = json.dumps(_description(backbone))
    program.save(path, external_data=size_bytes > LARGEST_SINGLE_FILE_BYTES)


def load(path: Path, architecture: Mapping[str, Any]) -> Reader:
    """Load by onnxruntime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def read(images: Tensor) -> dict[str, Tensor]:
        outputs = session.run(names, {INPUT: images.numpy()})
        return {name: torch.from_numpy(output) for name, output in zip(names, outputs, strict=True)}

    return read


def usage(backbone: VisionTransformer, path: Path) -> str:
    """The call of onnxruntime, and what goes in and out."""
    height, width = stored_size_px(backbone)
    names = ", ".join(_output_names(backbone))
    return (
        f"{names} = onnxruntime.InferenceSession({str(path)!r}).run(None, {{{INPUT!r}: x}})\n"
        f"x: float32 [batch, {backbone.config['in_chans']}, {height}, {width}]; opset {OPSET}"
    )


def _output_names(backbone: VisionTransformer) -> list[str]:
    names = ["cls", "patches"]
    names += ["registers"] if backbone.num_registers else []
    return names + (["patches_rasa"] if backbone.rasa_basis is not None else [])


def _forget_sources(model: Any) -> None:
    """Drop what the exporter notes about every node: stack traces with paths of this machine, half of a small file."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None


def _description(backbone: VisionTransformer) -> dict[str, Any]:
    preprocessing = backbone.preprocessing
    return {
        "preprocessing": {"mean": list(preprocessing.mean), "std": list(preprocessing.std)},
        "info": public_info(backbone),
    }
