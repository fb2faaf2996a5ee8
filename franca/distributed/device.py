"""Which device work runs on, and in which precision."""

from __future__ import annotations

import torch

from franca.distributed.ranks import Ranks
from franca.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str, ranks: Ranks | None = None) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` stands for on this machine.

    Args:
        name: One of these.
        ranks: Where there are several, each takes the CUDA device of its local rank; on the CPU they share the cores.

    Raises:
        ConfigError: the name is not one of these, or the machine has no such device, or too few.
    """
    if name == "auto":
        name = _best_device()
    if ranks is not None and ranks.world > 1 and not name.startswith("cpu"):
        return _device_of_rank(name, ranks)
    kind, _, index = name.partition(":")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in available or (index and not index.isdecimal()):
        raise ConfigError(f"device={name!r} is unknown; choose auto, cpu, cuda, cuda:N or mps")
    if int(index or 0) >= available[kind]:
        raise ConfigError(f"device={name!r} is not on this machine, which has {available[kind]} {kind} device(s)")
    return torch.device(name)


def _device_of_rank(name: str, ranks: Ranks) -> torch.device:
    if name != "cuda":
        raise ConfigError(f"device={name!r} is not for {ranks.world} ranks; choose auto, cpu or cuda")
    found = torch.cuda.device_count()
    if found < ranks.local_world:
        raise ConfigError(
            f"{ranks.local_world} ranks were started on this machine by {ranks.launcher}, but rank {ranks.rank} sees "
            f"{found} CUDA device(s). Start as many ranks as there are devices and let each see all of them, or choose "
            "device=cpu"
        )
    return torch.device("cuda", ranks.local_rank)


def resolve_precision(name: str, device: torch.device) -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` is bf16 where ``device`` multiplies it natively, fp32 elsewhere."""
    if name == "auto":
        return "bf16" if _multiplies_bf16(device) else "fp32"
    if name not in DTYPES:
        raise ConfigError(f"precision={name!r} is unknown; choose auto, {', '.join(DTYPES)}")
    return name


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Older versions of torch cannot tell; there fp32 is the safe answer.
        capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False
