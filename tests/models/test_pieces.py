from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from franca.errors import CheckpointError
from franca.models.pieces import find_pieces, unpack_pieces
from tests.models.released import cut, in_pieces, zipped

CONTENT = bytes(range(256)) * 50


def tar_of(*members: tuple[str, bytes | None]) -> bytes:
    """A gzipped tar of files; None makes a symbolic link."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in members:
            member = tarfile.TarInfo(name)
            if text is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(text)
            tar.addfile(member, io.BytesIO(text or b""))
    return zipped(content.getvalue())


@pytest.mark.parametrize("num_pieces", [1, 2, 3, 7])
@pytest.mark.parametrize("name", ["model.pth", "../../escape.pth", "/tmp/absolute.pth"])
def test_pieces_are_joined_and_unpacked_whatever_the_name_inside(tmp_path: Path, num_pieces: int, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "file").write_bytes(CONTENT)
    pieces = in_pieces(tmp_path / "file", tmp_path / "in", num_pieces=num_pieces, name=name)
    unpack_pieces(pieces, tmp_path / "in" / "out")
    assert (tmp_path / "in" / "out").read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "in"]


def test_pieces_are_found_from_the_first_or_the_folder(tmp_path: Path) -> None:
    pieces = cut(CONTENT, tmp_path)
    (tmp_path / "other.pth").write_bytes(b"")
    assert find_pieces(tmp_path) == find_pieces(pieces[0]) == find_pieces(pieces[2]) == pieces
    assert find_pieces(tmp_path / "other.pth") == find_pieces(tmp_path / "none.part_aa") == []


def test_a_piece_in_the_middle_is_missed(tmp_path: Path) -> None:
    pieces = cut(CONTENT, tmp_path)
    pieces[1].unlink()
    with pytest.raises(CheckpointError, match=r"lacks whole_chunked.tar.gz.part_ab"):
        find_pieces(pieces[0])


def test_a_folder_of_several_files_is_not_guessed(tmp_path: Path) -> None:
    cut(CONTENT, tmp_path)
    (tmp_path / "another.part_aa").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"several files; give the first piece of one: another.part_aa"):
        find_pieces(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tar_of(("a", CONTENT), ("b", CONTENT)), "one file expected, found 'b'"),
        (tar_of(("a", None)), "one file expected, found 'a'"),
        (tar_of(("a", CONTENT), ("link", None)), "one file expected, found 'link'"),
        (tar_of(), "found none"),
        (CONTENT, "damaged, or the last is missing"),
        (zipped(CONTENT), "damaged, or the last is missing"),
        (b"", "damaged, or the last is missing"),
    ],
    ids=["two files", "a link", "a file and a link", "nothing", "no gzip", "no tar", "empty"],
)
def test_contents_other_than_one_file(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        unpack_pieces(cut(content, tmp_path), tmp_path / "out")


@pytest.mark.parametrize("kept", [2, 1])
def test_the_last_piece_is_missed(tmp_path: Path, kept: int) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    pieces = in_pieces(tmp_path / "file", tmp_path)
    with pytest.raises(
        CheckpointError, match=f"and the {kept - 1} pieces after it are damaged, or the last is missing"
    ):
        unpack_pieces(pieces[:kept], tmp_path / "out")


def test_a_wrong_byte_is_noticed(tmp_path: Path) -> None:
    stored = io.BytesIO()
    with tarfile.open(fileobj=stored, mode="w") as tar:
        member = tarfile.TarInfo("a")
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    content = bytearray(zipped(stored.getvalue()))
    content[-6] ^= 1  # the checksum at the end
    with pytest.raises(CheckpointError, match="CRC"):
        unpack_pieces(cut(bytes(content), tmp_path), tmp_path / "out")
