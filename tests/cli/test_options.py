from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from franca.cli.options import options_of
from franca.config.schema import SyntheticConfig, option
from franca.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Options:
    seed: int = option(0, low=0)
    weights: str | None = None
    synthetic: SyntheticConfig = field(default_factory=SyntheticConfig)


def read(*words: str) -> Options:
    return options_of(words, Options, "the options of a test")


def test_words_become_options_and_dots_reach_into_groups() -> None:
    found = read("seed=3", "synthetic.num_images=7", "synthetic.size_px=24")
    assert (found.seed, found.synthetic.num_images, found.synthetic.size_px) == (3, 7, 24)
    assert read() == Options()


def test_names_and_paths_are_taken_as_they_stand() -> None:
    assert [read(f"weights={text}").weights for text in ("2024", "1e5", "a #b", "null")] == [
        "2024",
        "1e5",
        "a #b",
        None,
    ]


def test_later_words_win() -> None:
    assert read("seed=1", "seed=2").seed == 2
    assert read("synthetic=3", "synthetic.num_images=7").synthetic.num_images == 7


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sed=1"], "did you mean seed"),
        (["seed=-1", "weight=x"], r"(?s)weight.*seed"),
        (["seed"], "expected key=value"),
        (["synthetic=3"], "this is a group"),
        (["synthetic.num_images=7", "synthetic=3"], "this is a group"),
        (["seed.x=1"], "seed"),
    ],
)
def test_what_is_wrong_is_one_message(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(*words)
