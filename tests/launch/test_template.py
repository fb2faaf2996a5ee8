"""The script as text, and what it does, with stand-ins for srun and scontrol."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from franca import assets
from franca.launch.profile import Profile
from franca.launch.record import read_events
from franca.launch.template import LOCK_NAME, Job, sbatch_options, sbatch_text
from tests.launch.jobs import fake_command, make_job

TEMPLATE = assets.path("slurm", "job.sbatch").read_text()


def test_every_placeholder_is_filled_and_bash_understands_it(tmp_path: Path) -> None:
    text = sbatch_text(TEMPLATE, Profile(environment=["module load cuda"]), make_job(tmp_path))
    assert "module load cuda\n" in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert text == sbatch_text(TEMPLATE, Profile(environment=["module load cuda"]), make_job(tmp_path))


def test_what_the_profile_says_is_asked_for(tmp_path: Path) -> None:
    profile = Profile(
        partition="gpu",
        account="abc",
        qos="long",
        constraint="a100&nvlink",
        cpus_per_task=8,
        memory_per_task_gb=30,
        exclusive=True,
        signal="USR1",
        grace_seconds=300,
        requeue=False,
        sbatch=["--mail-type=END"],
    )
    options = sbatch_options(profile, make_job(tmp_path))
    assert set(options) == {
        "--job-name=franca-mine",
        "--partition=gpu",
        "--account=abc",
        "--qos=long",
        "--constraint='a100&nvlink'",
        "--nodes=2",
        "--ntasks-per-node=4",
        "--gpus-per-node=4",
        "--cpus-per-task=8",
        "--mem=120G",
        "--time=90",
        "--signal=USR1@300",
        f"--chdir={tmp_path}",
        f"--output={tmp_path}/runs/mine/jobs/%j_0_log.out",
        "--open-mode=append",
        "--no-requeue",
        "--exclusive",
        "--mail-type=END",
    }
    assert options[-1] == "--mail-type=END"  # sbatch takes the last of two


def test_gpus_are_asked_for_as_the_cluster_wants(tmp_path: Path) -> None:
    def about_gpus(profile: Profile, gpus: int) -> list[str]:
        return [
            option for option in sbatch_options(profile, make_job(tmp_path, gpus_per_node=gpus)) if "g" in option[2]
        ]

    assert about_gpus(Profile(), 4) == ["--gpus-per-node=4"]
    assert about_gpus(Profile(gres="gpu:a100:{gpus}"), 4) == ["--gres=gpu:a100:4"]
    assert about_gpus(Profile(gres="gpu:a100:{gpus}"), 0) == []
    assert "--ntasks-per-node=1" in sbatch_options(Profile(), make_job(tmp_path, gpus_per_node=0))


def test_an_array_gives_each_element_its_number_and_its_log(tmp_path: Path) -> None:
    job = make_job(tmp_path, array=3, trains=False)
    text = sbatch_text(TEMPLATE, Profile(), job)
    assert "#SBATCH --array=0-2\n" in text and "%A_%a_0_log.out" in text
    assert '--element "$SLURM_ARRAY_TASK_ID"\n' in text


def test_jobs_of_a_chain_wait_for_each_other(tmp_path: Path) -> None:
    assert "--dependency=singleton" in sbatch_options(Profile(), make_job(tmp_path, chain=2))
    assert "--dependency=singleton" not in sbatch_options(Profile(), make_job(tmp_path))


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name has a space, and the variables of a running job."""
    folder = tmp_path / "a folder"
    (folder / "runs/mine/jobs").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    for name, value in {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1", "SLURM_JOB_NODELIST": "n[1-2]"}.items():
        monkeypatch.setenv(name, value)
    return folder


def run_script(folder: Path, profile: Profile, job: Job, *, task: str, state: str = "RUNNING") -> tuple[int, bool]:
    """The exit code of the script, and whether it asked to be put back into the queue."""
    fake_command(folder, "srun", task)
    fake_command(
        folder,
        "scontrol",
        f'if [ "$1" = requeue ]; then echo "$2" > "{folder}/requeued"; else echo "JobId=17 JobState={state} X=y"; fi',
    )
    text = sbatch_text(TEMPLATE, profile, job)
    done = subprocess.run(["bash", "-c", text], check=False, capture_output=True, text=True)
    requeued = folder / "requeued"
    assert not requeued.exists() or requeued.read_text() == "17\n"
    return done.returncode, requeued.exists()


SAVE = 'mkdir -p "{run}/checkpoints/step_00000020"; touch "{run}/checkpoints/step_00000020/COMPLETE"; '


@pytest.mark.parametrize(
    ("task", "state", "requeue", "expected"),
    [
        ("exit 0", "RUNNING", True, (0, False)),  # finished
        ("exit 1", "RUNNING", True, (1, False)),  # failed
        ("exit 2", "RUNNING", True, (2, False)),  # wrong input
        ("exit 75", "RUNNING", True, (75, True)),  # stopped by preemption or before the time limit
        ("exit 75", "COMPLETING", True, (75, False)),  # cancelled, or put back by SLURM already
        ("exit 75", "RUNNING", False, (75, False)),  # the cluster forbids it
        ("exit 140", "RUNNING", True, (140, True)),  # USR2 before the command listened
        ("exit 143", "COMPLETING", True, (143, False)),
        ("exit 137", "RUNNING", True, (137, False)),  # killed before it saved anything: it would be killed again
        (SAVE + "exit 137", "RUNNING", True, (137, True)),  # killed, but further than before
        (SAVE + "exit 1", "RUNNING", True, (1, False)),
    ],
)
def test_what_is_put_back_into_the_queue(
    task: str, state: str, requeue: bool, expected: tuple[int, bool], stage: Path
) -> None:
    job = make_job(stage)
    saved = stage / "runs/mine/checkpoints/step_00000010"  # from the start before
    saved.mkdir(parents=True)
    (saved / "COMPLETE").touch()
    found = run_script(stage, Profile(requeue=requeue), job, task=task.format(run=job.run), state=state)
    assert found == expected
    started, ended, *rest = read_events(job.run)
    assert started.facts == {"restart": "0", "nodes": "n[1-2]"}
    assert (started.job_id, ended.facts) == ("17", {"code": str(expected[0])})
    assert [event.kind for event in rest] == (
        ["requeued"] if expected[1] else ["unfinished"] * (expected[0] in (75, 143))
    )


def test_a_command_that_never_fits_into_its_time_is_not_repeated_for_ever(stage: Path) -> None:
    """Killed by the signal of the time limit, with nothing saved: the next start would come no further."""
    job = make_job(stage, trains=False, hours=1 / 60)
    assert run_script(stage, Profile(grace_seconds=30), job, task="exit 140") == (140, False)


def test_a_command_that_trains_nothing_is_not_repeated_when_killed(stage: Path) -> None:
    job = make_job(stage, trains=False)
    assert run_script(stage, Profile(), job, task=SAVE.format(run=job.run) + "exit 137") == (137, False)


def test_tasks_get_the_copy_of_the_code_and_an_address(stage: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    task = f'echo "$MASTER_ADDR $MASTER_PORT $PYTHONPATH $MINE" > "{stage}/seen"; printf "%s\\n" "$@" > "{stage}/words"'
    job = make_job(stage, command=("eval", "knn", "train=/data/{0..9}.tar"), python="/opt/my python")
    profile = Profile(environment=["export MINE=1"], srun=["--cpu-bind=cores"], cpus_per_task=2)
    assert run_script(stage, profile, job, task=task) == (0, False)
    assert (stage / "seen").read_text() == f"n1 15017 {stage}/code:/elsewhere 1\n"
    assert (stage / "words").read_text().splitlines() == [
        *("--label", "--wait=120", "--cpus-per-task=2", "--cpu-bind=cores"),
        *("/opt/my python", f"{stage}/code", "eval", "knn", "train=/data/{0..9}.tar"),
    ]


def test_a_start_waits_until_an_earlier_one_lets_go(stage: Path) -> None:
    job = make_job(stage)
    lock = job.run / LOCK_NAME
    lock.touch()
    holder = subprocess.Popen(["flock", lock, "bash", "-c", f"touch '{stage}/held'; sleep 1; touch '{stage}/let go'"])
    while not (stage / "held").exists():
        assert holder.poll() is None
    code, _ = run_script(stage, Profile(), job, task=f'[ -e "{stage}/let go" ]')
    holder.wait()
    assert code == 0


def test_the_lock_is_that_of_run_folders() -> None:
    from franca.train import run_folder

    assert run_folder.LOCK_NAME == LOCK_NAME


def test_the_short_script_does_as_the_template() -> None:
    """What decides about ranks and requeues is the same line in both."""
    short = assets.path("slurm", "pretrain.sbatch").read_text()
    subprocess.run(["bash", "-n"], input=short, text=True, check=True)
    shared = (
        "MASTER_ADDR=$SLURMD_NODENAME MASTER_PORT=$((15000 + SLURM_JOB_ID % 15000))",
        """running() { scontrol --oneliner show job "$SLURM_JOB_ID" | grep -q JobState=RUNNING; }""",
        "trap : TERM USR1 USR2",
        'scontrol requeue "$SLURM_JOB_ID"',
        "code=$?",
        "exit $code",
    )
    assert [text for text in shared if text not in short or text not in TEMPLATE] == []
    assert len(short.splitlines()) <= 15
