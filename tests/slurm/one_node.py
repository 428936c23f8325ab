"""A real Slurm of one node, in a scratch folder: started, used and stopped without a trace outside of it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge")
# Debian keeps daemons here, which is not in everyone's PATH.
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


class Unavailable(Exception):
    """Slurm can't be run here; the message says why."""


@dataclass(frozen=True)
class Job:
    """A job as Slurm knows it."""

    number: str
    comment: str
    state: str
    memory: str
    minutes: str


@dataclass(frozen=True)
class OneNode:
    """A running Slurm."""

    environment: dict[str, str]

    def ask(self, *command: str) -> str:
        """Output of a client program."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    def jobs(self) -> list[Job]:
        """All jobs since the start, also those that have ended."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--sort=i", "--format=%i|%k|%T|%m|%l")
        return [Job(*line.split("|")) for line in lines.splitlines()]


def install() -> None:
    """Install Debian's packages.

    Raises
    ------
    Unavailable
        If that fails.
    """
    if shutil.which("apt-get") is None:
        raise Unavailable("no apt-get to install Slurm with")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *PACKAGES]
    for update in (False, True):
        if update:
            subprocess.run(["apt-get", "update"], env=environment, capture_output=True, check=False)
        if subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0:
            return
    raise Unavailable(f"apt-get could not install {' '.join(PACKAGES)}")


def require(may_install: bool) -> None:
    """Check that Slurm can be run.

    Raises
    ------
    Unavailable
        If not.
    """
    if os.geteuid() != 0:
        raise Unavailable("only root can start the daemons")
    if any(shutil.which(name, path=PATH) is None for name in PROGRAMS) and may_install:
        install()
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        raise Unavailable(f"{', '.join(missing)} not found (Debian packages: {' '.join(PACKAGES)})")


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def configuration(folder: Path) -> str:
    """Text of ``slurm.conf``; memory limits are kept by polling, so that no control groups are needed."""
    controller, node = free_ports(2)
    host = socket.gethostname().split(".")[0]
    return f"""
ClusterName=cdgm-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
AccountingStoreFlags=job_comment
SlurmdParameters=config_overrides
MinJobAge=3600
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 Boards=1 SocketsPerBoard=1 CoresPerSocket=4 \
ThreadsPerCore=1 RealMemory=12000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextlib.contextmanager
def one_node(folder: Path) -> Iterator[OneNode]:
    """Start Slurm with all of its files in ``folder``; stop it at the end.

    Raises
    ------
    Unavailable
        If it does not come up.
    """
    for name in ("controller", "node", "bin"):
        (folder / name).mkdir(mode=0o755)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    (folder / "slurm.conf").write_text(configuration(folder), encoding="utf-8")
    # Inside of a job Snakemake drops all variables of Slurm, also the one that says where this file is.
    step = folder / "bin" / "srun"
    program = shutil.which("srun", path=PATH)
    step.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {program} "$@"\n', encoding="utf-8")
    step.chmod(0o755)
    slurm = OneNode(
        os.environ | {"PATH": f"{folder}/bin{os.pathsep}{PATH}", "SLURM_CONF": str(folder / "slurm.conf")}
    )
    daemons = [
        ["munged", "--foreground", "--force", f"--key-file={key}"]
        + [f"--{what}={folder}/munge.{what.split('-')[0]}" for what in ("socket", "pid-file", "seed-file")],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    ]
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in daemons:
            with (folder / f"{command[0]}.out").open("wb") as out:
                started.append(
                    subprocess.Popen(
                        command, env=slurm.environment, stdout=out, stderr=out, start_new_session=True
                    )
                )
            time.sleep(1)
        wait_for(lambda: "idle" in slurm.ask("sinfo", "--noheader", "--format=%T"), started, folder)
        yield slurm
    finally:
        if len(started) == len(daemons) and started[1].poll() is None:
            with contextlib.suppress(subprocess.SubprocessError):
                slurm.ask("scancel", "--state=PENDING", "--user=root")
                slurm.ask("scancel", "--state=RUNNING", "--user=root", "--signal=KILL", "--full")
        time.sleep(1)
        for daemon in reversed(started):
            daemon.terminate()
        for daemon in reversed(started):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(daemon.pid, signal.SIGKILL)
                daemon.wait()


def wait_for(
    ready: Callable[[], bool], started: list[subprocess.Popen[bytes]], folder: Path, seconds: int = 30
) -> None:
    """Wait until the node is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(daemon.poll() is not None for daemon in started):
            break
        with contextlib.suppress(subprocess.SubprocessError):
            if ready():
                return
        time.sleep(0.5)
    logs = "\n".join(
        f"{file.name}: {line}"
        for file in sorted([*folder.glob("*.out"), *folder.glob("*.log")])
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()[-5:]
    )
    raise Unavailable(f"the daemons did not come up\n{logs}")
