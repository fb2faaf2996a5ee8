"""The output of a command, as a stream."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from franca.data.streams import FetchError, Stream

_PIPEFAIL = "if (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n"  # a small shell may not know it


@contextmanager
def open_command(address: str, timeout_seconds: float) -> Iterator[Stream]:
    """Output of a command, which is ended with all that it started when it says nothing for too long.

    It must end well even where its output was not read to the end, and so must each part of a pipeline in it.

    Args:
        address: ``pipe:COMMAND``.
        timeout_seconds: How long to wait for the next byte, and for the end after the last one.

    Raises:
        FetchError: On leaving, when its exit status is not 0.
        TimeoutError: On reading or leaving, when it takes too long.
    """
    command = address.removeprefix("pipe:")
    process = subprocess.Popen(
        [shutil.which("bash") or "/bin/sh", "-c", _PIPEFAIL + command], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        yield Stream(reader(process.stdout, timeout_seconds))
        process.stdout.close()
        status = process.wait(timeout_seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            raise TimeoutError(f"it did not end within {timeout_seconds:g} seconds of its output") from error
        raise
    if status:
        raise FetchError("command_failed", f"exit status {status} of: {command}")


def reader(stream: Any, timeout_seconds: float) -> Callable[[int], bytes]:
    """Reads what a pipe has, at most so many bytes a call, and waits no longer than so for the first of them.

    Raises:
        TimeoutError: On reading, when nothing comes.
    """
    poll = select.poll()  # select() knows only file numbers below 1024
    poll.register(stream, select.POLLIN)

    def read(num_bytes: int) -> bytes:
        if not poll.poll(timeout_seconds * 1000):
            raise TimeoutError(f"nothing came for {timeout_seconds:g} seconds")
        data: bytes = stream.read1(num_bytes)
        return data

    return read
