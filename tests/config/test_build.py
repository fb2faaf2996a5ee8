from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import pytest
from omegaconf import OmegaConf

from franca.config.build import build, option_keys, unknown_key
from franca.config.problems import Problem
from franca.config.schema import Config, option
from franca.errors import ConfigError


@dataclass(frozen=True)
class Inner:
    size: int = option(4, low=1)


@dataclass(frozen=True)
class Protocol:
    rates: tuple[float, ...]
    inner: Inner = field(default_factory=Inner)
    mode: str = option("fast", choices=("fast", "exact"))


def message(data: dict[str, Any], schema: type[Any] = Config) -> str:
    with pytest.raises(ConfigError) as caught:
        build(data, schema)
    return str(caught.value)


def test_defaults_stay_and_given_values_are_read() -> None:
    config = build({"data": {"train": "synthetic"}, "train": {"steps": 700_000.0}})
    assert config == build({"data": {"train": "synthetic"}, "train": {"steps": 700_000}})
    assert config.train.steps == 700_000
    assert isinstance(config.train.steps, int)
    assert config.optim.learning_rate == 1e-3


def test_a_built_config_builds_itself_again() -> None:
    config = build({"data": {"train": ["a.tar", "b.tar"]}, "model": {"arch": "S"}})
    assert config.model.arch == "vit_small"
    assert build(asdict(config)) == config


def test_omegaconf_and_interpolations_are_read() -> None:
    tree = OmegaConf.create({"data": {"train": "synthetic"}, "train": {"steps": 800_000, "seed": "${train.steps}"}})
    assert build(tree).train.seed == 800_000


def test_any_dataclass_can_be_the_schema() -> None:
    built = build({"rates": [1, "1/2"], "inner": {"size": 2}}, Protocol)
    assert built == Protocol(rates=(1.0, 0.5), inner=Inner(size=2))
    text = message({"mode": "exakt", "inner": {"size": 0}}, Protocol)
    assert "rates" in text
    assert "required, but not given" in text
    assert "did you mean exact?" in text
    assert "inner.size  expected a whole number >= 1; found 0" in text


def test_every_problem_is_reported_at_once() -> None:
    text = message(
        {
            "data": {"train": "synthetic", "flip": 2, "mean": [1, "a", 2]},
            "model": {"ffn": "swigul", "patch_size_px": 16},
            "optim": {"learning_rat": 1e-3, "warmup_steps": 700_000},
            "train": {"steps": "many"},
            "extra": 1,
        }
    )
    title, *lines = text.splitlines()
    assert title == f"{len(lines)} problems in the config:"
    assert {line.split()[0]: " ".join(line.split()[1:4]) for line in lines} == {
        "data.flip": "expected a number",
        "data.mean[1]": "expected a number;",
        "data.local_size_px": "98 is not",
        "model.ffn": "expected one of",
        "optim.learning_rat": "unknown key; did",
        "train.steps": "expected a whole",
        "extra": "unknown key; expected",
    }  # train.steps is broken, so warmup_steps = 700000 is not held against its default


def test_one_problem_is_singular_and_names_the_place() -> None:
    with pytest.raises(ConfigError, match=r"^1 problem in recipe mine:\n  train\.steps  expected"):
        build({"data": {"train": "x"}, "train": {"steps": 0}}, where="recipe mine")


def test_a_broken_option_is_not_blamed_twice() -> None:
    assert "multiple" not in message({"data": {"train": "x", "global_size_px": "big"}})
    assert "required" not in message({"data": 5})
    assert "divide" not in message({"data": {"train": "x"}, "model": {"num_heads": "all"}})


def test_a_value_in_place_of_a_group() -> None:
    text = message({"data": "photos"})
    assert "data  this is a group: set one of its options, such as data.train; found 'photos'" in text


def test_cross_checks_of_other_schemas_run() -> None:
    def check(protocol: Protocol) -> list[Problem]:
        return [Problem(("rates",), "too few")] if len(protocol.rates) < 2 else []

    with pytest.raises(ConfigError, match="rates  too few"):
        build({"rates": [1]}, Protocol, check=check)
    assert build({"rates": [1, 2]}, Protocol, check=check).rates == (1.0, 2.0)


def test_a_bad_interpolation_names_its_key() -> None:
    assert "train.seed" in message({"train": {"seed": "${no.such}"}})


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train.stepz", "did you mean train.steps?"),
        ("trian.steps", "did you mean train.steps?"),
        ("learning_rate", "did you mean optim.learning_rate?"),
        ("seed", "did you mean data.synthetic.seed or train.seed?"),
        ("data.globl_size_px", "did you mean data.global_size_px?"),
        ("train.xyz", "expected one of train.steps, train.global_batch, train.seed, train.max_steps_not_finite"),
        ("qqq", "expected one of the groups data, model, objective, optim, train, init, run, evaluation, performance"),
    ],
)
def test_unknown_keys_are_met_with_a_hint(key: str, hint: str) -> None:
    assert unknown_key(key, option_keys(Config)) == f"unknown key; {hint}"


def test_option_keys_are_complete() -> None:
    keys = option_keys(Config)
    assert {"data.train", "data.synthetic.size_px", "performance.attention"} <= set(keys)
    assert len(keys) == len(set(keys))
