"""Files that can be made again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from franca.data.cache_folder import cache_folder, lock, write_atomically


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FRANCA_CACHE", "~/here")
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("FRANCA_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/franca"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache/franca"


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a/b"
    write_atomically(path, [b"one", memoryview(b"two")])

    def breaks() -> object:
        yield b"half"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_atomically(path, breaks())  # type: ignore[arg-type]
    assert path.read_bytes() == b"onetwo"
    assert [entry.name for entry in path.parent.iterdir()] == ["b"]


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path, order = tmp_path / "lock", []

    def second() -> None:
        with path.open("ab") as file:
            lock(file)
            order.append("second")

    thread = threading.Thread(target=second)
    with path.open("ab") as file:
        lock(file)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
