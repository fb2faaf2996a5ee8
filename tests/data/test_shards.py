"""From what the user wrote to a list of tars."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.data.shards import expand_braces, shard_paths
from franca.errors import DataError


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    for name in ("00.tar", "01.tar", "03.tar", "sub/09.tar", "val-0.tar", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(location: str | list[str], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in shard_paths(location)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("plain.tar", ["plain.tar"]),
        ("{0..3}", ["0", "1", "2", "3"]),
        ("x{098..101}.tar", ["x098.tar", "x099.tar", "x100.tar", "x101.tar"]),
        ("{a,bc,}", ["a", "bc", ""]),
        ("{a,b}-{08..09}", ["a-08", "a-09", "b-08", "b-09"]),
    ],
)
def test_braces(pattern: str, expected: list[str]) -> None:
    assert expand_braces(pattern) == expected


def test_range_backwards_is_refused() -> None:
    with pytest.raises(DataError, match=r"\{9\.\.1\}.*backwards"):
        expand_braces("{9..1}.tar")


def test_path_glob_folder_and_list(tars: Path) -> None:
    assert names(f"{tars}/01.tar", tars) == ["01.tar"]
    assert names(f"{tars}/0?.tar", tars) == ["00.tar", "01.tar", "03.tar"]
    assert names(f"{tars}/**/*9.tar", tars) == ["sub/09.tar"]
    assert names(str(tars), tars) == ["00.tar", "01.tar", "03.tar", "sub/09.tar", "val-0.tar"]
    assert names([f"{tars}/val-*.tar", f"{tars}/00.tar"], tars) == ["val-0.tar", "00.tar"]
    assert names(f"{tars}/{{0,val-}}*.tar", tars) == ["00.tar", "01.tar", "03.tar", "val-0.tar"]


def test_gaps_in_braces_are_reported_and_passed_over(tars: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert names(f"{tars}/{{00..04}}.tar", tars) == ["00.tar", "01.tar", "03.tar"]
    assert "2 of 5 files" in caplog.text
    assert f"first: {tars}/02.tar" in caplog.text


def test_list_file_starts_from_its_own_folder(tars: Path) -> None:
    (tars / "sub/list.txt").write_text(f"# shards\n09.tar\n\n{tars}/{{00..01}}.tar\n../val-0.tar\n")
    found = shard_paths(f"@{tars}/sub/list.txt")
    assert [path.resolve().relative_to(tars).as_posix() for path in found] == [
        "sub/09.tar",
        "00.tar",
        "01.tar",
        "val-0.tar",
    ]


def test_a_name_with_brackets_is_a_name_when_it_exists(tmp_path: Path) -> None:
    path = tmp_path / "a[1]{b,c}.tar"
    path.touch()
    assert shard_paths(str(path)) == [path]


def test_home_folder(tars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tars))
    assert names("~/00.tar", tars) == ["00.tar"]
    assert names("~/{00..01}.tar", tars) == ["00.tar", "01.tar"]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("none.tar", "none.tar does not exist"),
        ("none*.tar", "No file matches .*none"),
        ("none{0..5}.tar", r"None of the 6 files of .*first: .*none0.tar"),
        ("empty", "No tar in .*empty"),
        ("@none.txt", "Cannot read the list .*none.txt"),
        ("@blank.txt", "blank.txt names no tar"),
    ],
)
def test_nothing_there(location: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("blank.txt").write_text("\n# nothing\n")
    with pytest.raises(DataError, match=message):
        shard_paths(location)


def test_compressed_tars_are_not_passed_over(tars: Path) -> None:
    (tars / "below").mkdir()
    (tars / "below" / "more.tar.gz").touch()
    with pytest.raises(DataError, match=r"holds 1 compressed tars \(below/more\.tar\.gz\)"):
        shard_paths(str(tars))
