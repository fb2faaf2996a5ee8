"""Strings in one buffer."""

from __future__ import annotations

import os
import pickle

from franca.data.packed import PackedStrings


def test_strings_come_back() -> None:
    strings = ["first", "", "größe/日本 1.png", os.fsdecode(b"not-utf8-\xff.jpg"), "last"]
    packed = pickle.loads(pickle.dumps(PackedStrings(iter(strings))))
    assert len(packed) == 5
    assert [packed[index] for index in range(5)] == strings


def test_no_strings() -> None:
    assert len(PackedStrings([])) == 0
