"""One HTML page without outside files."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from matplotlib.figure import Figure

from franca.train.line_file import write_text

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { font-weight: 600 } h2 { margin-top: 2rem }
table { border-collapse: collapse } th, td { padding: .25rem .9rem .25rem 0; text-align: left; vertical-align: top }
th { font-weight: 600 } tr + tr { border-top: 1px solid #ddd } img { max-width: 100% }
"""


@dataclass(frozen=True)
class Section:
    """A heading with a body of HTML."""

    title: str
    body: str


def picture(figure: Figure) -> str:
    """A figure as an image inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}">'


def table(rows: Mapping[str, Sequence[str] | str], header: Sequence[str] = ()) -> str:
    """A table: the first column holds the keys."""
    lines = ["<table>"]
    if header:
        lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in header) + "</tr>")
    for name, cells in rows.items():
        values = [cells] if isinstance(cells, str) else cells
        lines.append(
            f"<tr><th>{escape(name)}</th>" + "".join(f"<td>{escape(value)}</td>" for value in values) + "</tr>"
        )
    return "\n".join([*lines, "</table>"])


def write_page(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Replace ``path`` by a page of these sections."""
    body = "\n".join(f"<h2>{escape(section.title)}</h2>\n{section.body}" for section in sections)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n<h1>{escape(title)}</h1>\n{body}\n</html>\n",
    )
