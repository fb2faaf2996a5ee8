"""Reading metrics: whole files, files being written, and what is wrong with others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from franca.errors import DataError
from franca.report.metrics import NEEDED, read_metrics


def write(folder: Path, text: str) -> Path:
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_lines_in_order_without_a_last_half(tmp_path: Path) -> None:
    lines = [json.dumps(dict.fromkeys(NEEDED, step)) for step in (1, 2)]
    run = write(tmp_path, "\n".join([*lines, '{"step": 3, "lo']))
    assert [record["step"] for record in read_metrics(run)] == [1, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no metrics yet"),
        ('{"ste\n{"step": 2}\n', "line 1 is not JSON"),
        ('{"step": 9}\n', "line 1 lacks some of"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_metrics(write(tmp_path, text))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run folder"):
        read_metrics(tmp_path)
