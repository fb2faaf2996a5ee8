"""Commands that train nothing, as jobs on a real SLURM: tasks share their work, and give what one process gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from franca.cli.main import main
from franca.evaluation.protocols import MASKS, PROTOCOLS
from franca.features.parts import read_features
from franca.models.projector_file import read_projector_file
from tests.slurm.cluster import Cluster
from tests.slurm.runs import submit, train_here

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

RUN = Path("runs/tiny")
DRAWN = ("synthetic.num_images=48", "synthetic.num_val_images=16", "synthetic.size_px=32", "workers=0", "device=cpu")

FEW_CLUSTERS = ("overcluster.num_clusters=[10]",)
"""Of 256 patches; the usual 300 are more than that."""


@pytest.fixture
def trained(cluster: Cluster) -> Cluster:
    """The cluster, with a short run in the working folder."""
    train_here(RUN, 2)
    return cluster


def run_on_two_nodes(cluster: Cluster, capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Submit a command about the run, and wait for its good end; what its ranks said."""
    (job_id,) = submit(capsys, "--profile", "cpu", "--nodes", "2", "--", *command)
    cluster.wait_for(job_id, "COMPLETED", "FAILED")
    said = (RUN / "jobs" / f"{job_id}_0_log.out").read_text()
    assert cluster.state(job_id) == "COMPLETED", said
    return said


def test_two_nodes_extract_what_one_process_does(trained: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("extract", str(RUN), "synthetic")
    run_on_two_nodes(trained, capsys, *command, "together.safetensors", *DRAWN)
    assert main([*command, "alone.safetensors", *DRAWN]) == 0
    together, alone = (read_features(Path(f"{name}.safetensors")) for name in ("together", "alone"))
    assert len(together) == len(alone) == 48
    torch.testing.assert_close(together.cls, alone.cls)


def test_two_nodes_fit_the_projector_that_one_process_does(
    trained: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("rasa", "fit", str(RUN), "data=synthetic", "directions=covariance", *DRAWN)
    said = run_on_two_nodes(trained, capsys, *command, "out=together.safetensors")
    assert said.count("wrote together.safetensors") == 1
    assert main([*command, "out=alone.safetensors"]) == 0
    together, alone = (read_projector_file(f"{name}.safetensors").projector for name in ("together", "alone"))
    assert together.rank == alone.rank
    torch.testing.assert_close(together.matrix, alone.matrix, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("needs_masks", [False, True], ids=["without masks", "with masks"])
def test_an_array_takes_every_protocol(needs_masks: bool, trained: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    """One element for each teacher, all protocols in each, and one table."""
    names = [name for name, protocol in PROTOCOLS.items() if (protocol.needs == MASKS) == needs_masks]
    data = ("train=synthetic", "val=synthetic", *DRAWN, *FEW_CLUSTERS * needs_masks)
    (job_id,) = submit(capsys, "--profile", "cpu", "--", "eval", ",".join(names), str(RUN), *data, "--exports", "all")
    for element in (f"{job_id}_0", f"{job_id}_1"):
        trained.wait_for(element, "COMPLETED", "FAILED")
        log = RUN / "jobs" / f"{element}_0_log.out"
        assert trained.state(element) == "COMPLETED", log.read_text()
    (table,) = RUN.glob("evaluations/*/table.md")
    heading, _, *rows = table.read_text().splitlines()
    assert [row.split("|")[1].strip() for row in rows] == ["teacher_step_00000000", "teacher"]
    assert [name for name in names if f"| {name} " not in heading] == []
