"""A real Slurm on this machine's loopback: munge, a controller and several virtual nodes, in a folder of its own.

    with virtual_slurm.started(folder, nodes=3) as cluster:
        subprocess.run(["sbatch", ...], env=os.environ | cluster.variables)

It needs Debian's packages slurmctld, slurmd, slurm-client and munge; `missing` says which of their commands are not
there. Nothing of the machine's own Slurm is read or written, ports are free ones, and each daemon is ended, whatever
happens in between. Each node is a slurmd of its own with a port of its own, on the processors of this machine.

python tests/virtual_slurm.py FOLDER [NODES]    start one by hand; it prints what to export, and runs until Ctrl-C
"""

from __future__ import annotations

import ctypes
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # where Debian puts daemons
PR_SET_PDEATHSIG = 1  # of prctl(2), on Linux
CPUS = len(os.sched_getaffinity(0))  # of each node: all that this process may use
CONFIG = """
ClusterName=virtual
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
InactiveLimit=0
KillWait=3
MessageTimeout=20
MpiDefault=none
MaxJobCount=40
{nodes}
PartitionName=all Nodes=n[1-{count}] Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} RealMemory=8000 State=UNKNOWN"


def missing() -> str:
    """Say which command of Slurm is not there and how to get it; '' where all are."""
    lacking = [name for name in COMMANDS if not shutil.which(name, path=PATH)]
    if not lacking:
        return ""
    return f"no {lacking[0]} here: apt-get install slurmctld slurmd slurm-client munge"


@dataclass
class Cluster:
    """A Slurm that runs. ``variables`` are for the environment of whoever talks to it."""

    folder: Path
    variables: dict[str, str]
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def ask(self, *command: str) -> str:
        """Return what a command of Slurm says."""
        environ = os.environ | self.variables
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout

    def states(self) -> dict[str, str]:
        """Return the state of each node: idle, alloc, drain, down ..."""
        lines = self.ask("sinfo", "--noheader", "--Node", "--format=%N %t").split("\n")
        return dict(line.split() for line in lines if line)

    def jobs(self, state: str = "all") -> list[str]:
        """Return the numbers of the jobs in a state."""
        return self.ask("squeue", "--noheader", f"--states={state}", "--format=%i").split()

    def kill_node(self, name: str) -> None:
        """End a node's daemon at once, with what it runs, as a power cut would; Slurm finds out by itself."""
        daemon, jobs = self.daemons.pop(name), _of_node(self.folder, name)
        # First who could tell the controller how a job ended: the node's daemon, and those that watch its jobs.
        for process in [daemon.pid, *_watchers(jobs), *jobs]:
            _signal(process, signal.SIGKILL)
        daemon.wait(timeout=20)

    def start_node(self, name: str) -> None:
        """Start a node's daemon (again)."""
        _start(self, name, "slurmd", "-D", "-N", name, "-f", str(self.folder / "slurm.conf"))


