"""What can be said to ``franca rasa fit``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from franca.cli.options import options_of
from franca.cli.output import check_writable
from franca.config.schema import SyntheticConfig
from franca.errors import ConfigError
from franca.features.settings import FeatureSettings, ImageSettings
from franca.rasa.settings import BEST, RasaSettings

PLAIN_GROUPS = {"rasa": RasaSettings, "features": FeatureSettings, "images": ImageSettings}
"""Groups whose options may be given without the name of the group."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Options of ``franca rasa fit``."""

    data: str | list[str] | None = None
    """Images, without labels: what ``data.train`` takes."""
    out: str | None = None
    """The file to write."""
    score: str | None = None
    """Images with masks (``DIR:split``, or synthetic) whose in-context mean IoU is told after every round."""
    pretrained: bool = True
    """False takes random weights, for a model that is named."""
    weights: str | None = None
    """A name of released weights, a file or a URL, for a model that is named; None takes its default."""
    rasa: RasaSettings = field(default_factory=RasaSettings)
    """How the directions to remove are found."""
    features: FeatureSettings = field(default_factory=FeatureSettings)
    """How images become features."""
    images: ImageSettings = field(default_factory=ImageSettings)
    """Which masks ``score`` takes."""
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)
    """The drawn images."""


def read_options(words: Sequence[str]) -> FitOptions:
    """The options in ``key=value`` words; ``solver=lbfgs`` is short for ``rasa.solver=lbfgs``.

    Raises:
        ConfigError: an option is unknown or wrong, or ``data`` or ``out`` is missing; the message lists all problems.
    """
    options = options_of(list(map(_in_full, words)), FitOptions, "the options of franca rasa fit")
    missing = [word for word, value in (("data=SRC", options.data), ("out=FILE", options.out)) if not value]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} missing: franca rasa fit MODEL data=SRC out=FILE [key=value …]")
    if options.rasa.stop == BEST and options.score is None:
        raise ConfigError("stop=best needs score=SRC: images with masks, as DIR:split or synthetic")
    return options


def _in_full(word: str) -> str:
    """``solver=lbfgs`` with the group of its option; any other word as it is."""
    name, equals, value = word.partition("=")
    group = next((group for group, schema in PLAIN_GROUPS.items() if name in _names(schema)), None)
    return word if group is None else f"{group}.{name}{equals}{value}"


def _names(schema: type[Any]) -> set[str]:
    return {option.name for option in fields(schema)}


def output_path(out: str) -> Path:
    """The file to write, looked at before the work starts.

    Raises:
        ConfigError: it cannot be written.
    """
    path = Path(os.path.expanduser(out))
    check_writable(path, "out")
    return path
