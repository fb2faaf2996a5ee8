"""Which backend is taken, why, and what is said about it."""

from __future__ import annotations

import pytest
import torch

from franca.config.schema import PerformanceConfig
from franca.errors import ConfigError
from franca.objective.backends import BACKENDS, MIB, Choice, choose_backend
from franca.objective.chunked import Chunked
from franca.objective.dense import Dense
from franca.objective.fused import Fused
from franca.objective.probe import Task

TASK = Task(num_rows=8, num_prototypes=32, width=4, precision=None)


def choose(name: str, *, device: str = "cpu", dense_bytes: int = 0, chunk_mib: int | None = None) -> Choice:
    return choose_backend(name, device=torch.device(device), dense_bytes=dense_bytes, task=TASK, chunk_mib=chunk_mib)


def test_the_choices_are_those_of_the_option() -> None:
    field = PerformanceConfig.__dataclass_fields__["prototypes"]
    assert field.metadata["choices"] == BACKENDS and field.default in BACKENDS


@pytest.mark.parametrize(("name", "backend"), [("dense", Dense()), ("chunked", Chunked(64 * MIB))])
def test_a_name_is_taken_at_its_word(name: str, backend: object) -> None:
    assert choose(name, dense_bytes=2**40) == Choice(backend, "as asked")  # type: ignore[arg-type]


def test_auto_is_dense_as_long_as_that_takes_no_more_than_a_chunk() -> None:
    assert choose("auto", dense_bytes=64 * MIB).backend == Dense()
    assert choose("auto", dense_bytes=64 * MIB + 1).backend == Chunked(64 * MIB)
    assert choose("auto", dense_bytes=3 * MIB, chunk_mib=2).backend == Chunked(2 * MIB)
    assert choose("auto", device="cuda", dense_bytes=600 * MIB).backend == Chunked(512 * MIB)


def test_the_choice_is_one_line() -> None:
    assert str(choose("auto", dense_bytes=3 * MIB)) == "dense; all logits take 3 MiB"
    line = "chunked, 64 MiB of logits at a time; all logits take 3,000 MiB"
    assert str(choose("auto", dense_bytes=3000 * MIB)) == line
    assert str(Fused(MIB, compile=True)) == "triton, compiled, 1 MiB of logits at a time"


def test_the_probe_tries_what_runs_here_and_prints_its_times() -> None:
    choice = choose("probe")
    assert choice.backend == Chunked(64 * MIB)
    assert choice.why.startswith("the fastest of: chunked ") and choice.why.endswith(" ms")


def test_logits_take_what_is_held_of_them() -> None:
    assert Dense().logits_bytes(500) == 500
    assert (Dense().waiting_bytes(500), Chunked(200).waiting_bytes(500)) == (0, 500)
    assert (Chunked(200).logits_bytes(500), Chunked(200).logits_bytes(100)) == (200, 100)


def test_triton_without_cuda_and_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match="needs a CUDA device, not cpu; choose auto, dense, chunked or probe"):
        choose("triton")
    with pytest.raises(ConfigError, match="choose auto, dense, chunked, triton, probe"):
        choose("fast")
