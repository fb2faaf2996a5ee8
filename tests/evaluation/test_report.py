"""The report as JSON and as a table."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from franca.evaluation.report import Report, Result, versions

REPORT = Report("runs/mine", (Result("knn", {"top1": 0.431, "top1_k10": 0.4}, {"k": 20}, ("a note",)),))


def test_json_is_the_contract(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "report.json"
    REPORT.write(file)
    assert json.loads(file.read_text()) == {
        "model": "runs/mine",
        "results": [
            {
                "protocol": "knn",
                "metrics": {"top1": 0.431, "top1_k10": 0.4},
                "settings": {"k": 20},
                "notes": ["a note"],
            }
        ],
    }
    assert list(file.parent.iterdir()) == [file]


def test_an_earlier_report_survives_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    REPORT.write(file)
    before = file.read_text()
    with pytest.raises(ValueError, match="JSON compliant"):
        Report("runs/mine", (Result("knn", {"top1": float("nan")}, {}),)).write(file)
    assert file.read_text() == before


def test_the_table_shows_per_cent() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(REPORT.table())
    assert "43.10" in text.getvalue() and "top1_k10" in text.getvalue() and "runs/mine" in text.getvalue()


def test_classes_are_in_the_json_and_not_in_the_table() -> None:
    report = Report("runs/mine", (Result("incontext", {"miou": 0.3}, {}, by_class={"sky": 0.6}),))
    text = io.StringIO()
    Console(file=text, width=80).print(report.table())
    assert "30.00" in text.getvalue() and "sky" not in text.getvalue()
    assert report.to_dict()["results"][0]["by_class"] == {"sky": 0.6}


def test_a_result_is_found_by_its_protocol() -> None:
    assert REPORT.result("knn").metrics["top1"] == 0.431


def test_the_library_of_a_model_is_among_the_versions() -> None:
    timm = pytest.importorskip("timm")
    assert versions()["timm"] == timm.__version__
