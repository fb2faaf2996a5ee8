"""A file of lines: what is cut, and what waits for room."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.train import line_file
from franca.train.line_file import LineFile


def steps(file: LineFile) -> list[float | None]:
    return [line["step"] for line in file.read()]


def test_lines_that_wait_for_room_are_cut_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = LineFile(tmp_path / "metrics.jsonl", writes=True)
    file.append({"step": 1})

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(line_file, "open", full, raising=False)
        for step in (2, 3):
            with pytest.raises(OSError, match="No space"):
                file.append({"step": step})
    file.cut(2)
    file.append({"step": 3, "again": 1})
    assert steps(file) == [1, 2, 3] and file.read()[-1]["again"] == 1


def test_who_does_not_write_knows_of_no_lines(tmp_path: Path) -> None:
    LineFile(tmp_path / "metrics.jsonl", writes=True).append({"step": 1})
    other = LineFile(tmp_path / "metrics.jsonl", writes=False)
    other.append({"step": 2})
    other.cut(0)
    assert steps(other) == [] and "1" in (tmp_path / "metrics.jsonl").read_text()
