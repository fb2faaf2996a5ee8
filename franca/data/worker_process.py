"""Worker processes that end with the process they work for."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have this process killed when its parent dies; only Linux can do that.

    A worker that outlives its parent waits for ever to hand over what it made.

    Args:
        parent: Process that started this one.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if multiprocessing.get_start_method() == "fork" and os.getppid() != parent:
            os._exit(1)  # the parent died before it could be watched
