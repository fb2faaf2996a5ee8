"""mIoU against torchmetrics, and by hand."""

from __future__ import annotations

import pytest
import torch

from franca.errors import DataError
from franca.evaluation.dense.confusion import confusion_matrix, scores


def maps(num_classes: int, present: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions and masks of which only the first classes occur."""
    generator = torch.Generator().manual_seed(seed)
    masks = torch.randint(present, (5, 20, 30), generator=generator)
    wrong = torch.rand(masks.shape, generator=generator) < 0.4
    predictions = torch.where(wrong, torch.randint(present, masks.shape, generator=generator), masks)
    masks[torch.rand(masks.shape, generator=generator) < 0.2] = 255
    assert num_classes >= present
    return predictions, masks.to(torch.uint8)


@pytest.mark.parametrize(("num_classes", "present"), [(2, 2), (7, 7), (9, 6), (150, 20)])
def test_equal_to_torchmetrics(num_classes: int, present: int) -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    predictions, masks = maps(num_classes, present)
    found = scores(confusion_matrix(predictions, masks, num_classes))
    arguments = {"num_classes": num_classes, "ignore_index": 255}
    jaccard = classification.multiclass_jaccard_index
    assert found.miou == pytest.approx(float(jaccard(predictions, masks.long(), average="macro", **arguments)))
    each = jaccard(predictions, masks.long(), average="none", **arguments)
    torch.testing.assert_close(found.iou.nan_to_num().float(), each)
    accuracy = classification.multiclass_accuracy(predictions, masks.long(), average="micro", **arguments)
    assert found.pixel_accuracy == pytest.approx(float(accuracy))


def test_by_hand() -> None:
    masks = torch.tensor([[0, 0, 0, 1], [1, 255, 255, 2]])
    predictions = torch.tensor([[0, 0, 1, 1], [0, 0, 3, 4]])  # 3 is only predicted where ignored, 4 is no class
    confusion = confusion_matrix(predictions, masks, 4)
    assert confusion.tolist() == [[2, 1, 0, 0, 0], [1, 1, 0, 0, 0], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    found = scores(confusion)
    assert found.iou.tolist() == pytest.approx([2 / 4, 1 / 3, 0, float("nan")], nan_ok=True)
    assert found.miou == pytest.approx((1 / 2 + 1 / 3) / 3)
    assert found.pixel_accuracy == pytest.approx(3 / 6)


def test_a_class_that_is_only_predicted_counts_as_nothing() -> None:
    found = scores(confusion_matrix(torch.tensor([0, 0, 2]), torch.tensor([0, 0, 0]), 3))
    assert found.miou == pytest.approx((2 / 3 + 0) / 2)


def test_parts_add_up() -> None:
    predictions, masks = maps(7, 7)
    whole = confusion_matrix(predictions, masks, 7)
    assert torch.equal(sum(confusion_matrix(p, m, 7) for p, m in zip(predictions, masks, strict=True)), whole)


def test_nothing_labelled() -> None:
    found = scores(confusion_matrix(torch.zeros(3), torch.full((3,), 255), 2))
    assert (found.miou, found.pixel_accuracy) == (0, 0)


def test_a_value_that_is_no_class() -> None:
    with pytest.raises(DataError, match="a mask holds 3, outside the classes 0 to 2"):
        confusion_matrix(torch.zeros(2), torch.tensor([1, 3]), 3)
