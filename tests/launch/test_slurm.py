"""What is understood of SLURM's commands, with stand-ins for them; tests/slurm has the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from franca.errors import ConfigError
from franca.launch.slurm import FORGOTTEN, JobState, job_states, of_job, require_slurm, submit_text
from tests.launch.jobs import fake_command


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path, but for those of bash."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "cat", "cp"):
        (folder / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_a_machine_without_slurm_is_told_what_to_do(commands: Path) -> None:
    with pytest.raises(ConfigError, match="no SLURM on this machine") as caught:
        require_slurm()
    assert "--print" in str(caught.value) and "--profile local" in str(caught.value)
    for name in ("sbatch", "srun"):
        fake_command(commands, name, "")
    require_slurm()


def test_the_script_reaches_sbatch_as_it_is_and_is_kept(commands: Path, tmp_path: Path) -> None:
    fake_command(commands, "srun", "")
    fake_command(commands, "sbatch", f'cp "$1" "{tmp_path}/seen"; echo Submitted batch job 42')
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    assert submit_text("#!/bin/bash\necho ${X} %j\n", jobs) == "42"
    assert (tmp_path / "seen").read_text() == (jobs / "42_submission.sh").read_text() == "#!/bin/bash\necho ${X} %j\n"
    assert list(jobs.glob("*.pkl")) == []


def test_a_refusal_holds_the_words_of_sbatch(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(commands, "srun", "")
    fake_command(commands, "sbatch", "echo sbatch: error: invalid partition specified: gpuu >&2; exit 1")
    with pytest.raises(ConfigError, match="invalid partition specified: gpuu"):
        submit_text("#!/bin/bash\n", tmp_path)
    assert capsys.readouterr().err == ""
    assert [path for path in tmp_path.iterdir() if path != commands] == []


SQUEUE = """case "$*" in *--jobs=5,6,7*) cat <<'ROWS'
5|RUNNING|1-02:03:04
6_0|COMPLETED|10:00
6_1|PENDING|10:00
ROWS
esac"""


def test_the_queue_is_asked_then_the_accounting(commands: Path) -> None:
    fake_command(commands, "squeue", SQUEUE)
    expected = {
        "5": JobState("RUNNING", "1-02:03:04"),
        "6_0": JobState("COMPLETED"),
        "6_1": JobState("PENDING", "10:00"),
    }
    assert job_states(["5", "6", "7"]) == expected
    fake_command(
        commands, "sacct", "echo 'JobID|State|NodeList'; echo '7|CANCELLED by 1000|n1'; echo '7.batch|FAILED|n1'"
    )
    assert job_states(["5", "6", "7"]) == expected | {"7": JobState("CANCELLED")}


@pytest.mark.parametrize(
    "script", ["echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "echo '|'", None], ids=str
)
def test_what_the_cluster_does_not_know_is_left_out(script: str | None, commands: Path) -> None:
    if script is not None:
        fake_command(commands, "squeue", script)
        fake_command(commands, "sacct", "echo Slurm accounting storage is disabled >&2; exit 1")
    assert job_states(["5"]) == {}


def test_only_jobs_that_wait_or_run_are_active() -> None:
    assert JobState("PENDING").is_active and JobState("COMPLETING").is_active and JobState("REQUEUE_HOLD").is_active
    assert not any(JobState(state).is_active for state in ("COMPLETED", "TIMEOUT", "NODE_FAIL", FORGOTTEN))


def test_elements_belong_to_their_array() -> None:
    assert of_job("12", "12") and of_job("12_3", "12")
    assert not of_job("123", "12") and not of_job("1_12", "12")
