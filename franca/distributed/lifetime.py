"""How processes end: when they are asked to, and with the process that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

STOP_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)]
"""What people and schedulers send to a run that is to save and stop."""
_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int | None = None) -> None:
    """End this process when its parent ends, however that happens: a process that nobody waits for is a ghost.

    Args:
        parent: Process id of the parent; where it has ended already, so does this process. None does not look.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and os.getppid() != parent:
            os._exit(1)


def leave_signals_to_parent() -> None:
    """Ignore what asks a run to stop; the parent hears it too, and ends its children itself."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
