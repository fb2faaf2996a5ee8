"""How the memory of a device, or of the machine, says that there is no more of it."""

from __future__ import annotations

import torch

_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of a device's or the CPU's allocator says that there is no more memory."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or any(phrase in str(error).lower() for phrase in _PHRASES)
