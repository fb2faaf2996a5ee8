"""Scores as a report shows them."""

from __future__ import annotations

import pytest
import torch

from franca.evaluation.dense.confusion import SegmentationScores
from franca.evaluation.dense.summary import iou_by_class, summarise


def run(miou: float, accuracy: float, *iou: float) -> SegmentationScores:
    return SegmentationScores(miou, accuracy, torch.tensor(iou, dtype=torch.float64))


def test_means_spreads_and_classes_of_the_headline() -> None:
    nan = float("nan")
    runs = {
        "": [run(0.4, 0.7, 0.2, nan, nan), run(0.6, 0.9, 0.4, 0.5, nan)],
        "_rasa": [run(0.5, 0.5, 0, 0, 0)] * 2,
        "_d4": [run(0.1, 0.2, 0, 0, 0)] * 2,
    }
    metrics, numbers = summarise(runs)
    assert metrics == pytest.approx(
        {"miou": 0.5, "miou_rasa": 0.5, "miou_d4": 0.1, "pixel_accuracy": 0.8, "pixel_accuracy_rasa": 0.5}
    )
    assert next(iter(metrics)) == "miou"
    assert iou_by_class(runs[""], ("sky", "road", "car")) == pytest.approx({"sky": 0.3, "road": 0.5})
    assert numbers["miou_std"] == pytest.approx(0.02**0.5) and numbers["miou_rasa_std"] == 0
    assert "miou_d4_std" not in numbers
