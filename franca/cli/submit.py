"""``franca submit [--profile NAME|FILE] [--nodes N] [--gpus-per-node G] [--hours H] [--print] -- COMMAND …``."""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from franca.cli.main import COMMANDS, no_such_command, parse
from franca.cli.output import plain_console
from franca.config.recipes import load_recipe, to_yaml
from franca.config.schema import Config
from franca.errors import ConfigError
from franca.evaluation.exports import choose_exports
from franca.launch.profile import Profile, load_profile
from franca.launch.record import JobRecord
from franca.launch.slurm import require_slurm
from franca.launch.snapshot import Snapshot
from franca.launch.submission import Size, Work, plan_job, refuse_if_in_use, script, submit, work_folder
from franca.launch.template import Job

NOT_SUBMITTED = ("submit", "jobs", "logs")
SHARE_RANKS = ("pretrain", "eval", "extract", "rasa")
"""Commands whose work several tasks share; of any other, each task would do all of it, into the same files."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Profile and size; the command comes after ``--``."""
    parser.usage = "%(prog)s [--profile NAME|FILE] [--nodes N] [--gpus-per-node G] [--hours H] [--print] -- COMMAND …"
    parser.add_argument("--profile", metavar="NAME|FILE", help="what the cluster wants to be told; see slurm/profiles")
    parser.add_argument("--nodes", metavar="N", type=_positive, help="nodes of the job")
    parser.add_argument("--gpus-per-node", metavar="G", type=_natural, help="GPUs, and tasks, of a node; 0: no GPU")
    parser.add_argument("--hours", metavar="H", type=_hours, help="time limit of one start")
    parser.add_argument("--chain", metavar="K", type=_positive, default=1, help="K jobs, one after another")
    parser.add_argument("--print", action="store_true", help="print the script instead of submitting it")


def run(args: argparse.Namespace) -> int:
    """Submit a command of ours as a job, or print the script that would be submitted."""
    if not args.command:
        raise ConfigError(f"no command: franca submit [OPTIONS] -- COMMAND …\nCommands: {', '.join(_submitted())}.")
    profile = load_profile(args.profile)
    config, fresh = _training(args.command) if args.command[0] == "pretrain" else (None, False)
    work = _other_work(args.command) if config is None else _training_work(config)
    snapshot = Snapshot(work.files)
    size = Size(nodes=args.nodes, gpus_per_node=args.gpus_per_node, hours=args.hours, chain=args.chain)
    job = plan_job(work, size, profile, snapshot, python=sys.executable, directory=Path.cwd())
    _refuse_several_tasks(args.command[0], job)
    text = script(profile, job)
    if args.print:
        print(text, end="")
        return 0
    if profile.executor == "slurm":
        require_slurm()
    if config is not None:
        _prepare_run_folder(config, fresh=fresh)
    _report(submit(text, profile, job, snapshot), profile, job)
    return 0


def _training(command: Sequence[str]) -> tuple[Config, bool]:
    """The complete configuration of ``pretrain …``, with an absolute run folder, and whether to start anew."""
    args = parse("pretrain", command[1:])
    if args.dry_run:
        raise ConfigError("--dry-run takes seconds and needs no job: run franca pretrain … --dry-run here")
    config = load_recipe(args.recipe, args.overrides)
    folder = os.path.abspath(os.path.expanduser(config.run.dir or f"runs/{Path(args.recipe).stem}"))
    return replace(config, run=replace(config.run, dir=folder)), args.fresh


def _training_work(config: Config) -> Work:
    """The job trains from the copy of the configuration, so that an edit of the recipe does not reach it."""
    return Work(words=("pretrain",), run=Path(str(config.run.dir)), files={"config.yaml": to_yaml(config)}, trains=True)


def _prepare_run_folder(config: Config, *, fresh: bool) -> None:
    """Refuse now what the job would refuse, and do what ``--fresh`` asks for once, not at every restart."""
    from franca.train.run_folder import open_run_folder  # torch takes seconds to import

    refuse_if_in_use(Path(str(config.run.dir)))
    folder, _ = open_run_folder(config, fresh=fresh)
    folder.close()


def _other_work(command: Sequence[str]) -> Work:
    """Any other command, as it stands; evaluations over exports become an array."""
    name, *words = command
    if name not in _submitted():
        raise no_such_command(name, _submitted())
    args = parse(name, words)
    if name == "eval":
        _check_evaluation(args)
    chosen = getattr(args, "exports", None)
    if chosen is None or args.element is not None:
        return Work(words=tuple(command), run=work_folder(tuple(command)))
    exports = choose_exports(Path(os.path.expanduser(args.model)), chosen)  # frozen: a run that goes on makes more
    names = ",".join(path.stem for path in exports)
    return Work(
        words=("eval", args.protocols, args.model, *args.words, "--exports", names),
        run=work_folder(tuple(command)),
        array=len(exports),
    )


def _check_evaluation(args: argparse.Namespace) -> None:
    """Refuse now what every element of an array would refuse."""
    from franca.cli.eval import read_request  # torch takes seconds to import
    from franca.evaluation.protocols import read_options

    read_options(args.protocols.split(","), read_request(args.words).overrides)


def _refuse_several_tasks(name: str, job: Job) -> None:
    """Raise where tasks would do the same work beside each other."""
    if name not in SHARE_RANKS and job.nodes * job.tasks_per_node > 1:
        raise ConfigError(
            f"franca {name} is one process, and this job would start {job.nodes * job.tasks_per_node} of them "
            f"({_count(job.nodes, 'node')} x {_count(job.tasks_per_node, 'task')}): add --nodes 1 --gpus-per-node 1, "
            f"or 0 for no GPU\nCommands that share work between tasks: {', '.join(SHARE_RANKS)}."
        )


def _submitted() -> list[str]:
    return [name for name in COMMANDS if name not in NOT_SUBMITTED]


def _report(records: Sequence[JobRecord], profile: Profile, job: Job) -> None:
    """What was submitted, and how to follow, stop and resume it."""
    ids = [record.job_id for record in records]
    log = str(job.jobs / f"{ids[0]}_{'*_' if job.array else ''}0_log.out")
    if profile.executor == "slurm":
        stop = f"scancel {' '.join(ids)}"
        size = f"{_count(job.nodes, 'node')} x {_count(job.tasks_per_node, 'task')}"
        size += f", array of {job.array}" if job.array else ""
    else:
        stop, size = f"kill {ids[0]}", f"{_count(job.tasks_per_node, 'task')}, in the background of this machine"
    shown = shlex.quote(os.path.relpath(job.run) if job.run.is_relative_to(Path.cwd()) else str(job.run))
    rows = {
        "job": f"{', '.join(ids)} ({size})",
        "run folder": str(job.run),
        "log": log,
        "follow": f"franca jobs {shown}; franca logs {shown} -f",
        "stop": stop,
        "resume": "the same line again goes on from the newest checkpoint" if job.trains else "the same line again",
    }
    console = plain_console(soft_wrap=True)
    for name, value in rows.items():
        console.print(f"{name:<11} {value}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + "s" * (number != 1)


def _positive(text: str) -> int:
    return _at_least(1, text)


def _natural(text: str) -> int:
    return _at_least(0, text)


def _hours(text: str) -> float:
    try:
        if 0 < (hours := float(text)) < math.inf:
            return hours
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a number > 0, found {text!r}")


def _at_least(low: int, text: str) -> int:
    try:
        if (number := int(text)) >= low:
            return number
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"expected a whole number >= {low}, found {text!r}")
