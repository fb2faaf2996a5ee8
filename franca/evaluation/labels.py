"""Checks that two tables can be compared, and counts their classes alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from franca.errors import DataError
from franca.features.table import FeatureTable

NAMES_SHOWN = 5


@dataclass(frozen=True)
class Labels:
    """Class of every image, counted as train= counts them."""

    train: Tensor  # [n] int64 in [0, num_classes)
    val: Tensor  # [m] int64 in [0, num_classes)
    num_classes: int


def common_labels(train: FeatureTable, val: FeatureTable) -> Labels:
    """The labels of both tables, those of ``val`` translated to train's by the names of the classes.

    Raises:
        DataError: labels are missing, there is only one class, ``val`` has a class that ``train`` lacks, the tables
            come from different models, or features are not finite.
    """
    train_labels, train_names = _labels("train", train)
    val_labels, val_names = _labels("val", val)
    _check_features(train, val)
    check_several([train_names[label] for label in train_labels.unique()])
    check_classes(train_names, val_names)
    index_of = {name: index for index, name in enumerate(train_names)}  # of 20,000 classes a search for each takes long
    translation = torch.tensor([index_of[name] for name in val_names])
    return Labels(train_labels, translation[val_labels], len(train_names))


def check_several(train_names: Sequence[str]) -> None:
    """Raises a DataError where all images of ``train`` are of one class."""
    if len(train_names) < 2:
        raise DataError(f"train= has images of one class only ({_some(train_names)}); expected at least two")


def check_classes(train_names: Sequence[str], val_names: Sequence[str]) -> None:
    """Raises a DataError where ``val`` has a class that ``train`` lacks."""
    known = set(train_names)
    unknown = [name for name in val_names if name not in known]
    if unknown:
        raise DataError(
            f"val= has classes that train= lacks: {_some(unknown)}; train= has {_some(train_names)}. "
            "Classes are matched by name: folder names, tar names or the numbers in .cls"
        )


def no_labels(role: str) -> DataError:
    """What to raise where images of a role have no label."""
    return DataError(f"{role}= has images without a label; expected class folders, tars with .cls, or synthetic")


def _labels(role: str, table: FeatureTable) -> tuple[Tensor, tuple[str, ...]]:
    if table.labels is None or table.class_names is None:
        raise no_labels(role)
    return table.labels, table.class_names


def check_finite(where: str, table: FeatureTable) -> None:
    """Raises a DataError where features of ``where`` are NaN or infinite."""
    broken = table.num_not_finite()
    if broken:
        raise DataError(
            f"{broken} of {len(table)} images of {where} have features that are NaN or infinite: "
            "the model is broken, or its numbers outgrow the precision (try precision=fp32)"
        )


def _check_features(train: FeatureTable, val: FeatureTable) -> None:
    if train.width != val.width:
        raise DataError(f"features of train= have {train.width} dimensions, those of val= {val.width}: two models?")
    check_finite("train=", train)
    check_finite("val=", val)


def _some(names: Sequence[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
