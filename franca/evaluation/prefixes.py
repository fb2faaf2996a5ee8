"""Matryoshka prefixes beside PCA: which widths are judged, how their metrics are called, and the table of both."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from rich.table import Table
from torch import Tensor

from franca.evaluation.metrics import prefix_widths
from franca.evaluation.pca import Pca
from franca.evaluation.report import Result

METRIC = re.compile(r"(?P<name>.+)_d(?P<width>\d+)(?P<pca>_pca)?")


@dataclass(frozen=True)
class View:
    """Some columns of an embedding: its first ones, or its first principal components."""

    width: int
    pca: Pca | None = None

    def __call__(self, embeddings: Tensor) -> Tensor:
        """[B, width] of embeddings [B, D], float32."""
        return embeddings[:, : self.width] if self.pca is None else self.pca(embeddings, self.width)

    def metric(self, name: str) -> str:
        """``top1_d24``, or ``top1_d24_pca``."""
        return f"{name}_d{self.width}" + ("" if self.pca is None else "_pca")


def views(train: Tensor, device: torch.device | str = "cpu") -> list[View]:
    """Every prefix d, d/2, ... d/64, and the PCA of the whole to each of these widths.

    PCA is fitted to ``train`` alone. It takes the mean away and turns what is left, so that at full width it shows what
    this alone does; below, what the choice of directions does.

    Args:
        train: [n, D], embeddings of the training images.
    """
    widths = prefix_widths(train.shape[1])
    pca = Pca.of(train, device)
    return [View(width) for width in widths] + [View(width, pca) for width in widths]


@dataclass(frozen=True)
class PrefixRow:
    """One metric at one width."""

    metric: str  # top1, top1_1shot
    width: int
    nested: float
    pca: float | None


def prefix_rows(values: Mapping[str, float]) -> list[PrefixRow]:
    """What a result says of each width, in the order in which it says it."""
    found = [match for match in map(METRIC.fullmatch, values) if match and not match["pca"]]
    return [
        PrefixRow(match["name"], int(match["width"]), values[match[0]], values.get(f"{match[0]}_pca"))
        for match in found
    ]


def prefix_table(results: Sequence[Result]) -> Table | None:
    """Prefix, nested, PCA, in per cent; None where no protocol was asked for prefixes."""
    table = Table("protocol", "metric", title="Matryoshka prefixes", title_justify="left")
    for column in ("prefix", "nested %", "PCA %"):
        table.add_column(column, justify="right")
    for result in results:
        rows = prefix_rows(result.metrics)
        for index, row in enumerate(rows):
            first = index == 0 or row.metric != rows[index - 1].metric
            table.add_row(
                result.protocol if index == 0 else "",
                row.metric if first else "",
                str(row.width),
                f"{100 * row.nested:.2f}",
                "-" if row.pca is None else f"{100 * row.pca:.2f}",
                end_section=index == len(rows) - 1,
            )
    return table if table.row_count else None
