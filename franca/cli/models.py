"""``franca models``: lists the backbones that have a name, and the weights released for them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from franca.models.registry import RELEASES
from franca.models.releases import Weights, remark, weights_of

COLUMNS = ("model", "weights", "patch", "grid", "image", "licence", "SHA-256", "file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca models``."""
    parser.add_argument("--markdown", action="store_true", help="print the table of the documentation")


def run(args: argparse.Namespace) -> int:
    """Prints the table; the exit code is 0."""
    rows = list(table())
    print(markdown(rows) if args.markdown else aligned(rows))
    return 0


def table() -> Iterator[tuple[str, ...]]:
    """A row of `COLUMNS` for each set of weights, and for each name without any."""
    for model, architecture in RELEASES.items():
        found = weights_of(model)
        yield from (_row(weights) for weights in found)
        if not found:
            yield (model, "none", f"{architecture['patch_size_px']} px", "", "", "", "", "train it: franca pretrain")


def _row(weights: Weights) -> tuple[str, ...]:
    where = weights.why_not_public
    if weights.public:
        where = weights.urls[0] + (f" and {len(weights.urls) - 1} more pieces" if len(weights.urls) > 1 else "")
    return (
        weights.model,
        weights.name + remark(weights),
        f"{weights.patch_size_px} px",
        "{} x {}".format(*weights.grid),
        "{} x {} px".format(*weights.image_size_px),
        weights.licence,
        (weights.sha256 or "")[:8],
        where,
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """The table for a terminal."""
    lines = [COLUMNS, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The table for a page of the documentation."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
