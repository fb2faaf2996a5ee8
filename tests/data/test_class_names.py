"""Names beside numbered labels."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.class_names import names_of_numbers, read_class_names, write_class_names
from franca.errors import DataError


def test_names_come_back(tmp_path: Path) -> None:
    names = ("10", "cat", "Käse auf Brot", " spaced", "not\udcffutf")
    write_class_names(tmp_path, names)
    assert read_class_names(tmp_path) == names
    assert read_class_names(tmp_path / "none") is None


@pytest.mark.parametrize("name", ["two\nlines", "", "line\u2028separator"])
def test_a_name_that_is_no_line_cannot_be_kept(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="not one line"):
        write_class_names(tmp_path, ["a", name])


def test_numbers_of_shards_are_named(tmp_path: Path) -> None:
    shards = [str(tmp_path / "0.tar"), str(tmp_path / "1.tar")]
    assert names_of_numbers(["0"], shards) is None
    write_class_names(tmp_path, ["cat", "dog"])
    assert names_of_numbers(["1", "0"], shards) == ("cat", "dog")
    assert names_of_numbers(["0", "mouse"], shards) is None  # names already
    assert names_of_numbers(["0"], [*shards, "elsewhere/2.tar"]) is None
    assert names_of_numbers(["0"], ["https://host/0.tar"]) is None
    with pytest.raises(DataError, match=r"classes 0 to 1, but a shard beside it has class 2"):
        names_of_numbers(["0", "2"], shards)
