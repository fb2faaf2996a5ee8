"""Several models judged by the same protocols on the same drawn images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from franca.config.schema import SyntheticConfig
from franca.data.synthetic import SyntheticSource
from franca.evaluation.evaluate import evaluate
from franca.evaluation.protocols import read_options
from franca.evaluation.report import Report
from franca.models.weights import load_backbone
from franca.report.page import Section, table


@dataclass(frozen=True)
class Comparison:
    """Reports by the name of their model."""

    reports: Mapping[str, Report]

    def rows(self) -> dict[str, list[str]]:
        """Metric to its value for every model, in per cent."""
        first = next(iter(self.reports.values()))
        return {
            f"{result.protocol} {metric}": [
                f"{report.result(result.protocol).metrics[metric]:.1%}" for report in self.reports.values()
            ]
            for result in first.results
            for metric in result.metrics
        }

    def table(self) -> Table:
        """For a terminal."""
        shown = Table("", *self.reports)
        for name, cells in self.rows().items():
            shown.add_row(name, *cells)
        return shown


def compare(models: Mapping[str, Path], protocols: Sequence[str], synthetic: SyntheticConfig) -> Comparison:
    """Judge exported backbones on drawn images: fitted on the training split, scored on the validation split.

    Args:
        models: name to exported file.
        protocols: their names; each with the settings of its YAML in ``eval/``.
        synthetic: which images.
    """
    train, val = SyntheticSource(synthetic, "train"), SyntheticSource(synthetic, "val")
    options = read_options(protocols)
    return Comparison(
        {name: evaluate(load_backbone(path), train, val, options.protocols, name=name) for name, path in models.items()}
    )


def scores_section(comparison: Comparison) -> Section:
    """The scores as a part of a report."""
    return Section("Scores on drawn images", table(comparison.rows(), header=["", *comparison.reports]))
