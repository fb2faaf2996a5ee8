"""What linear probes read of an image, as columns of one matrix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from franca.evaluation.labels import Labels
from franca.evaluation.pca import Pca
from franca.features.table import FeatureTable

ROWS = 4096  # taken at a time
DEVICE_SHARE = 0.5  # of the free memory of a device, that features may take


@dataclass(frozen=True)
class Standardiser:
    """Takes every column to mean 0 and standard deviation 1, as measured on the training images."""

    mean: Tensor  # [F]
    scale: Tensor  # [F]

    @classmethod
    def of(cls, blocks: Iterable[Tensor]) -> Standardiser:
        """Measured on the rows of all ``blocks`` [B, F]; a constant column becomes 0."""
        num_rows, total, squares = 0, torch.zeros(()).double(), torch.zeros(()).double()
        device = torch.device("cpu")
        for block in blocks:
            exact = block.cpu().double()
            num_rows, total, squares = num_rows + len(exact), total + exact.sum(0), squares + exact.square().sum(0)
            device = block.device
        mean = total / num_rows
        std = (squares / num_rows - mean.square()).clamp(min=0).sqrt()
        scale = torch.where(std <= 1e-6 * mean.abs(), 0.0, 1 / std)
        return cls(mean.float().to(device), scale.float().to(device))

    def __call__(self, features: Tensor) -> Tensor:
        return (features - self.mean) * self.scale


def side_by_side(cls: Tensor, patch_mean: Tensor | None, pca: Pca | None = None) -> Tensor:
    """[B, F]: class embeddings of the last blocks, last one last; the mean patch; principal components of the last one.

    In this order every choice of features is a range of columns.

    Args:
        cls: [B, L, D].
        patch_mean: [B, D], or None.
        pca: Of the last class embedding, [B, D] more columns.
    """
    parts = [cls.flatten(1)]
    parts += [] if patch_mean is None else [patch_mean]
    parts += [] if pca is None else [pca(cls[:, -1])]
    return torch.cat(parts, dim=1)


@dataclass(frozen=True)
class Columns:
    """Makes standardised columns of features; as a whole they exist for a block of images at a time only."""

    device: torch.device
    pca: Pca | None
    standardise: Standardiser

    @classmethod
    def of(cls, train: FeatureTable, device: torch.device, *, pca: bool = False) -> Columns:
        """Measured on the training images.

        Args:
            pca: Also the principal components of the last class embedding.
        """
        turn = Pca.of(train.embedding, device) if pca else None
        return cls(device, turn, Standardiser.of(_raw(train, rows, turn, device) for rows in _rows(train)))

    def __call__(self, cls: Tensor, patch_mean: Tensor | None) -> Tensor:
        """[B, F] of features of B images, on the device."""
        return self.standardise(side_by_side(cls, patch_mean, self.pca))

    def rows(self, table: FeatureTable, rows: Tensor) -> Tensor:
        """[B, F] of some rows of a table, on the device."""
        return self.standardise(_raw(table, rows, self.pca, self.device))

    def blocks(self, table: FeatureTable, rows: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """(rows [B], columns [B, F]) for some rows of a table, in order."""
        for some in rows.split(ROWS):
            yield some, self.rows(table, some)


@dataclass(frozen=True)
class Images:
    """Features of train and val on the device or within its reach, and their classes there."""

    columns: Columns
    train: FeatureTable
    val: FeatureTable
    train_labels: Tensor  # [n]
    val_labels: Tensor  # [m]
    num_classes: int

    @classmethod
    def of(cls, train: FeatureTable, val: FeatureTable, labels: Labels, device: torch.device, *, pca: bool) -> Images:
        """Measures the columns of ``train``."""
        train, val = resident(train, device), resident(val, device)
        columns = Columns.of(train, device, pca=pca)
        return cls(columns, train, val, labels.train.to(device), labels.val.to(device), labels.num_classes)

    def some_of_train(self, rows: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Columns and classes of batches of training images."""
        return ((self.columns.rows(self.train, some), self.train_labels[some]) for some in rows)

    def all_of_val(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Columns and classes of the validation images."""
        blocks = self.columns.blocks(self.val, torch.arange(len(self.val)))
        return ((features, self.val_labels[rows]) for rows, features in blocks)


def resident(table: FeatureTable, device: torch.device) -> FeatureTable:
    """The table on a CUDA device where it takes no more than half of what is free; else as it is."""
    if device.type != "cuda":
        return table
    free, _ = torch.cuda.mem_get_info(device)
    parts = [part for part in (table.cls, table.patch_mean) if part is not None]
    if sum(part.numel() * part.element_size() for part in parts) > DEVICE_SHARE * free:
        return table
    mean = None if table.patch_mean is None else table.patch_mean.to(device)
    return replace(table, cls=table.cls.to(device), patch_mean=mean)


def _rows(table: FeatureTable) -> tuple[Tensor, ...]:
    rows: tuple[Tensor, ...] = torch.arange(len(table)).split(ROWS)
    return rows


def _raw(table: FeatureTable, rows: Tensor, pca: Pca | None, device: torch.device) -> Tensor:
    rows = rows.to(table.cls.device)
    mean = None if table.patch_mean is None else table.patch_mean[rows].to(device).float()
    return side_by_side(table.cls[rows].to(device).float(), mean, pca)
