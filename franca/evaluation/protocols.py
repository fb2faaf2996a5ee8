"""The protocols by name, and how their options are read.

A new protocol is one file here, one YAML of the same name in ``eval/``, and a line in `PROTOCOLS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

import torch
import yaml

from franca import assets
from franca.config.build import build, text_keys
from franca.config.problems import Problem, did_you_mean
from franca.config.schema import SyntheticConfig
from franca.errors import ConfigError
from franca.evaluation import fewshot, health, knn, linear, logreg
from franca.evaluation.dense import incontext, overcluster, position, segmentation
from franca.evaluation.known import Known
from franca.evaluation.report import Result
from franca.evaluation.subject import Subject
from franca.features.settings import FeatureSettings, ImageSettings, ModelSettings
from franca.features.table import FeatureTable, Wanted

LABELS, MASKS, NOTHING = "labels", "masks", "nothing"


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol module offers."""

    settings: type[Any]
    """A frozen dataclass of its options."""
    wanted: Callable[[Any], Wanted]
    """The features it reads, of its settings."""
    judge: Callable[[Subject, Any], Result]
    """Finds its numbers for a subject, by its settings."""
    needs: str = LABELS
    """What the images must come with: `LABELS`, `MASKS` or `NOTHING`."""
    roles: tuple[str, ...] = ("train", "val")
    """The sets of images it must have; where none is named it takes what is given."""
    check: Callable[[Any, Known], None] = lambda settings, known: None
    """Raises where the settings do not fit what is known before features are computed."""


def on_tables(run: Callable[[FeatureTable, FeatureTable, Any, torch.device], Result]) -> Callable[..., Result]:
    """A protocol that needs no more than the tables of train and val."""

    def judge(subject: Subject, settings: Any) -> Result:
        return run(subject.table("train"), subject.table("val"), settings, subject.device)

    return judge


PROTOCOLS = {
    "knn": Protocol(settings=knn.KnnSettings, wanted=knn.wanted, judge=knn.judge_subject, check=knn.check_before),
    "linear": Protocol(
        settings=linear.LinearSettings, wanted=linear.wanted, judge=linear.judge_subject, check=linear.check_before
    ),
    "logreg": Protocol(
        settings=logreg.LogregSettings, wanted=logreg.wanted, judge=on_tables(logreg.run), check=logreg.check_before
    ),
    "fewshot": Protocol(
        settings=fewshot.FewshotSettings,
        wanted=fewshot.wanted,
        judge=on_tables(fewshot.run),
        check=fewshot.check_before,
    ),
    "health": Protocol(
        settings=health.HealthSettings, wanted=health.wanted, judge=health.judge, needs=NOTHING, roles=()
    ),
    "segmentation": Protocol(
        settings=segmentation.SegmentationSettings,
        wanted=segmentation.wanted,
        judge=segmentation.run,
        needs=MASKS,
        check=segmentation.check_before,
    ),
    "incontext": Protocol(
        settings=incontext.IncontextSettings,
        wanted=incontext.wanted,
        judge=incontext.run,
        needs=MASKS,
        check=incontext.check_before,
    ),
    "overcluster": Protocol(
        settings=overcluster.OverclusterSettings,
        wanted=overcluster.wanted,
        judge=overcluster.run,
        needs=MASKS,
        roles=("val",),
        check=overcluster.check_before,
    ),
    "position": Protocol(settings=position.PositionSettings, wanted=position.wanted, judge=position.run, needs=NOTHING),
}


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """Options of an evaluation that belong to no protocol."""

    model: ModelSettings = field(default_factory=ModelSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


@dataclass(frozen=True)
class Options:
    """Everything that an evaluation can be told."""

    common: CommonOptions
    protocols: Mapping[str, Any]  # settings of each chosen protocol, by its name


def read_options(names: Sequence[str], overrides: Mapping[str, Any] | None = None) -> Options:
    """Options of the protocols ``names``: their YAML in ``eval/``, changed by ``overrides``.

    Args:
        names: Of protocols.
        overrides: Key to value. ``linear.epochs`` sets one option; a plain ``prefixes`` sets it in every chosen
            protocol that has it. Drawn images are set as ``synthetic.num_images``.

    Raises:
        ConfigError: An unknown protocol, or wrong options; the message lists all problems.
    """
    check_names(names)
    groups = [(name, PROTOCOLS[name].settings, field(default_factory=PROTOCOLS[name].settings)) for name in names]
    schema = make_dataclass("EvaluationOptions", groups, bases=(CommonOptions,), frozen=True, kw_only=True)
    data: dict[str, dict[str, Any]] = {name: _read_yaml(name) for name in names}
    homes = _homes(schema)
    unknown = []
    plain_first = sorted((overrides or {}).items(), key=lambda item: "." in item[0])  # what names a protocol wins
    for key, value in plain_first:
        group, dot, option = key.partition(".")
        owners = [group] if dot else homes.get(key, [])
        if not owners:
            unknown.append(Problem((key,), f"unknown key{did_you_mean(key, homes)}"))
        for owner in owners:
            data.setdefault(owner, {})[option if dot else key] = value
    built: Any = build(data, schema, check=lambda _: unknown, where="the options of this evaluation")
    return Options(built, {name: getattr(built, name) for name in names})


def check_names(names: Sequence[str]) -> None:
    """Raises a ConfigError where there are no names, one is unknown, or one is given twice."""
    for name in names:
        if name not in PROTOCOLS:
            hint = did_you_mean(name, PROTOCOLS)
            raise ConfigError(f"there is no protocol {name!r}{hint}\nProtocols: {', '.join(PROTOCOLS)}.")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"protocols: found {','.join(names)!r}, expected some of {', '.join(PROTOCOLS)}, each once")


def text_options() -> set[str]:
    """Options of any evaluation that hold a path or a name, with the group they belong to and without it."""
    common = {group.name: group.default_factory for group in fields(CommonOptions)}
    groups = common | {name: protocol.settings for name, protocol in PROTOCOLS.items()}
    whole = {f"{group}.{key}" for group, settings in groups.items() for key in text_keys(settings)}  # type: ignore[arg-type]
    return whole | {key.partition(".")[2] for key in whole}


def _homes(schema: type[Any]) -> dict[str, list[str]]:
    """Plain option name to the groups that have it; the drawn images are only set by their dotted keys."""
    groups = {group.name: group.default_factory for group in fields(schema) if group.name != "synthetic"}
    homes: dict[str, list[str]] = {}
    for name, settings in groups.items():
        for option in fields(settings):  # type: ignore[arg-type]
            homes.setdefault(option.name, []).append(name)
    return homes


def _read_yaml(name: str) -> dict[str, Any]:
    file = assets.path("eval", f"{name}.yaml")
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{file} must hold options, one `key: value` a line")
    return settings
