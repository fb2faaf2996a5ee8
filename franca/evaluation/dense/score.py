"""One number for a projector: how well patches find patches of the same class in other images."""

from __future__ import annotations

from collections.abc import Callable

import torch

from franca.errors import DataError
from franca.evaluation.dense import incontext
from franca.evaluation.dense.sampling import mask_classes
from franca.evaluation.subject import Subject
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.models.projector import Projector

SETTINGS = incontext.IncontextSettings(seeds=[0])


def incontext_score(model: FeatureModel, table: PatchTable, device: torch.device) -> Callable[[Projector], float]:
    """In-context mean IoU of projected features: every other image is the memory, the rest are judged.

    Args:
        model: whose features these are.
        table: patches with masks, of images that no projector is fitted on.
        device: where neighbours are looked for.

    Raises:
        DataError: the images have no masks, or there is one only.
    """
    mask_classes(table)
    if len(table) < 2:
        raise DataError("score= needs two images at least, one to look for neighbours in and one to judge.")
    memory, judged = _every_other(table, 0), _every_other(table, 1)

    def score(projector: Projector) -> float:
        subject = Subject.of_patches(model, device, projector.matrix.float(), train=memory, val=judged)
        return incontext.run(subject, SETTINGS).metrics["miou_rasa"]

    return score


def _every_other(table: PatchTable, first: int) -> PatchTable:
    masks = None if table.masks is None else table.masks[first::2]
    return PatchTable(table.patches[first::2], masks, table.keys[first::2], table.class_names)
