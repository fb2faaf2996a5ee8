from __future__ import annotations

from typing import Any, Optional, Union

import pytest

from franca.config.values import InvalidValueError, convert, expected


@pytest.mark.parametrize(
    ("value", "kind", "result"),
    [
        (True, bool, True),
        (3, int, 3),
        (1e3, int, 1000),
        (0.5, float, 0.5),
        (2, float, 2.0),
        ("1/4", float, 0.25),
        ("1 / 0.5", float, 2.0),
        ("photos", str, "photos"),
        (None, int | None, None),
        ("none", int | None, None),
        ("null", Optional[str], None),  # noqa: UP045 - the older spelling is read too
        (3, Union[int, None], 3),  # noqa: UP007
        ("a.tar", str | list[str], "a.tar"),
        (["a.tar", "b.tar"], str | list[str] | None, ["a.tar", "b.tar"]),
        ([1, "1/2"], list[float], [1.0, 0.5]),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([], list[int], []),
    ],
)
def test_reads(value: Any, kind: Any, result: Any) -> None:
    read = convert(value, kind, "key", {})
    assert read == result
    assert type(read) is type(result)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, bool),
        ("true", bool),
        (True, int),
        (2.5, int),
        ("3", int),
        (True, float),
        ("fast", float),
        ("1/0", float),
        ("1..2/3", float),
        (float("nan"), float),
        (float("inf"), int),
        (3, str),
        (None, str),
        (None, int),
        ("1,2", list[int]),
        ({"a": 1}, str | list[str]),
    ],
)
def test_refuses(value: Any, kind: Any) -> None:
    with pytest.raises(InvalidValueError, match="expected"):
        convert(value, kind, "key", {})


def test_ranges_include_their_ends() -> None:
    limits = {"low": 0, "high": 1}
    assert [convert(value, float, "key", limits) for value in (0, 1)] == [0.0, 1.0]
    for value in (-0.01, 1.01):
        with pytest.raises(InvalidValueError, match="expected a number from 0 to 1; found"):
            convert(value, float, "key", limits)


def test_every_wrong_item_of_a_list_is_named() -> None:
    with pytest.raises(InvalidValueError) as caught:
        convert([1, "a", 0.5, -1], list[float], "data.mean", {"low": 0})
    assert [problem.keys[0] for problem in caught.value.problems] == ["data.mean[1]", "data.mean[3]"]


def test_choices_are_listed_with_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match=r"expected one of mlp, swiglu; found 'swiglo'; did you mean swiglu\?"):
        convert("swiglo", str, "model.ffn", {"choices": ("mlp", "swiglu")})


def test_an_option_may_take_a_word_or_a_number() -> None:
    limits = {"choices": ("none", "block"), "low": 1}
    assert [convert(value, str | int, "key", limits) for value in ("none", "block", 3)] == ["none", "block", 3]
    for wrong in ("blocks", 0, True, 1.5, "3"):
        with pytest.raises(InvalidValueError, match="expected one of none, block or a whole number >= 1; found"):
            convert(wrong, str | int, "key", limits)


def test_aliases_are_read_in_any_case() -> None:
    limits = {"choices": ("vit_small",), "aliases": {"s": "vit_small"}}
    assert convert("S", str, "model.arch", limits) == "vit_small"


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(InvalidValueError) as caught:
        convert("x" * 500, int, "key", {})
    assert len(str(caught.value)) < 120


def test_an_unknown_type_is_our_own_error() -> None:
    with pytest.raises(TypeError, match="options cannot have the type"):
        convert({}, dict, "key", {})


@pytest.mark.parametrize(
    ("kind", "limits", "words"),
    [
        (int, {"low": 1}, "a whole number >= 1"),
        (float, {"high": 2}, "a number <= 2"),
        (float | None, {"low": 0}, "a number >= 0 or null"),
        (list[float], {"low": 0, "high": 1}, "a list of numbers, each from 0 to 1"),
        (str | list[str] | None, {}, "text or a list of texts or null"),
    ],
)
def test_expected_is_plain_words(kind: Any, limits: dict[str, float], words: str) -> None:
    assert expected(kind, limits) == words
