"""How many files a process may hold open, and what to say when there are too many."""

from __future__ import annotations

import errno
from contextlib import suppress

from franca.errors import DataError

TOO_MANY = (errno.EMFILE, errno.ENFILE)


def is_too_many(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, is that no more files can be opened: this says nothing about the data."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in TOO_MANY:
            return True
        error = error.__cause__
    return False


def too_many_open_files(name: str) -> DataError:
    """The error for a file that could not be opened for this reason."""
    return DataError(
        f"Cannot open {name}: too many files are open (at most {soft_limit() or 'an unknown number'} in a process). "
        "Raise the limit in the shell that starts the run, for example with `ulimit -n 65536`."
    )


def soft_limit() -> int | None:
    """Files that this process may hold open; None where there is no such limit."""
    with suppress(ImportError):
        import resource

        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return None if soft == resource.RLIM_INFINITY else soft
    return None
