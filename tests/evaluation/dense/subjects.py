"""Subjects whose patch features are made up, and a backbone that sees nothing but colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from franca.data.sample import Sample, Source
from franca.evaluation.subject import Subject
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.features.settings import FeatureSettings
from franca.features.table import FeatureTable, Wanted
from franca.models.preprocessing import Preprocessing

CPU = torch.device("cpu")


def table_of(
    patches: Tensor, masks: Tensor | None = None, names: Sequence[str] | None = ("ground", "tree", "sky")
) -> PatchTable:
    return PatchTable.of(patches, masks, class_names=None if masks is None else names)


def subject_of(projector: Tensor | None = None, **tables: PatchTable) -> Subject:
    """A subject whose patches are these, by role."""
    whole = {
        role: FeatureTable(table.patches.flatten(1, 2).mean(1)[:, None], None, None, table.keys, patches=table)
        for role, table in tables.items()
    }
    model = FeatureModel(nn.Identity())
    return Subject(model, {}, Wanted(patches=True), FeatureSettings(), CPU, projector, _tables=whole)


def painted(
    num_images: int, *, seed: int, grid: tuple[int, int] = (4, 6), patch_px: int = 4, num_classes: int = 3
) -> tuple[Tensor, Tensor]:
    """Masks [n, H, W] in one class a patch, with some patches ignored; and that class [n, h, w], 255 = ignore."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(num_classes, (num_images, *grid), generator=generator)
    classes[torch.rand(classes.shape, generator=generator) < 0.1] = 255
    masks = classes.repeat_interleave(patch_px, 1).repeat_interleave(patch_px, 2).to(torch.uint8)
    return masks, classes


def features_of(classes: Tensor, *, seed: int, width: int = 8, noise: float = 0.5) -> Tensor:
    """[n, h, w, D] features around a centre for each class; the same centres for every seed."""
    centres = torch.randn(256, width, generator=torch.Generator().manual_seed(5))
    return centres[classes] + noise * torch.randn(
        *classes.shape, width, generator=torch.Generator().manual_seed(seed + 1)
    )


class Colours(nn.Module):
    """A backbone in the manner of a vision transformer, whose patch features are mean colours."""

    def __init__(self, patch_size_px: int = 4, size_px: int = 16) -> None:
        super().__init__()
        self.patch_size_px = patch_size_px
        self.blocks = nn.ModuleList([nn.Identity()])
        self.preprocessing = Preprocessing(size_px)

    def get_intermediate_layers(
        self, images: Tensor, n: int = 1, return_class_token: bool = False
    ) -> list[tuple[Tensor, Tensor]]:
        patches = avg_pool2d(images, self.patch_size_px).flatten(2).transpose(1, 2)  # [B, N, 3]
        return [(patches, patches.mean(1))]

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


class Stripes:
    """Images of upright stripes, each a patch wide, whose colours are their classes."""

    kind = "stripes"
    location = "stripes"
    class_names = None
    mask_names = ("ground", "tree", "sky")
    colours = torch.tensor([[200, 30, 30], [30, 200, 30], [30, 30, 200], [90, 90, 90]], dtype=torch.uint8)

    def __init__(self, count: int, *, seed: int, height: int = 16, columns: int = 6, patch_px: int = 4) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.classes = torch.randint(3, (count, columns), generator=generator)
        self.classes[:, 0] = 3  # grey and ignored
        self.height, self.patch_px = height, patch_px
        self.group_sizes = (count,)

    def __len__(self) -> int:
        return len(self.classes)

    def read(self, index: int) -> Sample:
        stripes = self.classes[index].repeat_interleave(self.patch_px).expand(self.height, -1)  # [H, W]
        mask = torch.where(stripes == 3, 255, stripes).to(torch.uint8)
        return Sample(f"stripes {index}", self.colours[stripes].permute(2, 0, 1), mask=mask)


def subject_on(sources: Mapping[str, Source], backbone: nn.Module | None = None, size_px: int = 16) -> Subject:
    """A subject that computes its features itself."""
    features = FeatureSettings(
        image_size_px=size_px, workers=0, device="cpu", precision="fp32", cache=False, fit="stretch"
    )
    wanted = Wanted(patches=True, masks=True)
    return Subject(FeatureModel(backbone or Colours()), dict(sources), wanted, features, CPU)
