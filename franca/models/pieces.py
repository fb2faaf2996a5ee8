"""A file that was released as the pieces of a gzipped tar, ``NAME.part_aa``, ``NAME.part_ab``, …"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from franca.errors import CheckpointError

PIECE = re.compile(r"(.+\.part_)([a-z])([a-z])")
BLOCK_BYTES = 1 << 20


def find_pieces(path: Path) -> list[Path]:
    """The pieces that a path means, in order: all beside the first one, or all in a folder; empty for another path.

    Raises:
        CheckpointError: if one in the middle is missing, or a folder holds the pieces of several files.
    """
    if not path.is_dir() and not (PIECE.fullmatch(path.name) and path.exists()):
        return []
    folder = path if path.is_dir() else path.parent
    found = sorted(other for other in folder.iterdir() if PIECE.fullmatch(other.name))
    if not path.is_dir():
        found = [other for other in found if _stem(other) == _stem(path)]
    stems = sorted({_stem(piece) for piece in found})
    if len(stems) > 1:
        raise CheckpointError(f"{folder} holds pieces of several files; give the first piece of one: {stems[0]}aa.")
    missing = {_letters(index) for index in range(len(found))} - {piece.name[-2:] for piece in found}
    if missing:
        raise CheckpointError(f"{folder} lacks {stems[0]}{min(missing)}. Copy or download all pieces.")
    return found


def unpack_pieces(pieces: Sequence[Path], target: Path) -> None:
    """Write the one file that a tar in pieces holds; the names inside the tar are not used.

    Args:
        pieces: in order.
        target: of the file; half of it may stand there after an error.

    Raises:
        CheckpointError: if the pieces end early, are damaged, or hold anything but one file.
    """
    joined = io.BufferedReader(_Joined(pieces), BLOCK_BYTES)
    try:
        with gzip.GzipFile(fileobj=joined) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as tar:
            _write_only_file(tar, target)
            while unzipped.read(BLOCK_BYTES):  # to the end, where the checksum stands
                pass
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise CheckpointError(
            f"{pieces[0]} and the {len(pieces) - 1} pieces after it are damaged, or the last is missing ({error}). "
            "Copy or download all pieces again."
        ) from error


def _write_only_file(tar: tarfile.TarFile, target: Path) -> None:
    written = False
    for member in tar:
        content = tar.extractfile(member) if member.isreg() else None
        if written or content is None:
            raise tarfile.TarError(f"one file expected, found {member.name!r}")
        with open(target, "wb") as file:
            shutil.copyfileobj(content, file, BLOCK_BYTES)
            if file.tell() != member.size:
                raise tarfile.TarError(f"{file.tell()} of {member.size} bytes")
        written = True
    if not written:
        raise tarfile.TarError("one file expected, found none")


class _Joined(io.RawIOBase):
    """Files read one after another."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.file: IO[bytes] = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        content = self.file.read(len(buffer))
        while not content and self.paths:
            self.file.close()
            self.file = open(self.paths.pop(0), "rb")  # noqa: SIM115  (closed when the next one is opened, or by close)
            content = self.file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        self.file.close()
        super().close()


def _stem(piece: Path) -> str:
    return piece.name[:-2]


def _letters(index: int) -> str:
    """0 is aa, 1 is ab, 26 is ba."""
    return chr(ord("a") + index // 26) + chr(ord("a") + index % 26)
