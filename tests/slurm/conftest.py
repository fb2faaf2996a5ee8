"""What the tests on a real SLURM share: the cluster, and the runs that nothing interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.slurm.cluster import Cluster, missing
from tests.slurm.runs import train_here


@pytest.fixture(scope="session")
def session_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    reason = missing()
    if reason is not None:
        pytest.skip(f"no SLURM here: {reason}")
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(session_cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The cluster, which this process talks to, from an empty working folder whose name has a space."""
    for name, value in session_cluster.environment.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "my work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return session_cluster


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Gives the run of so many steps that this process trained without a break."""
    folder = tmp_path_factory.mktemp("uninterrupted")

    def run(steps: int) -> Path:
        path = folder / f"steps_{steps}"
        if not path.exists():
            train_here(path, steps)
        return path

    return run
