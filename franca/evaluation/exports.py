"""Evaluating the exported teachers of a run one by one, and one table of them all."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from franca.data.cache_folder import write_atomically
from franca.errors import DataError
from franca.evaluation.report import shown

ALL = "all"


def choose_exports(run: Path, choice: str) -> list[Path]:
    """Exported teachers of a run, in the order of their steps; the newest is last.

    Args:
        run: The run folder.
        choice: ``all``, or names with commas, as in ``teacher_step_00010000,teacher``.

    Raises:
        DataError: the run has no exports, or not these; the message lists them.
    """
    folder = run / "exports"
    known = {path.stem: path for path in sorted(folder.glob("teacher*.safetensors"), key=_step_order)}
    if not known:
        raise DataError(f"{run} has no exported teachers: {folder} holds no teacher*.safetensors")
    names = list(known) if choice == ALL else choice.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise DataError(f"{run} has no export {', '.join(unknown)}; choose {ALL}, or from {', '.join(known)}")
    return [known[name] for name in names]


def results_folder(run: Path, protocols: str, words: Sequence[str]) -> Path:
    """Where the reports of one request lie: the same protocols, data and options share a folder."""
    chosen = sorted(word for word in words if not word.startswith("out="))
    digest = hashlib.sha256(json.dumps([protocols, chosen]).encode()).hexdigest()[:8]
    return run / "evaluations" / f"{protocols.replace(',', '-')}-{digest}"


def collect(folder: Path, out: Path | None = None) -> Path:
    """Put the reports of a folder into one table; elements of an array may do it at the same time.

    Args:
        folder: Where the reports are, one for each teacher.
        out: A further place for ``table.json``.

    Returns:
        ``table.md``; ``table.json`` beside it is the list of the reports.
    """
    with _locked(folder):
        paths = sorted(folder.glob("teacher*.json"), key=_step_order)
        reports = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths}
        table = json.dumps(list(reports.values()), indent=2) + "\n"
        for path in filter(None, (folder / "table.json", out)):
            write_atomically(path, [table.encode()])
        markdown = _markdown({name: _cells(report) for name, report in reports.items()})
        write_atomically(folder / "table.md", [markdown.encode()])
    return folder / "table.md"


def _cells(report: dict[str, Any]) -> dict[str, str]:
    """What the results of a report show, by protocol and name."""
    return {
        f"{result['protocol']} {name}": text
        for result in report["results"]
        for name, text in shown(result["metrics"], result.get("numbers", {})).items()
    }


def _markdown(rows: dict[str, dict[str, str]]) -> str:
    """One line for each teacher; a dash where a number is missing."""
    columns = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    lines = [["export", *columns], ["---", *("---:" for _ in columns)]]
    lines += [[export, *(cells.get(name, "-") for name in columns)] for export, cells in rows.items()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _step_order(path: Path) -> tuple[bool, str]:
    """By step; ``teacher`` alone is the newest."""
    return path.stem == "teacher", path.stem


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One collector at a time: the last one sees every report."""
    with open(folder / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
