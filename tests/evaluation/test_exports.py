from __future__ import annotations

import json
from pathlib import Path

import pytest

from franca.errors import DataError
from franca.evaluation.exports import choose_exports, collect, results_folder
from franca.evaluation.report import Report, Result


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "exports").mkdir()
    for name in ("teacher", "teacher_step_00000100", "teacher_step_00000020"):
        (tmp_path / f"exports/{name}.safetensors").touch()
    return tmp_path


def test_exports_come_in_the_order_of_their_steps(run: Path) -> None:
    names = [path.stem for path in choose_exports(run, "all")]
    assert names == ["teacher_step_00000020", "teacher_step_00000100", "teacher"]
    assert [path.stem for path in choose_exports(run, "teacher,teacher_step_00000020")] == [
        "teacher",
        "teacher_step_00000020",
    ]


def test_what_is_missing_is_named_with_what_there_is(run: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no export teacher_step_5; choose all, or from teacher_step_00000020"):
        choose_exports(run, "teacher,teacher_step_5")
    with pytest.raises(DataError, match="no exported teachers"):
        choose_exports(tmp_path / "missing", "all")


def test_reports_of_one_request_share_a_folder(run: Path) -> None:
    folder = results_folder(run, "knn,linear", ["train=a", "val=b"])
    assert folder == results_folder(run, "knn,linear", ["val=b", "train=a", "out=x.json"])
    assert folder.name.startswith("knn-linear-")
    assert folder != results_folder(run, "knn,linear", ["train=a", "val=c"])


def write(folder: Path, name: str, **metrics: float) -> None:
    Report(name, (Result("knn", metrics, {}),)).write(folder / f"{name}.json")


def test_the_table_has_a_line_for_each_teacher_and_grows(tmp_path: Path) -> None:
    write(tmp_path, "teacher_step_00000100", top1=0.25, top1_k10=0.5)
    collect(tmp_path)
    write(tmp_path, "teacher", top1=0.5)
    write(tmp_path, "teacher_step_00000000", top1=0.125)
    table = collect(tmp_path, tmp_path / "mine.json")
    assert table.read_text().splitlines() == [
        "| export | knn top1 | knn top1_k10 |",
        "| --- | ---: | ---: |",
        "| teacher_step_00000000 | 12.50 | - |",
        "| teacher_step_00000100 | 25.00 | 50.00 |",
        "| teacher | 50.00 | - |",
    ]
    reports = json.loads((tmp_path / "table.json").read_text())
    assert reports == json.loads((tmp_path / "mine.json").read_text())
    assert [report["model"] for report in reports] == ["teacher_step_00000000", "teacher_step_00000100", "teacher"]


def test_numbers_that_are_no_fractions_stand_as_they_are(tmp_path: Path) -> None:
    """Ranks and entropies of `health` have nothing else."""
    result = {"protocol": "health", "metrics": {}, "numbers": {"rankme": 123.456, "dead": 0.0}}
    (tmp_path / "teacher.json").write_text(json.dumps({"model": "teacher", "results": [result]}))
    assert collect(tmp_path).read_text().splitlines() == [
        "| export | health rankme | health dead |",
        "| --- | ---: | ---: |",
        "| teacher | 123.5 | 0 |",
    ]
