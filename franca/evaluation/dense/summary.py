"""Scores of several runs and variants, as a report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from statistics import fmean

from franca.evaluation.dense.confusion import SegmentationScores
from franca.evaluation.dense.repeats import Repeats
from franca.evaluation.dense.variants import is_prefix

OCCURRING = "mIoU is the mean over the classes that occur in the masks or the predictions"


def summarise(
    runs: Mapping[str, Sequence[SegmentationScores]],
) -> tuple[dict[str, float], dict[str, float]]:
    """Metrics and further numbers.

    Args:
        runs: Scores of one or more runs for the suffix of each variant.

    Returns:
        Mean mIoU of every variant and pixel accuracy of those of full width; and, as further numbers, the spread of
        their mIoU over runs.
    """
    wide = {suffix: found for suffix, found in runs.items() if not is_prefix(suffix)}
    repeats = {f"miou{suffix}": Repeats.of([run.miou for run in found]) for suffix, found in runs.items()}
    metrics = {name: repeated.mean for name, repeated in repeats.items()}
    metrics |= {f"pixel_accuracy{suffix}": fmean(run.pixel_accuracy for run in found) for suffix, found in wide.items()}
    numbers: dict[str, float] = {}
    for suffix in wide:
        numbers |= repeats[f"miou{suffix}"].numbers(f"miou{suffix}")
    return metrics, numbers


def iou_by_class(runs: Sequence[SegmentationScores], class_names: Sequence[str]) -> dict[str, float]:
    """Mean IoU of each class over the runs it occurs in; a class that occurs in none is left out."""
    found = {}
    for index, name in enumerate(class_names):
        values = [float(run.iou[index]) for run in runs]
        values = [value for value in values if not isnan(value)]  # the class does not occur
        if values:
            found[name] = fmean(values)
    return found
