from __future__ import annotations

from pathlib import Path

import pytest

from franca.cli.main import main
from franca.cli.models import COLUMNS, markdown, table
from franca.models.registry import RELEASES
from franca.models.releases import WEIGHTS

PAGE = Path(__file__).parents[2] / "docs" / "backbones.md"
BEGIN, END = "<!-- begin: franca models --markdown -->\n", "<!-- end: franca models --markdown -->\n"


def test_every_name_and_all_weights_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == [word for column in COLUMNS for word in column.split()]
    listed = [tuple(line.split()[:2]) for line in lines]
    assert set(listed) == {(weights.model, weights.name) for weights in WEIGHTS} | {
        (name, "none") for name in RELEASES if name not in {weights.model for weights in WEIGHTS}
    }
    assert len(listed) == len(set(listed))
    text = "\n".join(lines)
    assert all(weights.why_not_public in text and all(url in text for url in weights.urls[:1]) for weights in WEIGHTS)
    assert "part_aa and 2 more pieces" in text


def test_columns_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models"])
    header, *lines = capsys.readouterr().out.splitlines()
    start = header.index("file")
    assert all(line[start - 1] == " " != line[start] for line in lines)


def test_markdown_has_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(list(table()))
    assert {line.count("|") for line in lines} == {len(COLUMNS) + 1}
    assert lines[0].startswith("| model | weights |")


def test_the_page_holds_the_table() -> None:
    if not PAGE.exists():
        pytest.skip("there is no docs/backbones.md")
    inside = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert inside.strip() == markdown(list(table())), "run: franca models --markdown"
