"""Which device work runs on, and in which precision."""

from __future__ import annotations

import torch

from franca.errors import ConfigError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve_device(name: str) -> torch.device:
    """The device that ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps`` stands for on this machine.

    Raises:
        ConfigError: the name is not one of these, or the machine has no such device.
    """
    if name == "auto":
        return torch.device(_best_device())
    kind, _, index = name.partition(":")
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in available or (index and not index.isdecimal()):
        raise ConfigError(f"device={name!r} is unknown; choose auto, cpu, cuda, cuda:N or mps")
    if int(index or 0) >= available[kind]:
        raise ConfigError(f"device={name!r} is not on this machine, which has {available[kind]} {kind} device(s)")
    return torch.device(name)


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
