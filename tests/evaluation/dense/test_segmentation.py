"""Linear segmentation from images to mIoU, on one rank and on several."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from franca.config.recipes import load_recipe
from franca.config.schema import SyntheticConfig
from franca.data.sample import BadSample, Sample
from franca.data.synthetic import SyntheticSource
from franca.errors import ConfigError, DataError
from franca.evaluation.dense import incontext, overcluster, position
from franca.evaluation.dense.incontext import IncontextSettings
from franca.evaluation.dense.overcluster import OverclusterSettings
from franca.evaluation.dense.position import PositionSettings
from franca.evaluation.dense.segmentation import SegmentationSettings, run
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.preprocess import normalise
from franca.models.hub import load
from franca.models.preprocessing import Preprocessing
from franca.models.vision_transformer import VisionTransformer
from franca.train.checkpoint import step_name
from franca.train.pretrain import Outcome, pretrain
from tests.distributed.ranks import run_ranks
from tests.evaluation.dense.subjects import Colours, Stripes, subject_on

SETTINGS = SegmentationSettings(learning_rate=0.05, epochs=6, images_per_step=8)


def stripes(backbone: nn.Module | None = None) -> Subject:
    return subject_on({"train": Stripes(24, seed=1), "val": Stripes(11, seed=2)}, backbone)


class Blind(Colours):
    """Patch features that are all alike."""

    def get_intermediate_layers(
        self, images: Tensor, n: int = 1, return_class_token: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        return [(torch.ones_like(patches), cls) for patches, cls in super().get_intermediate_layers(images)]


def test_a_feature_that_is_the_label_finds_everything() -> None:
    result = run(stripes(), SETTINGS)
    assert result.metrics["miou"] > 0.97 and result.metrics["pixel_accuracy"] > 0.97  # borders lie between patches
    assert set(result.by_class) == {"ground", "tree", "sky"} and not result.numbers
    assert result.settings["crop_px"] == [16, 16] and result.settings["steps"] == 18


def test_a_constant_feature_gives_the_majority() -> None:
    result = run(stripes(Blind()), SETTINGS)
    val = Stripes(11, seed=2).classes
    train = Stripes(24, seed=1).classes
    most = int(train[train != 3].bincount(minlength=3).argmax())
    share = float((val == most).sum() / (val != 3).sum())
    assert result.metrics["pixel_accuracy"] == pytest.approx(share, abs=1e-6)
    assert result.metrics["miou"] == pytest.approx(share / 3, abs=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, augment=True, scale_range=[0.8, 1.5]),
        replace(SETTINGS, optimizer="sgd", scales=[1.0, 1.5], stride=1.0),
    ],
)
def test_other_settings_work_as_well(settings: SegmentationSettings) -> None:
    assert run(stripes(), settings).metrics["miou"] > 0.85


def test_training_ends_after_so_many_steps_even_so() -> None:
    found = run(stripes(), replace(SETTINGS, epochs=1000, max_steps=18))
    assert found.settings["steps"] == 18 and found.metrics == run(stripes(), SETTINGS).metrics


def test_it_repeats() -> None:
    assert run(stripes(), SETTINGS).metrics == run(stripes(), SETTINGS).metrics


def test_variants_side_by_side() -> None:
    keeps_green = torch.diag(torch.tensor([0.0, 1.0, 0.0]))
    backbone = Wide()
    subject = replace(stripes(backbone), projector=torch.block_diag(keeps_green, torch.zeros(1, 1)))
    found = run(subject, replace(SETTINGS, prefixes=True)).metrics
    assert found["miou"] == found["miou_d4"] > 0.95
    assert found["miou_rasa"] < 0.8 and found["miou_d1"] < 0.8 and "miou_rasa_d2" in found


class Wide(Colours):
    """Mean colours and a dimension of nothing, so that there are prefixes."""

    def get_intermediate_layers(
        self, images: Tensor, n: int = 1, return_class_token: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        found = super().get_intermediate_layers(images)
        return [tuple(nn.functional.pad(part, (0, 1)) for part in pair) for pair in found]  # type: ignore[misc]


def test_transformers_with_registers_on_drawn_images_that_are_not_square(tmp_path: Path) -> None:
    torch.manual_seed(0)
    backbone = VisionTransformer(width=16, depth=1, num_heads=2, patch_size_px=8, image_size_px=16, num_registers=2)
    config = SyntheticConfig(num_images=8, num_val_images=8, size_px=40)
    sources = {"train": SyntheticSource(config, "train"), "val": SyntheticSource(config, "val")}
    subject = subject_on(sources, backbone)
    subject = replace(subject, features=replace(subject.features, image_size_px=[16, 24]))
    settings = SegmentationSettings(epochs=2, pictures=str(tmp_path), num_pictures=3)
    result = run(subject, settings)
    assert 0 < result.metrics["miou"] < 1 and result.settings["crop_px"] == [16, 24]
    assert (tmp_path / "segmentation.png").is_file()
    assert "background" in result.by_class


def test_images_that_cannot_be_read_are_told() -> None:
    class Torn(Stripes):
        def read(self, index: int) -> Sample:
            if index % 4 == 1:
                raise BadSample(f"stripes {index}", "truncated")
            return super().read(index)

    result = run(subject_on({"train": Torn(24, seed=1), "val": Torn(11, seed=2)}), replace(SETTINGS, epochs=1))
    assert result.notes[:2] == (
        "train= lacks 6 unreadable images, the first is stripes 1 (truncated)",
        "val= lacks 3 unreadable images, the first is stripes 1 (truncated)",
    )
    assert not any("lacks" in note for note in run(stripes(), replace(SETTINGS, epochs=1)).notes)


def test_new_crops_are_computed_once_an_epoch() -> None:
    class Counted(Stripes):
        num_reads = 0

        def read(self, index: int) -> Sample:
            self.num_reads += 1
            return super().read(index)

    train = Counted(24, seed=1)
    run(subject_on({"train": train, "val": Stripes(11, seed=2)}), replace(SETTINGS, epochs=3, augment=True))
    assert train.num_reads == 3 * 24


def test_other_classes_in_val() -> None:
    subject = stripes()
    subject.sources["val"].mask_names = ("ground", "tree")  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=r"train= has 3 .*, val= has 2"):
        run(subject, SETTINGS)


def test_wrong_settings() -> None:
    with pytest.raises(ConfigError, match=r"scale_range=\[2.0, 1.0\]: expected two numbers, the smaller one first"):
        run(stripes(), replace(SETTINGS, scale_range=[2.0, 1.0]))


def test_a_model_without_patches() -> None:
    class Mean(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3))

    with pytest.raises(ConfigError, match="gives no patch embeddings"):
        run(stripes(Mean()), SETTINGS)


def every_protocol(rank: int) -> list[Result]:
    return [
        run(stripes(), replace(SETTINGS, epochs=2)),
        incontext.run(stripes(), IncontextSettings(k=5, memory_mib=0.004, seeds=[0, 1])),
        overcluster.run(stripes(), OverclusterSettings(num_clusters=[4, 5], seeds=[0, 1])),
        position.run(stripes(), PositionSettings(entropy_clusters=5, patches_per_cluster=30)),
    ]


def test_two_ranks_find_what_one_finds() -> None:
    alone = every_protocol(0)
    for together in run_ranks(every_protocol):
        for one, other in zip(alone, together, strict=True):
            assert dict(other.metrics) == pytest.approx(dict(one.metrics), abs=1e-9)
            assert dict(other.numbers) == pytest.approx(dict(one.numbers), abs=1e-9)


def trained_to_segment(backbone: VisionTransformer, *, steps: int) -> VisionTransformer:
    """The backbone after some steps of supervised segmentation of drawn images that no test image is among."""
    source = SyntheticSource(SyntheticConfig(num_images=2000, size_px=48, seed=7), "train")
    samples = [source.read(index) for index in range(len(source))]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None]).long()[:, 1::2, 1::2]
    images = normalise(torch.stack([sample.image for sample in samples]), (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
    head = nn.Linear(backbone.width, 9)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *head.parameters()], lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(steps):
        rows = torch.randint(len(images), (48,))
        patches = backbone.features(images[rows]).patches.unflatten(1, (6, 6))
        logits = nn.functional.interpolate(head(patches).permute(0, 3, 1, 2), size=(24, 24), mode="bilinear")
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits, masks[rows]).backward()
        optimizer.step()
        schedule.step()
    return backbone


def miou_on_drawn_images(backbone: VisionTransformer, settings: SegmentationSettings, *, num_images: int) -> float:
    """Of images of 48 px as they are: at the scale that these backbones were trained at."""
    config = SyntheticConfig(num_images=num_images, num_val_images=num_images // 4, size_px=48)
    sources = {"train": SyntheticSource(config, "train"), "val": SyntheticSource(config, "val")}
    return run(subject_on(sources, backbone, 48), settings).metrics["miou"]


@pytest.mark.slow
def test_a_trained_model_is_far_above_its_random_twin() -> None:
    torch.manual_seed(0)
    twin = VisionTransformer(width=96, depth=4, num_heads=3, patch_size_px=8, image_size_px=48, layer_scale=None)
    twin.preprocessing = Preprocessing(48, (0.3, 0.3, 0.3), (0.2, 0.2, 0.2))
    trained = trained_to_segment(copy.deepcopy(twin), steps=250)
    found, random = (miou_on_drawn_images(model, SegmentationSettings(), num_images=400) for model in (trained, twin))
    assert found > 1.7 * random


@pytest.mark.slow
def test_so_is_one_that_never_saw_a_mask(tmp_path: Path) -> None:
    """The demo recipe at its whole length, three to four minutes; after half of it the margin is half as large."""
    config = load_recipe("demo", [f"run.dir={tmp_path}", "run.health_every_steps=null"])
    assert pretrain(config, command="franca demo", console=Console(quiet=True)) is Outcome.FINISHED
    trained, twin = (
        load(str(tmp_path / "exports" / f"{name}.safetensors")) for name in ("teacher", f"teacher_{step_name(0)}")
    )
    settings = SegmentationSettings(max_steps=2000)
    found, random = (miou_on_drawn_images(model, settings, num_images=1600) for model in (trained, twin))
    assert found > 1.35 * random
