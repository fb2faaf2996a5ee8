"""Output of commands, and what becomes of those that fail or say nothing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from franca.data.openers import open_stream
from franca.data.streams import FetchError

from .fetched import failure, fetch


def test_output_of_a_command(tmp_path: Path) -> None:
    (tmp_path / "x y").write_bytes(b"abc" * 9000)
    assert fetch(f"pipe:cat '{tmp_path}/x y' | tr a-z A-Z") == b"ABC" * 9000
    assert failure(f"pipe:cat {tmp_path}/none 2>/dev/null").reason == "command_failed"
    assert failure("pipe:false | cat").reason == "command_failed"
    assert failure(f"pipe:cat {tmp_path}/none 2>/dev/null | gzip -c | cat").reason == "command_failed"
    began = time.perf_counter()
    assert failure("pipe:echo a; exec sleep 20", 0.3).reason == "timeout"
    assert time.perf_counter() - began < 3


def test_a_shell_without_pipefail_runs_commands_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert fetch("pipe:echo a | tr a b") == b"b\n"
    assert failure("pipe:exit 3").reason == "command_failed"


def test_a_command_that_is_not_read_to_its_end_must_still_end_well() -> None:
    with pytest.raises(FetchError, match="exit status 3") as caught, open_stream("pipe:echo a; exit 3", 5) as stream:
        assert stream.read(1) == b"a"
    assert caught.value.reason == "command_failed"
    with pytest.raises(FetchError), open_stream("pipe:exec cat /dev/zero", 5) as stream:
        stream.read(1)
    with pytest.raises(FetchError) as caught, open_stream("pipe:exec >&-; sleep 20", 0.3) as stream:
        assert stream.read(1) == b""
    assert caught.value.reason == "timeout"


def test_all_that_a_command_started_is_ended(tmp_path: Path) -> None:
    number = tmp_path / "pid"
    assert failure(f"pipe:(sleep 20 & echo $! > {number}; wait) | cat", 0.5).reason == "timeout"
    status = Path(f"/proc/{number.read_text().strip()}/stat")
    ended = time.perf_counter() + 3
    while (alive := status.exists() and status.read_text().split()[2] != "Z") and time.perf_counter() < ended:
        time.sleep(0.01)
    assert not alive
