"""Which part of a global batch a rank works on."""

from __future__ import annotations

from dataclasses import dataclass

from franca.config import derived
from franca.config.schema import Config
from franca.distributed.ranks import Ranks
from franca.errors import ConfigError


@dataclass(frozen=True)
class Share:
    """A global batch is world x accumulation x micro_batch images; each rank takes consecutive positions."""

    rank: int
    world: int
    accumulation: int
    micro_batch: int

    def __str__(self) -> str:
        ranks = "" if self.world == 1 else f"{self.world} ranks x "
        return f"{ranks}{self.accumulation} x {self.micro_batch:,}"

    def item(self, index: int) -> int:
        """Which micro-batch of the plan is this rank's ``index``-th."""
        step, part = divmod(index, self.accumulation)
        return (step * self.world + self.rank) * self.accumulation + part


def share_of_batch(config: Config, ranks: Ranks) -> Share:
    """How the global batch is dealt out.

    Raises:
        ConfigError: it cannot be dealt out in equal parts, or a KoLeo group would lie on two ranks.
    """
    whole = config.train.global_batch
    part = config.performance.micro_batch or max(1, whole // ranks.world)
    if whole % (part * ranks.world):
        raise ConfigError(
            f"train.global_batch={whole} is not a multiple of {ranks.world} ranks x {part} images a micro-batch: take "
            f"a performance.micro_batch that divides {whole}/{ranks.world}, or a number of ranks that divides {whole}"
        )
    group = derived.koleo_group_size(config)
    if config.objective.koleo_weight and part % group:
        raise ConfigError(
            f"KoLeo's groups of {group} images do not divide a micro-batch of {part} on each of {ranks.world} ranks: "
            f"set objective.koleo_group_size to a divisor of {part}, or take fewer ranks or larger micro-batches"
        )
    return Share(ranks.rank, ranks.world, whole // (part * ranks.world), part)
