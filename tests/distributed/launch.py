"""A small launcher: runs commands as ranks, ends them all when one fails, and can be killed like any launcher.

It stands in for torchrun where a test starts many times, since its ranks need not import everything anew.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import torch
import torch.multiprocessing as mp

from tests.distributed.ranks import METHOD, preload


def launch(arguments: Sequence[str], *, world: int, log: Path) -> BaseProcess:
    """Start ``franca`` with these arguments on several ranks; the launcher's exit code is the first that is not 0."""
    preload()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = mp.get_context(METHOD).Process(target=_launcher, args=(list(arguments), world, port, log))
    process.start()
    return process


def ranks_of(launcher: BaseProcess) -> list[int]:
    """Process ids of its ranks, by rank."""
    assert launcher.pid is not None
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    return sorted(int(child) for child in children)


def _launcher(arguments: list[str], world: int, port: int, log: Path) -> None:
    ranks = [_start(rank, arguments, world, port, log) for rank in range(world)]

    def pass_on(number: int, frame: FrameType | None) -> None:
        for pid in ranks:
            os.kill(pid, number)

    signal.signal(signal.SIGTERM, pass_on)
    running, code = set(ranks), 0
    while running:
        pid, status = os.wait()
        running.discard(pid)
        code = code or os.waitstatus_to_exitcode(status)
        if code:
            for other in running:
                os.kill(other, signal.SIGTERM)
    sys.exit(code if code >= 0 else 128 - code)


def _start(rank: int, arguments: list[str], world: int, port: int, log: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        with open(f"{log}.{rank}", "ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        names = ("RANK", "LOCAL_RANK")
        os.environ |= {name: str(rank) for name in names}
        os.environ |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        torch.set_num_threads(1)
        from franca.cli.main import main

        code = main(arguments)
    except BaseException as error:  # what an interpreter would do at its end
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(code)


def wait_until_gone(pids: Sequence[int], seconds: float = 60) -> None:
    """Wait for processes that are not our children."""
    deadline = time.monotonic() + seconds
    while any(_runs(pid) for pid in pids):
        assert time.monotonic() < deadline, f"still there: {[pid for pid in pids if _runs(pid)]}"
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
