"""The page: whole in one file, and safe from what is put on it."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from franca.report.page import Section, picture, table, write_page


def test_a_page_holds_its_sections_and_pictures(tmp_path: Path) -> None:
    figure = Figure()
    figure.subplots().plot([1, 2])
    body = table({"a<b": ["1", "2"], "c": "3"}, header=["", "x", "y"]) + picture(figure)
    write_page(tmp_path / "page.html", "t & u", [Section("S", body)])
    text = (tmp_path / "page.html").read_text()
    assert "<h2>S</h2>" in text and "a&lt;b" in text and "t &amp; u" in text
    assert "data:image/png;base64,iVBOR" in text
