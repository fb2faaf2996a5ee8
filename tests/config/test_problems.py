from __future__ import annotations

import pytest

from franca.config.problems import Problem, closest, did_you_mean, raise_for
from franca.errors import ConfigError


def test_no_problem_raises_nothing() -> None:
    raise_for([], "recipe tiny")


def test_problems_are_listed_in_columns() -> None:
    problems = [Problem(("a",), "is wrong"), Problem(("long.key", "a"), "is too")]
    with pytest.raises(ConfigError) as caught:
        raise_for(problems, "recipe tiny")
    assert str(caught.value) == "2 problems in recipe tiny:\n  a         is wrong\n  long.key  is too"


def test_the_nearest_word_is_found_whatever_the_case() -> None:
    assert closest("KNM", ["linear", "knn", "KNN5"]) is None
    assert closest("LINAER", ["linear", "knn"]) == "linear"
    assert did_you_mean("tini", ["demo", "Tiny"]) == "; did you mean Tiny?"
    assert did_you_mean("qqq", ["demo", "tiny"]) == ""
