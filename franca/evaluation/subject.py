"""What is judged: a model on one or two sets of images. Hands out features, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from franca.batch import Skipped
from franca.data.sample import Source
from franca.distributed.in_step import ShouldStop
from franca.distributed.together import on_rank_zero
from franca.errors import ConfigError
from franca.features.extract import extract
from franca.features.job import Job
from franca.features.model import FeatureModel
from franca.features.patches import PatchTable
from franca.features.settings import FeatureSettings
from franca.features.table import FeatureTable, Wanted

Progress = Callable[[str, int, int], None]  # (name of the bar, such as train or val; steps done, steps in all)


@dataclass(frozen=True)
class Subject:
    """A model and the images it is judged on."""

    model: FeatureModel
    sources: Mapping[str, Source]  # by role: train, val
    wanted: Wanted  # what the protocols of this call need together
    features: FeatureSettings
    device: torch.device
    projector: Tensor | None = None  # [D, D]: ``patches @ projector`` are disentangled from position
    progress: Progress | None = None
    should_stop: ShouldStop | None = None  # asked between pieces of long work
    _tables: dict[str, FeatureTable] = field(default_factory=dict)

    @classmethod
    def of_patches(
        cls, model: FeatureModel, device: torch.device, projector: Tensor | None = None, **tables: PatchTable
    ) -> Subject:
        """A model whose patch features are at hand, by role: for protocols that read nothing else."""
        known = {
            role: FeatureTable(torch.zeros(len(table), 1, table.width), None, None, table.keys, patches=table)
            for role, table in tables.items()
        }
        return cls(model, {}, Wanted(patches=True), FeatureSettings(), device, projector, _tables=known)

    def source(self, role: str) -> Source:
        """The images of a role.

        Raises:
            ConfigError: None were given.
        """
        if role not in self.sources:
            raise ConfigError(f"{role}=SRC is missing: this protocol needs it")
        return self.sources[role]

    def job(self, role: str) -> Job:
        """How features of a role are computed."""
        return Job(self.model, self.source(role), self.wanted, self.features, self.device)

    def width(self) -> int:
        """D of class embeddings, the same on every rank: what the model answers to one image of noise has it."""
        job = self.job(next(iter(self.sources)))
        job.prepare()
        return on_rank_zero(lambda: job.probe.cls.shape[-1])

    def table(self, role: str) -> FeatureTable:
        """Class embeddings, labels and what else is wanted, of one role."""
        if role not in self._tables:
            self._tables[role] = extract(self.job(role), self.progress_of(role), self.should_stop)
        return self._tables[role]

    def patches(self, role: str) -> PatchTable:
        """Patch embeddings of one role, with masks where its source has them.

        Raises:
            ConfigError: The model has no patches.
        """
        return self.patches_of(self.table(role))

    def patches_of(self, table: FeatureTable) -> PatchTable:
        """Patch embeddings of a table that was to hold them.

        Raises:
            ConfigError: The model has no patches.
        """
        if table.patches is None:
            raise ConfigError(f"{self.model.name} gives no patch embeddings; this protocol judges them")
        return table.patches

    def describe(self) -> dict[str, Any]:
        """What it takes to get the same features again."""
        roles = {role: source.location for role, source in self.sources.items()}
        counts = {f"num_{role}": len(table) for role, table in self._tables.items()}
        first = next(iter(self.sources))
        widths = {table.width for table in self._tables.values()}
        return {**self.job(first).describe(), "width": max(widths, default=None), **counts, **roles}

    def notes(self) -> list[str]:
        """One note for each role that lacks images, with the first of them."""
        return [note for role, table in self._tables.items() for note in lacking(role, table.skipped)]

    def progress_of(self, name: str) -> Callable[[int, int], None] | None:
        """The bar of this name, for work that counts (steps done, steps in all); None where nobody looks."""
        progress = self.progress
        return None if progress is None else lambda done, total: progress(name, done, total)


def lacking(role: str, skipped: Sequence[Skipped]) -> list[str]:
    """A note that images of a role could not be read; none where all could."""
    if not skipped:
        return []
    first = skipped[0]
    return [f"{role}= lacks {len(skipped)} unreadable images, the first is {first.key} ({first.reason})"]
