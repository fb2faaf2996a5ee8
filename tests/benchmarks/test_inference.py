"""The benchmark of inference: what it prints is what it measured, and everybody computes the same."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("timm")

from benchmarks import inference


@pytest.mark.parametrize("output", inference.OUTPUTS)
def test_outputs_agree_and_ratios_are_ours_over_theirs(output: str) -> None:
    contenders = inference.contenders("small", 28, torch.device("cpu"))
    models = {name: inference.OUTPUTS[output](model) for name, model in contenders.items()}
    found = inference.measure(models, torch.randn(1, 3, 28, 28), "fp32", num_rounds=3)
    assert found["relative_difference"]["timm"] < 1e-5
    assert set(found["seconds"]) == set(models)
    assert found["ratio"]["timm"] > 0
    setting = {"size": "small", "image_px": 28, "output": output, "batch": 1, "precision": "fp32"}
    row = setting | {"compiled": False} | found
    assert f"/timm {found['ratio']['timm']:.3f}" in inference.describe(row)
