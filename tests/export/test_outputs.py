from __future__ import annotations

import torch

from franca.export.outputs import outputs_of, split_tokens
from tests.export.models import build


def test_tokens_by_name() -> None:
    tokens = torch.arange(6.0).reshape(1, 6, 1)
    named = split_tokens(tokens, 2)
    assert {name: tensor.flatten().tolist() for name, tensor in named.items()} == {
        "cls": [0],
        "registers": [1, 2],
        "patches": [3, 4, 5],
    }
    assert set(split_tokens(tokens, 0)) == {"cls", "patches"}


def test_outputs_of_a_backbone() -> None:
    images = torch.randn(2, 3, 12, 12)
    model = build(num_registers=3)
    outputs = outputs_of(model)(images)
    assert {name: list(tensor.shape) for name, tensor in outputs.items()} == {
        "cls": [2, 16],
        "patches": [2, 9, 16],
        "registers": [2, 3, 16],
    }
    torch.testing.assert_close(outputs["cls"], model.features(images).cls)
    assert set(outputs_of(build())(images)) == {"cls", "patches"}
