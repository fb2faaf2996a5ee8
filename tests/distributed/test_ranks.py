"""What launchers say about ranks."""

from __future__ import annotations

import pytest

from franca.distributed.ranks import Ranks, first_host, rank_of, resolve_ranks
from franca.errors import ConfigError

TORCHRUN = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
SRUN = {
    "SLURM_JOB_ID": "123456",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_STEP_NUM_TASKS": "11",
    "SLURM_STEP_TASKS_PER_NODE": "4(x2),3",
    "SLURM_STEP_NODELIST": "gpu[03-05]",
}


def test_without_a_launcher_there_is_one_process() -> None:
    assert resolve_ranks({}) == Ranks()
    batch_script = {name: SRUN[name] for name in ("SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID")}
    assert resolve_ranks(batch_script | {"SLURM_NTASKS": "8"}) == Ranks()  # nobody else was started there


def test_torchrun() -> None:
    found = resolve_ranks(TORCHRUN)
    assert found == Ranks(rank=5, world=8, local_rank=1, local_world=4, launcher="torchrun", rendezvous="env://")
    assert str(found) == "8 ranks (torchrun, 4 a machine)" and str(Ranks()) == "1 rank"


def test_srun() -> None:
    found = resolve_ranks(SRUN)
    assert (found.rank, found.world, found.local_rank, found.local_world) == (9, 11, 1, 3)
    assert found.launcher == "srun" and found.rendezvous == "tcp://gpu03:18456"
    assert resolve_ranks(SRUN | {"SLURM_PROCID": "0", "SLURM_NODEID": "0"}).rendezvous == found.rendezvous


def test_torchrun_comes_first_where_srun_started_it() -> None:
    assert resolve_ranks(SRUN | TORCHRUN).launcher == "torchrun"


@pytest.mark.parametrize(
    ("nodes", "host"),
    [
        ("node1", "node1"),
        ("a,b", "a"),
        ("gpu[03-05,11],cpu1", "gpu03"),
        ("gpu[7,9]-ib", "gpu7-ib"),
        ("r[1-2]n[3-4],x", "r1n3"),
    ],
)
def test_the_first_host_of_a_compressed_list(nodes: str, host: str) -> None:
    assert first_host(nodes) == host


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"LOCAL_RANK": None}, "torchrun started this process, but did not set LOCAL_RANK"),
        ({"RANK": "x"}, "variables of torchrun cannot be understood"),
        ({"RANK": "8"}, "contradict each other"),
        ({"LOCAL_WORLD_SIZE": "9"}, "contradict each other"),
    ],
)
def test_nonsense_is_refused(change: dict[str, str | None], message: str) -> None:
    environment = {name: value for name, value in (TORCHRUN | change).items() if value is not None}
    with pytest.raises(ConfigError, match=message):
        resolve_ranks(environment)
    assert rank_of(environment) == 0


def test_nonsense_of_srun_is_refused() -> None:
    for change in ({"SLURM_STEP_TASKS_PER_NODE": "4*2"}, {"SLURM_NODEID": "7"}):
        with pytest.raises(ConfigError, match="variables of srun cannot be understood"):
            resolve_ranks(SRUN | change)
