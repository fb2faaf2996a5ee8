from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from franca.export import onnx_file
from franca.export.bake import at_size
from tests.export.models import RECTANGLE_PX, SQUARE_PX, build, round_trip

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KINDS = [  # each part in two of them, since one export takes a second
    {"ffn": "mlp", "num_registers": 4, "image_size_px": SQUARE_PX},
    {"ffn": "swiglu", "num_registers": 0, "image_size_px": RECTANGLE_PX},
    {"ffn": "swiglu", "num_registers": 4, "image_size_px": RECTANGLE_PX, "layer_scale": None},
    {"ffn": "mlp", "num_registers": 0, "image_size_px": SQUARE_PX, "layer_scale": None, "in_chans": 1},
]


@pytest.mark.parametrize("options", KINDS, ids=lambda options: f"{options['ffn']}-{options['num_registers']}")
def test_onnxruntime_computes_the_same(options: dict[str, object], tmp_path: Path) -> None:
    outputs = round_trip("onnx", build(depth=1, **options), tmp_path / "a.onnx")
    assert set(outputs) == {"cls", "patches"} | ({"registers"} if options["num_registers"] else set())
    graph = onnx.load(tmp_path / "a.onnx").graph
    assert "Resize" not in {node.op_type for node in graph.node}
    assert [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim] == [
        "batch",
        options.get("in_chans", 3),
        *options["image_size_px"],
    ]


def test_another_size(tmp_path: Path) -> None:
    """Positions are resized before the graph is made; heads that do not divide the batch, and a batch of five."""
    model = build(depth=1, num_registers=1)
    onnx_file.write(at_size(model, (16, 8)), tmp_path / "a.onnx")
    images = torch.randn(5, 3, 16, 8)
    outputs = onnx_file.load(tmp_path / "a.onnx", model.config)(images)
    torch.testing.assert_close(outputs["patches"], model.features(images).patches, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs["cls"], model(images), rtol=1e-4, atol=1e-5)


def test_what_the_file_says(tmp_path: Path) -> None:
    model = build(depth=1)
    model.export_info = {"step": 7}
    onnx_file.write(model, tmp_path / "a.onnx")
    graph = onnx.load(tmp_path / "a.onnx")
    assert graph.opset_import[0].version == onnx_file.OPSET
    said = onnxruntime.InferenceSession(tmp_path / "a.onnx").get_modelmeta().custom_metadata_map
    assert json.loads(said["franca"]) == {
        "preprocessing": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
        "info": {"step": 7},
    }
    assert str(Path(onnx_file.__file__).parents[2]).encode() not in (tmp_path / "a.onnx").read_bytes()


def test_large_weights_go_to_a_second_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "LARGEST_SINGLE_FILE_BYTES", 0)
    round_trip("onnx", build(depth=1, width=64), tmp_path / "a.onnx")
    assert {file.name for file in tmp_path.iterdir()} == {"a.onnx", "a.onnx.data"}
    assert (tmp_path / "a.onnx.data").stat().st_size > (tmp_path / "a.onnx").stat().st_size
