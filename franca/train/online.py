"""Judges the teacher while it is trained, as ``franca eval`` would judge its export."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from franca.config.schema import EvaluationConfig, SyntheticConfig
from franca.data.sample import Source
from franca.data.sources import open_source
from franca.data.subset import Subset
from franca.distributed.in_step import BrokenOff, ShouldStop
from franca.distributed.ranks import Ranks
from franca.errors import FrancaError
from franca.evaluation.evaluate import check_sources, evaluate
from franca.evaluation.protocols import read_options
from franca.evaluation.report import Report
from franca.features.settings import FeatureSettings
from franca.train.loop import StepEvent

SHOWN = ("top1", "rankme")


class OnlineEvaluation:
    """Evaluates every so many steps: k-NN where there is a labelled set, and always the health of the features.

    Every rank computes its share, on a whole copy of the teacher that is gone afterwards. What cannot be evaluated is
    told, and training goes on. A run that is asked to stop on the way drops the evaluation at the next batch.

    Args:
        config: How often, on which images.
        data: The images of the training, whose health is looked at where no others are given.
        synthetic: What to draw where ``synthetic`` is asked for.
        teacher: Gives the teacher's backbone, unsharded and ready for use; every rank must ask.
        features: How features are computed; they are not kept.
        ranks: Which one this is.
        record: Keeps a line of numbers.
        say: Told what was found and what it cost.

    Raises:
        DataError: The images cannot be opened, lack labels, or are too few.
        ConfigError: One of ``train`` and ``val`` is given without the other.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        data: Source,
        *,
        synthetic: SyntheticConfig,
        teacher: Callable[[], nn.Module],
        features: FeatureSettings,
        ranks: Ranks,
        record: Callable[[Mapping[str, Any]], None],
        say: Callable[[str], None],
    ) -> None:
        assert config.online is not None
        self.every_steps = config.online
        self.sources = labelled_sources(config, synthetic)
        self.protocols = dict(read_options(["health"], {"prefixes": config.prefixes}).protocols)
        if self.sources:
            self.protocols |= read_options(["knn"], {"prefixes": config.prefixes, "k": config.k}).protocols
        else:
            self.sources = {"val": Subset(data, config.num_images)}
        check_sources(self.protocols, self.sources)
        self.teacher = teacher
        self.features = features
        self.ranks = ranks
        self.record = record
        self.say = say
        self._last = time.perf_counter()

    def __call__(self, event: StepEvent) -> None:
        """Evaluate where it is due, and at the end of the run; a run that is asked to stop breaks it off."""
        finished = event.step == event.num_steps
        if event.stopping or (event.step % self.every_steps and not finished):
            return
        started = time.perf_counter()
        try:
            report = self._evaluate(event.step, event.should_stop)
        except BrokenOff as error:
            self.say(
                f"evaluation of step {event.step}: {error}; franca eval on an exported teacher gives the same numbers"
            )
            return
        except (FrancaError, OSError) as error:
            self.say(f"alarm: evaluation of step {event.step}: {error} Training goes on.")
            return
        seconds = time.perf_counter() - started
        found = numbers_of(report)
        self.record({"step": event.step, "seconds": seconds, **found})
        shown = [f"{name} {value:.4g}" for name, value in found.items() if name.rpartition("/")[2] in SHOWN]
        share = seconds / (time.perf_counter() - self._last)
        self._last = time.perf_counter()
        self.say(f"evaluation of step {event.step}: {', '.join(shown)}; took {seconds:.1f} s, {share:.1%} of the time")

    def _evaluate(self, step: int, should_stop: ShouldStop) -> Report:
        return evaluate(
            self.teacher(),
            self.sources.get("train"),
            self.sources["val"],
            self.protocols,
            name=f"step {step}",
            features=self.features,
            ranks=self.ranks,
            should_stop=should_stop,
        )


def labelled_sources(config: EvaluationConfig, synthetic: SyntheticConfig) -> dict[str, Source]:
    """The labelled images by role; none where none are given."""
    locations = {"train": config.train, "val": config.val}
    return {
        role: open_source(location, split=role, synthetic=synthetic, labels=True)  # type: ignore[arg-type]
        for role, location in locations.items()
        if location is not None
    }


def numbers_of(report: Report) -> dict[str, float]:
    """``protocol/metric`` to its value, fractions and other numbers alike."""
    return {
        f"{result.protocol}/{name}": value
        for result in report.results
        for name, value in {**result.metrics, **result.numbers}.items()
    }
