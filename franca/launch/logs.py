"""The logs of a run's jobs as one readable stream: who says what, in the order in which it was said."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

_LABEL = re.compile(r"\s*(\d+): ?(.*)", re.DOTALL)
"""What ``srun --label`` writes before each line: the rank."""
_NAME = re.compile(r"(?P<job>\d+)(_(?P<element>\d+))?_(?P<task>\d+)_log\.out")


@dataclass(frozen=True)
class Line:
    """One line of one rank."""

    element: str | None
    """Of an array; None for a single job."""
    rank: int | None
    """None for what the batch script, or SLURM itself, says."""
    text: str


class LogFile:
    """A log that may still grow; `read` gives the lines that are new since the last call.

    Args:
        path: Named as submitit does: ``1234_0_log.out``, or ``1234_7_0_log.out`` for element 7 of an array.
        labelled: Whether srun wrote the ranks before the lines; else the file is that of one task.
    """

    def __init__(self, path: Path, *, labelled: bool) -> None:
        match = _NAME.fullmatch(path.name)
        assert match is not None, path
        self.path = path
        self.element = match["element"]
        self._task = None if labelled else int(match["task"])
        self._position = 0

    def read(self) -> list[Line]:
        """New lines; a last one that is not complete waits for its end."""
        with open(self.path, "rb") as file:
            file.seek(self._position)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._position += len(whole + newline)
        return [self._line(text) for text in whole.decode(errors="replace").splitlines()]

    def _line(self, text: str) -> Line:
        match = _LABEL.fullmatch(text) if self._task is None else None
        if match is not None:
            return Line(self.element, int(match[1]), match[2])
        return Line(self.element, self._task, text)


def log_paths(run: Path, job_id: str) -> list[Path]:
    """Logs of a job, by element and task."""
    found = [path for path in (run / "jobs").glob(f"{job_id}_*_log.out") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: [int(number) for number in re.findall(r"\d+", path.name)])


def readable(lines: Iterable[Line]) -> Iterator[str]:
    """Lines with their speaker; what several ranks say in a row is told once."""
    for (element, text), same in groupby(lines, key=lambda line: (line.element, line.text)):
        ranks = [line.rank for line in same]
        speaker = _ranks([rank for rank in ranks if rank is not None]) or "job"
        where = f"[{element}] " if element is not None else ""
        yield f"{where}{speaker:>8} | {text}"


def follow(files: Callable[[], Iterable[LogFile]], show: Callable[[str], None], wait: Callable[[], bool]) -> None:
    """Show lines as they come.

    Args:
        files: The logs there are by now.
        show: Takes one line.
        wait: Waits a moment; whether more may come.
    """
    more = True
    while more:
        more = wait()  # asked first, so that what a job said last is still shown
        for file in files():
            for line in readable(file.read()):
                show(line)


def _ranks(ranks: list[int]) -> str:
    """``rank 3``, ``ranks 0-3``, ``ranks 0,2``."""
    if len(ranks) < 2:
        return f"rank {ranks[0]}" if ranks else ""
    ordered = sorted(set(ranks))
    if len(ordered) > 1 and ordered == list(range(ordered[0], ordered[-1] + 1)):
        return f"ranks {ordered[0]}-{ordered[-1]}"
    return ("ranks " if len(ordered) > 1 else "rank ") + ",".join(map(str, ordered))
