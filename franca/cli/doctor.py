"""``franca doctor``: says what this machine has, and whether a step of training runs on it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import franca
from franca.cli.output import plain_console
from franca.config.recipes import load_recipe
from franca.data.cache_folder import cache_folder
from franca.distributed.cores import usable_cores
from franca.distributed.device import resolve_device, resolve_precision
from franca.errors import STOPPED_EXIT_CODE
from franca.objective.fused import why_not
from franca.train.disk import nearest_existing
from franca.train.memory import size_text
from franca.train.pretrain import Outcome, pretrain
from franca.train.startup import print_facts

EXTRAS = ("xformers", "timm", "transformers", "onnxruntime", "fsspec", "wandb", "tensorboard")
"""Packages that some commands use where they are there."""


SHARED_MEMORY = Path("/dev/shm")
"""Through which data workers hand over their batches, on Linux."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of ``franca doctor``."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")


def run(args: argparse.Namespace) -> int:
    """Prints what is here, then takes a step of the recipe ``tiny``; the exit code is 0 if that worked, 75 if stopped.

    Raises:
        ConfigError: There is no such device.
        FrancaError: The step failed, and why.
    """
    console = plain_console(soft_wrap=True)
    device = resolve_device(args.device)
    print_facts(console, "franca doctor", dict(facts(device)))
    started = time.perf_counter()
    if take_a_step(args.device) is Outcome.STOPPED:
        return STOPPED_EXIT_CODE
    seconds = time.perf_counter() - started
    console.print(
        f"one step of the recipe tiny, with a data worker, two checkpoints and an export: fine, {seconds:.1f} s"
    )
    return 0


def facts(device: torch.device) -> Iterator[tuple[str, str]]:
    """What training and evaluation will find on ``device`` and around it."""
    yield "franca", f"{franca.__version__}, {Path(franca.__file__).parent}"
    yield "python", f"{platform.python_version()}, {sys.executable}"
    yield "platform", f"{platform.platform()}, {usable_cores()} cores for this process"
    yield "torch", f"{torch.__version__}, {_compute_platform()}"
    yield "torchvision", _version("torchvision")
    yield "optional packages", ", ".join(f"{name} {_version(name)}" for name in EXTRAS)
    yield "devices", ", ".join(_devices())
    yield "used here", f"{device}, {resolve_precision('auto', device)} (performance.precision=auto)"
    yield "attention kernels", ", ".join(_attention_kernels(device))
    yield "prototype losses", ", ".join(_prototype_backends(device))
    if SHARED_MEMORY.exists():
        yield "shared memory", _free(SHARED_MEMORY)
    yield "cache", f"{cache_folder()}, {_free(cache_folder())}"


def take_a_step(device: str) -> Outcome:
    """How a run of one step ends, from its start to its export, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="franca-doctor-") as folder:
        changes = ["train.steps=1", f"performance.device={device}", "performance.workers=1", f"run.dir={folder}/run"]
        return pretrain(load_recipe("tiny", changes), command="franca doctor", console=plain_console(quiet=True))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _compute_platform() -> str:
    if torch.version.cuda:
        return f"built for CUDA {torch.version.cuda}"
    return f"built for ROCm {torch.version.hip}" if torch.version.hip else "built for CPUs"


def _devices() -> Iterator[str]:
    for index in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(index)
        yield f"cuda:{index} {found.name}, {size_text(found.total_memory)}"
    if torch.backends.mps.is_available():
        yield "mps"
    yield "cpu"


def _attention_kernels(device: torch.device) -> Iterator[str]:
    """The kernels of scaled dot-product attention that torch may choose from."""
    if device.type != "cuda":
        yield "torch's fused attention"
        return
    for name in ("flash", "mem_efficient", "cudnn", "math"):
        enabled = getattr(torch.backends.cuda, f"{name}_sdp_enabled")()
        yield f"{name} {'on' if enabled else 'off'}"


def _prototype_backends(device: torch.device) -> Iterator[str]:
    yield "dense"
    yield "chunked"
    obstacle = why_not(device)
    yield f"no triton, it {obstacle}" if obstacle else "triton"


def _free(folder: Path) -> str:
    """Free space where a folder lies or would be made."""
    existing = nearest_existing(folder)
    text = f"{size_text(shutil.disk_usage(existing).free)} free"
    return text if os.access(existing, os.W_OK) else f"{text}, but it cannot be written"