@contextmanager
def started(folder: Path, nodes: int = 2) -> Iterator[Cluster]:
    """Yield a Slurm of so many nodes in ``folder``, which should have a short path; at the end nothing of it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    cluster = Cluster(folder, {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH})
    try:
        _write_config(folder, nodes)
        cluster.variables["PATH"] = f"{_commands(folder)}:{PATH}"
        _start_munge(cluster)
        _start(cluster, "slurmctld", "slurmctld", "-D", "-c", "-f", str(folder / "slurm.conf"))
        for i in range(nodes):
            cluster.start_node(f"n{i + 1}")
        _wait(cluster)
        yield cluster
    finally:
        _stop(cluster)


def _write_config(folder: Path, nodes: int) -> None:
    (folder / "state").mkdir(exist_ok=True)
    host, ports = socket.gethostname().partition(".")[0], _free_ports(nodes + 1)
    lines = [NODE.format(i=i, host=host, port=port, cpus=CPUS) for i, port in enumerate(ports[1:], 1)]
    text = CONFIG.format(
        folder=folder, controller_port=ports[0], user=getpass.getuser(), nodes="\n".join(lines), count=nodes
    )
    (folder / "slurm.conf").write_text(text)


def _commands(folder: Path) -> Path:
    """Write commands of Slurm that ask this one: snakemake's jobs drop the variable that says which."""
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("sbatch", "squeue", "scontrol", "scancel", "sinfo", "srun"):
        path, real = folder / "bin" / name, shutil.which(name, path=PATH)
        path.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {real} "$@"\n')
        path.chmod(0o755)
    return folder / "bin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _start_munge(cluster: Cluster) -> None:
    key = cluster.folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o600)
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    options = [f"--{option}={cluster.folder}/munge.{name}" for option, name in files.items()]
    # Forced, for a temporary folder's permissions are not those that it wants of /var.
    _start(cluster, "munged", "munged", "--foreground", "--force", "--num-threads=1", *options)
    _until(lambda: (cluster.folder / "munge.socket").exists(), "munge listens", cluster)


def _start(cluster: Cluster, name: str, *command: str) -> None:
    with (cluster.folder / f"{name}.out").open("ab") as out:
        environ = {"PATH": PATH, "HOME": os.environ.get("HOME", "/"), "SLURM_CONF": cluster.variables["SLURM_CONF"]}
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ, preexec_fn=_end_with_the_tests
        )
    cluster.daemons[name] = process


def _end_with_the_tests() -> None:
    """Let the kernel end a daemon when who started it is gone, however that came: nothing stays behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _wait(cluster: Cluster) -> None:
    def is_up() -> bool:
        try:
            return all(state == "idle" for state in cluster.states().values())
        except subprocess.SubprocessError:
            return False

    _until(is_up, "all nodes are idle", cluster)


def _until(is_so, what: str, cluster: Cluster, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        dead = [name for name, process in cluster.daemons.items() if process.poll() is not None]
        if dead or time.monotonic() > end:
            logs = [path.read_text(errors="replace")[-600:] for path in sorted(cluster.folder.glob("*.[lo][ou][gt]"))]
            raise RuntimeError(f"the virtual Slurm did not start ({what}; ended: {dead}):\n" + "\n".join(logs))
        time.sleep(0.2)


def _stop(cluster: Cluster) -> None:
    """End the jobs, then every daemon, then what is left of the jobs: by number, nothing by name."""
    jobs = {each for name in cluster.daemons for each in _of_node(cluster.folder, name)}
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in cluster.daemons.values():
            _signal(process.pid, number)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(process.poll() is None for process in cluster.daemons.values()):
            time.sleep(0.1)
    for process in jobs:
        _signal(process, signal.SIGKILL)


def _of_node(folder: Path, name: str) -> list[int]:
    """Return the numbers of what a node runs for its jobs: each holds the node's name and this Slurm's file."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environ = (path / "environ").read_bytes().split(b"\0")
            line = (path / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        mine = f"SLURM_CONF={folder}/slurm.conf".encode() in environ
        if mine and (f"SLURMD_NODENAME={name}".encode() in environ or f"[{name}" in line or f"-N\0{name}\0" in line):
            found.append(int(path.name))
    return [number for number in found if number != os.getpid()]


def _watchers(jobs: list[int]) -> list[int]:
    """Return the numbers of the slurmstepd above a node's jobs."""
    found = set()
    for job in jobs:
        try:
            parent = int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1])
            if Path(f"/proc/{parent}/comm").read_text().startswith("slurmstepd"):
                found.add(parent)
        except OSError:
            continue
    return sorted(found)


def _signal(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except (ProcessLookupError, PermissionError):
        return


if __name__ == "__main__":
    with started(Path(sys.argv[1]).resolve(), int((sys.argv[2:] or ["3"])[0])) as by_hand:
        print("\n".join(f"export {name}={value}" for name, value in by_hand.variables.items()), flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("stopped")
