"""Files that no sample uses, by kind."""

from __future__ import annotations

import pytest

from franca.data.passed_over import in_words, kind_of, total


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.npy", ".npy"),
        ("folder.d/a.b.NPY", ".npy"),
        ("folder.d/README", "no ending"),
        ("a.", "."),
        (".hidden", "hidden"),
        ("folder/.hidden.png", "hidden"),
        ("..png", "hidden"),
    ],
)
def test_kinds(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_a_sum_has_the_most_frequent_first() -> None:
    assert total([]) == {}
    assert list(total([{".a": 1, ".b": 2}, {}, {".c": 1, ".a": 2}]).items()) == [(".a", 3), (".b", 2), (".c", 1)]


def test_many_kinds_are_put_together_and_none_is_lost() -> None:
    counts = {f".{number:03d}": 1 + (number < 10) for number in range(500)}
    whole = total([counts])
    assert len(whole) == 33 and sum(whole.values()) == 510 and whole["others"] == 510 - 20 - 22
    assert sum(total([whole, whole]).values()) == 1020


def test_in_words() -> None:
    assert in_words({".npy": 1000, "no ending": 2}) == "1,002 (.npy 1,000, no ending 2)"
    assert in_words({f".{letter}": 1 for letter in "abcdef"}) == "6 (.a 1, .b 1, .c 1, .d 1, .e 1, …)"
