from __future__ import annotations

from franca.config.build import option_keys
from franca.config.explain import explanations
from franca.config.schema import Config


def test_every_option_is_explained() -> None:
    options = list(explanations())
    assert [option.key for option in options] == option_keys(Config)
    assert [option.key for option in options if not option.meaning] == []


def test_an_explanation_says_what_it_takes_and_means() -> None:
    text = {option.key: str(option) for option in explanations()}["data.flip"]
    assert text == "data.flip\n  takes    a number from 0 to 1\n  default  0.5\n  Probability of a horizontal flip."
