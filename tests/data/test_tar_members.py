"""Reading the headers of tars, against Python's own reader."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from franca.data.tar_members import Member, read_members

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar_of(files: list[tuple[str, bytes]], *, format: int = tarfile.PAX_FORMAT, mtime: float = 0) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), mtime  # type: ignore[assignment]
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def read(data: bytes) -> tuple[list[Member], str | None]:
    return read_members(io.BytesIO(data), len(data))


def expected(data: bytes) -> list[Member]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return [Member(member.name, member.offset_data, member.size) for member in tar if member.isreg()]


LONG = "/".join(["folder" * 5] * 4) + "/" + "n" * 90 + ".jpg"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("mtime", [0, 1.5])
def test_every_format_of_names_and_sizes(format: str, mtime: float) -> None:
    files = [("a.jpg", b"x" * 700), ("./b.txt", b""), (LONG, b"y" * 512), ("größe.png", b"z"), ("c", b"last")]
    data = tar_of(files, format=FORMATS[format], mtime=mtime)
    assert read(data) == (expected(data), None)
    assert [member.name for member in read(data)[0]] == [name for name, _ in files]


def test_folders_and_links_are_left_out_and_sparse_files_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, kind in (("d", tarfile.DIRTYPE), ("l", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "target" * 30
            tar.addfile(info)
        info = tarfile.TarInfo("a.jpg")
        info.size = 3
        tar.addfile(info, io.BytesIO(b"abc"))
    data = buffer.getvalue()
    assert read(data) == (expected(data), None)


def test_a_size_beyond_eight_gigabytes_is_understood_though_the_file_is_cut() -> None:
    info = tarfile.TarInfo("huge.bin")
    info.size = 1 << 40
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        assert read(info.tobuf(format)) == ([], "cut off in a file")


def test_an_end_without_its_blocks_is_an_end() -> None:
    data = tar_of([("a", b"x" * 512), ("b", b"y" * 512)])
    assert read(data[:2048]) == (expected(data), None)
    assert read(b"") == ([], None)


def test_every_cut_keeps_what_lies_before_it() -> None:
    data = tar_of([(name, bytes(700)) for name in "abc"])
    whole = expected(data)
    for cut in range(0, 3 * 1536 + 1, 64):
        members, damage = read(data[:cut])
        kept = [member for member in whole if member.offset + member.size + 324 <= cut]  # with what fills its block
        assert members[: len(kept)] == kept and len(members) <= len(kept) + 1
        assert (damage is None) == (cut % 1536 == 0)


FUZZED = tar_of([("a.jpg", b"x" * 600), (LONG, b"yy"), ("c.json", b"{}")], mtime=1.5)


@settings(max_examples=300, deadline=None)
@given(
    flips=st.lists(st.tuples(st.integers(0, len(FUZZED) - 1), st.integers(1, 255)), max_size=12),
    cut=st.integers(0, len(FUZZED)),
)
def test_whatever_the_bytes_are_members_lie_within_the_file(flips: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(FUZZED)
    for place, change in flips:
        data[place] ^= change
    members, _ = read(bytes(data[:cut]))
    assert all(member.size >= 0 and member.offset + member.size <= cut for member in members)


@given(st.binary(max_size=2000))
def test_noise_is_no_tar(data: bytes) -> None:
    members, damage = read(data)
    assert not members
    assert damage or not data.strip(b"\0") or not data[:512].strip(b"\0")
