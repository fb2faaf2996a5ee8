"""Names of classes beside shards whose labels are numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from franca.data.openers import is_remote
from franca.errors import DataError

FILE_NAME = "classes.txt"


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Writes ``classes.txt``: line i, counted from 0, names label i.

    Raises:
        DataError: A name does not fit into a line.
    """
    broken = [name for name in names if len(name.splitlines()) != 1]
    if broken:
        raise DataError(f"The class {broken[0]!r} cannot be kept: its name is not one line of text. Rename it.")
    text = "".join(f"{name}\n" for name in names)
    (folder / FILE_NAME).write_text(text, encoding="utf-8", errors="surrogateescape")


def read_class_names(folder: Path) -> tuple[str, ...] | None:
    """The names in ``classes.txt``, or None where there is no such file."""
    try:
        text = (folder / FILE_NAME).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"Cannot read {folder / FILE_NAME}: {error.strerror}.") from error
    return tuple(text.splitlines())


def names_of_numbers(numbers: Sequence[str], shards: Sequence[str]) -> tuple[str, ...] | None:
    """What ``classes.txt`` in the folder of some shards calls their class numbers.

    Args:
        numbers: What the shards say; where this is a name already, the file is not asked.
        shards: Paths; of shards in several folders, or elsewhere, nobody is asked.

    Raises:
        DataError: A number is beyond the last line.
    """
    folders = {Path(shard).parent for shard in shards}
    if len(folders) > 1 or any(map(is_remote, shards)) or not all(number.isdecimal() for number in numbers):
        return None
    (folder,) = folders
    names = read_class_names(folder)
    if names is None:
        return None
    beyond = [number for number in numbers if int(number) >= len(names)]
    if beyond:
        file = folder / FILE_NAME
        raise DataError(
            f"{file} names the classes 0 to {len(names) - 1}, but a shard beside it has class {beyond[0]}: "
            "complete the file, or remove it: then the numbers are the names."
        )
    return names
