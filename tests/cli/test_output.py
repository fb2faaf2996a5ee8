"""Files that cannot be written are found out before the work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.cli.output import check_writable, plain_console
from franca.errors import ConfigError


def test_the_folder_of_a_file_is_made(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "out.json", "out")
    assert (tmp_path / "a" / "b").is_dir()


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"OUT=.* is a folder; expected the name of a file"):
        check_writable(tmp_path, "OUT")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"out=.*: the folder .*file cannot be made"):
        check_writable(tmp_path / "file" / "out.json", "out")


def test_words_of_users_are_printed_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    plain_console().print("/data/camvid:train: [bold] 3 images")
    assert capsys.readouterr().out == "/data/camvid:train: [bold] 3 images\n"
