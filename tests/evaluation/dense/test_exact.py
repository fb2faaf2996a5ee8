"""Where double precision is."""

from __future__ import annotations

import torch

from franca.evaluation.dense.exact import exact_device


def test_only_mps_has_none() -> None:
    assert [exact_device(name) for name in ("cpu", "cuda:1", "mps")] == [
        torch.device("cpu"),
        torch.device("cuda:1"),
        torch.device("cpu"),
    ]
