"""How processes end: with their parent, and deaf to what their parent hears."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest

from franca.distributed.lifetime import STOP_SIGNALS, end_with_parent, leave_signals_to_parent


def exit_code_of(child: Callable[[], None]) -> int:
    """What a forked process that calls this ends with; 0 where the call returns."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_signals_to_stop_are_left_to_the_parent() -> None:
    def child() -> None:
        leave_signals_to_parent()
        for number in STOP_SIGNALS:
            os.kill(os.getpid(), number)

    assert exit_code_of(child) == 0
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2} == set(STOP_SIGNALS)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_a_process_ends_with_its_parent() -> None:
    assert exit_code_of(lambda: end_with_parent(os.getppid())) == 0
    assert exit_code_of(lambda: end_with_parent(os.getppid() + 1)) == 1  # that parent is gone already
    watched, alive = os.pipe()

    def parent() -> None:
        if os.fork() == 0:
            end_with_parent()
            os.write(alive, b"!")
            time.sleep(60)
        os.read(watched, 1)

    assert exit_code_of(parent) == 0
    os.close(alive)
    os.set_blocking(watched, False)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert os.read(watched, 1) == b""  # the last writer is gone
            break
        except BlockingIOError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    os.close(watched)
