"""What an evaluation found: as a table to read and as JSON to keep."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torchvision
from rich.table import Table

import franca
from franca.data.cache_folder import write_atomically

MODEL_LIBRARIES = ("timm", "transformers")


@dataclass(frozen=True)
class Result:
    """What one protocol found."""

    protocol: str
    metrics: Mapping[str, float]  # fractions in [0, 1]; the headline first
    settings: Mapping[str, Any]  # everything needed to get the same numbers again; JSON types
    notes: tuple[str, ...] = ()  # what a reader of the numbers should know
    numbers: Mapping[str, float] = field(default_factory=dict)  # what is no fraction: ranks, entropies, counts
    by_class: Mapping[str, float] = field(
        default_factory=dict
    )  # IoU of each class: in the JSON, too long for the table


@dataclass(frozen=True)
class Report:
    """What every protocol found about one model."""

    model: str
    results: tuple[Result, ...]

    def result(self, protocol: str) -> Result:
        """The result of one protocol."""
        return next(result for result in self.results if result.protocol == protocol)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON types."""
        results = [
            {
                "protocol": result.protocol,
                "metrics": dict(result.metrics),
                **({"numbers": dict(result.numbers)} if result.numbers else {}),
                **({"by_class": dict(result.by_class)} if result.by_class else {}),
                "settings": dict(result.settings),
                "notes": list(result.notes),
            }
            for result in self.results
        ]
        return {"model": self.model, "results": results}

    def write(self, path: str | Path) -> None:
        """Writes the report as JSON; the file is there whole or not at all."""
        text = json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"
        write_atomically(Path(path), [text.encode()])

    def table(self) -> Table:
        """Metrics in per cent and other numbers as they are, for a terminal."""
        table = Table("protocol", "metric", title=self.model, title_justify="left")
        table.add_column("% or number", justify="right")
        for result in self.results:
            rows = shown(result.metrics, result.numbers)
            for row, (name, text) in enumerate(rows.items()):
                table.add_row("" if row else result.protocol, name, text, end_section=row == len(rows) - 1)
        return table


def shown(metrics: Mapping[str, float], numbers: Mapping[str, float]) -> dict[str, str]:
    """Metrics in per cent and other numbers as they are, by name, as every table of results shows them."""
    texts = {name: f"{100 * value:.2f}" for name, value in metrics.items()}
    return texts | {name: f"{value:.4g}" for name, value in numbers.items()}


def versions() -> dict[str, str]:
    """Of the programs that numbers depend on; libraries of models are among them where one was used."""
    used = {name: str(sys.modules[name].__version__) for name in MODEL_LIBRARIES if name in sys.modules}
    return {"franca": franca.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__, **used}
