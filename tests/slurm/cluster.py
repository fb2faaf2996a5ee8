"""A real SLURM for tests: munged, slurmctld and two slurmd on the loopback of this machine, all under one folder."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

BINARIES = ("munged", "munge", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
HOSTS = Path("/etc/hosts")
NUM_NODES = 2
SOCKET_NAME_LENGTH = 108
"""What the system allows, with the zero at its end; slurmd would put jobs back without a word."""
CONF = """\
ClusterName=franca
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={root}/munge.socket,cred_expire=5
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool-%n
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd-%n.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=1
KillWait=30
CompleteWait=0
MinJobAge=3600
SlurmdTimeout=15
BatchStartTimeout=60
MessageTimeout=30
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE DefaultTime=10 PriorityTier=10 GraceTime=60
PartitionName=high Nodes=ALL MaxTime=INFINITE DefaultTime=10 PriorityTier=100 PreemptMode=OFF
"""
NODE = (
    "NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 Boards=1 SocketsPerBoard=1 "
    "CoresPerSocket=4 ThreadsPerCore=1 RealMemory=8000 Gres=gpu:2 State=UNKNOWN"
)


def missing() -> str | None:
    """Why no cluster can be started here, or None."""
    absent = [name for name in BINARIES if shutil.which(name) is None]
    if absent:
        return f"no {', '.join(absent)}: apt-get install slurmctld slurmd slurm-client munge"
    return None if os.getuid() == 0 else "slurmd needs root"


class Cluster:
    """Two nodes; ``with Cluster(folder) as cluster`` starts them and ends them by process id."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = socket.gethostname()
        self.port = _free_ports(1 + NUM_NODES)
        self.nodes = [f"franca{self.port}n{number}" for number in range(1, NUM_NODES + 1)]
        longest = root / f"spool-{self.nodes[0]}" / f"{self.nodes[0]}_1000.4294967291"
        assert len(str(longest)) < SOCKET_NAME_LENGTH, f"too long for a socket of SLURM, shorten --basetemp: {longest}"
        self.environment = {
            "SLURM_CONF": str(root / "slurm.conf"),
            "GLOO_SOCKET_IFNAME": "lo",
            "OMP_NUM_THREADS": "1",
        }
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        self._write_configuration()
        try:
            self._start_munge()
            self._start("slurmctld", "slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
            for node in self.nodes:
                self.start_node(node)
            wait_until(lambda: self.node_states() == {"idle"}, "both nodes are idle", seconds=60)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "slurmctld" in self.daemons:
            self.run("scancel", "--user=root", check=False)
            for _attempt in range(300):
                if not self.run("squeue", "--noheader", check=False).strip():
                    break
                time.sleep(0.1)
        for name in reversed(list(self.daemons)):
            self.stop(name)
        HOSTS.write_text("".join(line for line in HOSTS.read_text().splitlines(True) if self._mark not in line))

    def run(self, *command: str, check: bool = True) -> str:
        """Output of one of SLURM's commands, asking this cluster."""
        done = subprocess.run(
            command, env=os.environ | self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._start(node, "slurmd", "-D", "-N", node, "-f", self.environment["SLURM_CONF"])

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> None:
        """End a daemon that was started here."""
        process = self.daemons.pop(name)
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def node_states(self) -> set[str]:
        """What sinfo says of the nodes."""
        return set(self.run("sinfo", "--noheader", "--Node", "--format=%T", check=False).split())

    def job(self, job_id: str) -> dict[str, str]:
        """Everything that the controller knows about a job, by name."""
        return dict(re.findall(r"(\w+)=(\S*)", self.run("scontrol", "--oneliner", "show", "job", job_id)))

    def state(self, job_id: str) -> str:
        """A job's state, as in RUNNING."""
        return self.job(job_id)["JobState"]

    def wait_for(self, job_id: str, *states: str, seconds: float = 180) -> None:
        """Wait until a job is in one of these states."""
        deadline = time.monotonic() + seconds
        while (state := self.state(job_id)) not in states:
            assert time.monotonic() < deadline, (
                f"job {job_id} is {state}, not {' or '.join(states)}: {self.job(job_id)}"
            )
            time.sleep(0.2)

    @property
    def _mark(self) -> str:
        return f"# franca tests {self.port}"

    def _start(self, name: str, *command: str) -> None:
        with open(self.root / f"{name}.out", "ab") as output:
            self.daemons[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | self.environment,
                start_new_session=True,  # an interrupted test run ends them in order
            )

    def _start_munge(self) -> None:
        socket_path = str(self.root / "munge.socket")
        files = {"key": "munge.key", "pid": "munged.pid", "log": "munged.log", "seed": "munged.seed"}
        options = [f"--{kind}-file={self.root / name}" for kind, name in files.items()]
        self._start("munged", "munged", "--foreground", f"--socket={socket_path}", *options)
        answers = ["munge", "--no-input", f"--socket={socket_path}"]
        wait_until(lambda: subprocess.run(answers, capture_output=True, check=False).returncode == 0, "munge answers")

    def _write_configuration(self) -> None:
        for folder in (self.root, *self.root.parents):
            folder.chmod(folder.stat().st_mode | 0o011)  # munge refuses a socket that others cannot reach
        (self.root / "state").mkdir()
        for number in range(2):
            os.mknod(self.root / f"gpu{number}", 0o020666, os.makedev(1, 3))  # the null device stands for a GPU
        key = self.root / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(secrets.token_bytes(1024))
        nodes = [
            NODE.format(name=name, host=self.host, port=self.port + number)
            for number, name in enumerate(self.nodes, start=1)
        ]
        conf = CONF.format(host=self.host, port=self.port, root=self.root, nodes="\n".join(nodes))
        (self.root / "slurm.conf").write_text(conf)
        gpus = [f"NodeName={name} Name=gpu File={self.root}/gpu[0-1]\n" for name in self.nodes]
        (self.root / "gres.conf").write_text("AutoDetect=off\n" + "".join(gpus))
        (self.root / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        with open(HOSTS, "a") as hosts:  # tasks find rank 0 by the name of its node
            hosts.write(f"127.0.0.1 {self.host} {' '.join(self.nodes)} {self._mark}\n")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
    """Ask again until the condition holds; the machine may be busy, so be patient."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s in vain until {what}"
        time.sleep(0.1)


def _free_ports(number: int) -> int:
    """First of ``number`` consecutive ports that nobody listens on, below those that the system hands out."""
    for _ in range(100):
        first = 10_000 + secrets.randbelow(400) * 10
        if not any(_listening(first + offset) for offset in range(number)):
            return first
    raise RuntimeError("no free ports between 10000 and 14000")


def _listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
