"""Several protocols on one set of features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from franca.data.sample import Sample
from franca.errors import ConfigError, DataError
from franca.evaluation.evaluate import check_sources, evaluate
from franca.evaluation.protocols import read_options
from franca.features.settings import FeatureSettings

FEATURES = FeatureSettings(image_size_px=8, workers=0, device="cpu", precision="fp32", batch_size=16)


class MeanColour(nn.Module):
    """The simplest model that can be judged."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) * self.factor


@dataclass
class Colours:
    """Plain images, each class in a colour of its own; counts how often it is read."""

    count: int
    class_names: tuple[str, ...] | None = ("red", "green", "blue")
    kind: str = "folder"
    location: str = "colours"
    reads: list[int] = field(default_factory=list)
    labels: list[int] | None = None  # where they are known without reading

    @property
    def group_sizes(self) -> tuple[int, ...]:
        return (self.count,)

    def __len__(self) -> int:
        return self.count

    def read(self, index: int) -> Sample:
        self.reads.append(index)
        image = torch.randint(100, (3, 9, 9), dtype=torch.uint8, generator=torch.Generator().manual_seed(index))
        image[index % 3] += 100
        return Sample(str(index), image, index % 3)


def test_features_are_computed_once_for_all_protocols() -> None:
    train, val = Colours(48), Colours(24)
    seen: list[tuple[str, int, int]] = []
    report = evaluate(
        MeanColour(),
        train,
        val,
        read_options(["knn", "linear"], {"k": 5}).protocols,
        name="mean colour",
        features=FEATURES,
        progress=lambda *now: seen.append(now),
    )
    assert (train.reads, val.reads) == (list(range(48)), list(range(24)))
    assert seen == [("train", 16, 48), ("train", 32, 48), ("train", 48, 48), ("val", 16, 24), ("val", 24, 24)]
    assert [result.protocol for result in report.results] == ["knn", "linear"]
    assert all(result.metrics["top1"] == 1 for result in report.results)
    settings = report.result("linear").settings
    assert (settings["num_train"], settings["num_val"], settings["width"], settings["train"]) == (48, 24, 3, "colours")
    assert len(settings["weights_sha256"]) == 64


def test_classes_are_compared_before_anything_is_read() -> None:
    train, val = Colours(9), Colours(9, class_names=("red", "green", "mauve"))
    with pytest.raises(DataError, match="lacks: mauve"):
        evaluate(MeanColour(), train, val, read_options(["knn"]).protocols, name="m", features=FEATURES)
    assert train.reads == val.reads == []


class Untouched(nn.Module):
    """Tells of being asked for anything."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("the model was called")


@pytest.mark.parametrize(
    ("protocol", "options", "train", "said"),
    [
        ("linear", {}, Colours(3, labels=[0, 1, 2]), "one image per class; .* Give more, or take fewshot"),
        ("logreg", {}, Colours(3, labels=[0, 1, 2]), "one image per class"),
        ("fewshot", {"shots": [5]}, Colours(9, labels=[0] * 5 + [1] * 4), "class green of train= has 4 images; lower"),
        ("knn", {"k": 10}, Colours(9), "k=10 neighbours are asked for, train= has 9 images; lower k"),
        ("knn", {"k": 3}, Colours(9, labels=[1] * 9), r"one class only \(green\)"),
        ("knn", {"k": 3}, Colours(9, class_names=None), "train= has images without a label"),
        ("knn", {"k": 3}, Colours(9, class_names=("red", "green")), "classes that train= lacks: blue"),
    ],
)
def test_what_labels_and_settings_tell_is_told_before_the_model_is_asked(
    protocol: str, options: dict[str, Any], train: Colours, said: str
) -> None:
    settings = read_options([protocol], options).protocols
    with pytest.raises(DataError, match=said):
        evaluate(Untouched(), train, Colours(9), settings, name="m", features=FEATURES)
    assert train.reads == []


def test_with_selection_on_val_no_image_is_held_out() -> None:
    train = Colours(3, labels=[0, 1, 2])
    settings = read_options(["linear"], {"selection": "val", "epochs": 2}).protocols
    assert evaluate(MeanColour(), train, Colours(9), settings, name="m", features=FEATURES).results


def test_too_little_memory_is_told_before_anything_is_read() -> None:
    train = Colours(9)
    settings = read_options(["knn"], {"k": 3, "memory_mib": 1}).protocols
    with pytest.raises(DataError, match=r"memory_mib=1 is too little for k=3 neighbours in 9000 dimensions"):
        evaluate(Wide(), train, Colours(9), settings, name="m", features=FEATURES)
    assert train.reads == []


class Wide(nn.Module):
    """Embeddings of many dimensions."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)).repeat(1, 3000)


def test_a_broken_model_is_told() -> None:
    options = read_options(["knn"], {"k": 3}).protocols
    with pytest.raises(DataError, match="9 of 9 images of train= have features that are NaN"):
        evaluate(MeanColour(torch.nan), Colours(9), Colours(9), options, name="m", features=FEATURES)


def test_one_class_is_told_before_anything_is_read() -> None:
    train, val = Colours(9, class_names=("red",)), Colours(9, class_names=("red",))
    with pytest.raises(DataError, match=r"one class only \(red\); expected at least two"):
        evaluate(MeanColour(), train, val, read_options(["linear"]).protocols, name="m", features=FEATURES)
    assert train.reads == val.reads == []


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        (
            "linear",
            {"learning_rates": [], "num_blocks": []},
            r"learning_rates=\[\], num_blocks=\[\]: expected at least",
        ),
        ("linear", {"patch_mean": []}, r"patch_mean=\[\]: expected at least one value"),
        ("fewshot", {"seeds": []}, r"seeds=\[\]: expected at least one value"),
        ("fewshot", {"shots": []}, r"shots=\[\]: expected at least one value"),
        ("logreg", {"powers_of_c": [1.0]}, r"powers_of_c=\[1.0\]: expected two powers of ten"),
        ("logreg", {"powers_of_c": [5.0, -6.0]}, "the lower one first"),
    ],
)
def test_options_are_checked_before_anything_is_read(protocol: str, options: dict[str, Any], message: str) -> None:
    train = Colours(9)
    with pytest.raises(ConfigError, match=message):
        evaluate(
            MeanColour(), train, Colours(9), read_options([protocol], options).protocols, name="m", features=FEATURES
        )
    assert train.reads == []


@pytest.mark.parametrize(
    ("protocol", "options", "message"),
    [
        ("segmentation", {"scales": []}, r"scales=\[\]: expected at least one value"),
        ("segmentation", {"scale_range": [2.0, 1.0]}, "the smaller one first"),
        ("incontext", {"seeds": []}, r"seeds=\[\]: expected at least one value"),
        ("overcluster", {"num_clusters": [], "seeds": []}, r"num_clusters=\[\], seeds=\[\]: expected at least"),
    ],
)
def test_options_of_dense_protocols_are_checked_too(protocol: str, options: dict[str, Any], message: str) -> None:
    class Masked(Colours):
        """Never read, so its masks need not be there."""

        mask_names = ("red", "green", "blue")

    train = Masked(9)
    with pytest.raises(ConfigError, match=message):
        check_sources(read_options([protocol], options).protocols, {"train": train, "val": Masked(9)})
    assert train.reads == []
