"""Peak memory of a call: what torch's allocator held at most, above what it held before."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors that were live at once during ``call``, those from before it not counted.

    On the CPU the profiler reports every allocation and release of torch's allocator, those inside an operation too;
    scratch space that libraries of matrix products take for themselves is not among them.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    live, peak = 0, 0
    for change in _changes(recorded):
        live += change
        peak = max(peak, live)
    return peak


def _changes(recorded: profile) -> list[int]:
    """Bytes allocated (positive) and released (negative), in the order of time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recorded.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    memory = [event for event in events if event["name"] == "[memory]"]
    return [event["args"]["Bytes"] for event in sorted(memory, key=lambda event: event["ts"])]
