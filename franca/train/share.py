"""Which part of a global batch a rank works on."""

from __future__ import annotations

from collections.abc import Sequence
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
        ConfigError: it cannot be dealt out in equal parts, or a KoLeo group would be torn apart; the message lists what
            can be.
    """
    whole, world = config.train.global_batch, ranks.world
    if whole % world:
        raise ConfigError(
            f"train.global_batch={whole:,} is not a multiple of {world} ranks: start {_listed(divisors(whole))} ranks, "
            "or choose another batch, which is another training"
        )
    share = whole // world
    part = min(config.performance.micro_batch or share, share)
    group = koleo_unit(config)
    if share % group:
        raise ConfigError(
            f"KoLeo compares {group} consecutive images, and a group lies on one rank; the share of each of {world} "
            f"ranks is {share} of {whole:,} images, which is no multiple of {group}. Start "
            f"{_listed(divisors(whole // group))} ranks. A run that is yet to begin can also take another "
            f"objective.koleo_group_size: {_listed(divisors(share)[1:]) or 'there is none'}"
        )
    fitting = fitting_micro_batches(config, world)
    if part not in fitting:
        raise ConfigError(
            f"performance.micro_batch={part} does not cut the share of each of {world} ranks, {share} images, into "
            f"equal parts{f' of whole KoLeo groups, {group} images' if group > 1 else ''}: take {_listed(fitting)}"
        )
    return Share(ranks.rank, world, share // part, part)


def fitting_micro_batches(config: Config, world: int) -> list[int]:
    """Micro-batches that cut a rank's share into equal parts of whole KoLeo groups, smallest first."""
    group = koleo_unit(config)
    return [size for size in divisors(config.train.global_batch // world) if size % group == 0]


def koleo_unit(config: Config) -> int:
    """Consecutive images that stay together in a micro-batch; 1 without KoLeo."""
    return derived.koleo_group_size(config) if config.objective.koleo_weight else 1


def divisors(number: int) -> list[int]:
    """All, from 1 up."""
    return [candidate for candidate in range(1, number + 1) if number % candidate == 0]


def _listed(numbers: Sequence[int]) -> str:
    """``2, 4 or 8``."""
    *most, last = map(str, numbers) if numbers else ("",)
    return f"{', '.join(most)} or {last}" if most else last
