"""Reading metrics: whole files, files being written, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.errors import DataError
from franca.report.metrics import read_metrics


def write(folder: Path, text: str) -> Path:
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_lines_in_order_without_a_last_half(tmp_path: Path) -> None:
    run = write(tmp_path, '{"step": 1}\n{"step": 2}\n{"step": 3, "lo')
    assert read_metrics(run) == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize(("text", "message"), [("", "no metrics yet"), ('{"ste\n{"step": 2}\n', "line 1 is not JSON")])
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_metrics(write(tmp_path, text))


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no run folder"):
        read_metrics(tmp_path)
