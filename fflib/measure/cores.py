"""Which cores this process may use, how to divide them, and how to keep a thread on its own.

Light on purpose: a process that only serves imports this module, and it must start fast.
"""

from __future__ import annotations

import functools
import math
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import psutil

from fflib.files import InputError

ARM_CORES = {  # implementer:part, of /proc/cpuinfo (Linux, arch/arm64/include/asm/cputype.h)
    "0x41:0xd03": "Cortex-A53",
    "0x41:0xd05": "Cortex-A55",
    "0x41:0xd08": "Cortex-A72",
    "0x41:0xd0b": "Cortex-A76",
    "0x41:0xd0c": "Neoverse-N1",
    "0x41:0xd40": "Neoverse-V1",
    "0x41:0xd49": "Neoverse-N2",
    "0x41:0xd4f": "Neoverse-V2",
    "0xc0:0xac3": "Ampere-1",
}


def can_pin() -> bool:
    """Say whether the system lets a thread choose its cores: Linux does, macOS does not."""
    return hasattr(os, "sched_setaffinity")


def cpu_model(root: Path = Path("/")) -> str:
    """Name the processor as the system does, with its family and model, or an ARM's codes, where it tells them."""
    cpus = [_facts(block) for block in _read(root / "proc/cpuinfo").split("\n\n") if ":" in block]
    first = cpus[0] if cpus else {}
    name = next((first[key] for key in ("model name", "cpu", "uarch") if first.get(key)), "")
    if "cpu family" in first:
        name += f" (family {first['cpu family']}, model {first.get('model', '?')})"
    # An ARM has no name there, and may have cores of two kinds.
    kinds = Counter(_arm(cpu) for cpu in cpus if "CPU part" in cpu)
    arms = " + ".join(f"{count} x {kind}" if len(kinds) > 1 else kind for kind, count in kinds.items())
    return " ".join(filter(None, [name, arms])) or _apple() or platform.processor() or platform.machine()


def _facts(block: str) -> dict[str, str]:
    lines = (line.partition(":") for line in block.splitlines())
    return {key.strip(): value.strip() for key, colon, value in lines if colon}


def _arm(cpu: Mapping[str, str]) -> str:
    """Name one ARM core by who made it, which kind it is, and its variant and revision."""
    code = f"{cpu.get('CPU implementer', '?')}:{cpu['CPU part']}".lower()
    revision = f"r{int(cpu.get('CPU variant', '0'), 0)}p{int(cpu.get('CPU revision', '0'), 0)}"
    return f"{ARM_CORES.get(code, 'ARM')} ({code}, {revision})"


@functools.cache
def _apple() -> str:
    """Return what macOS calls the processor, 'Apple M2'; '' elsewhere. `platform` only knows that it is an 'arm'."""
    if platform.system() != "Darwin":
        return ""
    try:
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def count(root: Path = Path("/")) -> int:
    """Count the physical cores of the machine, whoever may use them; where the system tells nothing, its CPUs."""
    found = psutil.cpu_count(logical=False)  # None in many virtual machines, above all on ARM
    return found or len(_one_of_each(range(os.cpu_count() or 1), root))


def physical_cores() -> tuple[int, ...]:
    """Return one logical CPU, by number, for each physical core that the calling thread may use, ascending.

    Honoured are the affinity mask and the CPU quota of the control group; of a quota of 2.5 cores two are whole. Where
    the system tells nothing (macOS), every physical core counts.
    """
    if not can_pin():
        return tuple(range(psutil.cpu_count(logical=False) or os.cpu_count() or 1))
    return _within(os.sched_getaffinity(0), Path("/"))


def logical_cpus() -> tuple[int, ...]:
    """Return every CPU that the calling thread may use, hyper-threads included, as many as the quota grants."""
    if not can_pin():
        return physical_cores()
    allowed = sorted(os.sched_getaffinity(0))
    return tuple(allowed[: max(1, int(min(len(allowed), _quota(Path("/")))))])


def resolve_threads(threads: int) -> int:
    """Turn the parameter ``threads`` into a count: 0 stands for every physical core this process may use."""
    available = len(physical_cores())
    if threads < 0 or threads > available:
        raise InputError(f"threads is {threads}, but this machine lends {available} cores; give 0 for all of them")
    return threads or available


def divide(instances: int, threads_each: int, hyper_threads: bool = False) -> list[tuple[int, ...]]:
    """Return the cores of each instance: ``threads_each`` of them, neighbours by number, and no core given twice.

    With ``hyper_threads`` the two halves of a core count as two. InputError: there are not so many, or a count is
    below 1.
    """
    cores = logical_cpus() if hyper_threads else physical_cores()
    if instances < 1 or threads_each < 1:
        raise InputError(f"there are no {instances} instances of {threads_each} threads; give at least 1 of each")
    if instances * threads_each > len(cores):
        raise InputError(
            f"{instances} x {threads_each} threads need {instances * threads_each} cores, "
            f"but this machine lends {len(cores)}; give fewer instances or threads"
        )
    return [cores[i * threads_each : (i + 1) * threads_each] for i in range(instances)]


@contextmanager
def pinned(cpus: Iterable[int]) -> Iterator[None]:
    """Keep the calling thread, and the threads it starts meanwhile, on ``cpus``; it gets back its own mask afterwards.

    Does nothing where the system cannot pin. InputError: this process may use none of ``cpus``.
    """
    if not can_pin():
        yield
        return
    cpus, before = set(cpus), os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, cpus)
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"this process may not use the cores {sorted(cpus)}; give some of {sorted(before)}") from error
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _within(allowed: Iterable[int], root: Path) -> tuple[int, ...]:
    """Pick one CPU of each core, as many as the quota grants; ``root`` is the folder of /proc and /sys."""
    found = _one_of_each(allowed, root)
    return tuple(found[: max(1, int(min(len(found), _quota(root))))])


def _one_of_each(allowed: Iterable[int], root: Path) -> list[int]:
    found: list[int] = []
    taken: set[int] = set()
    for cpu in sorted(allowed):
        if cpu not in taken:
            found.append(cpu)
            taken |= _siblings(cpu, root)
    return found


def _siblings(cpu: int, root: Path) -> set[int]:
    """Return the hyper-threads of the core of ``cpu``; the kernel lists them as '0,64', '0-1' or a mixture."""
    siblings: set[int] = set()
    for part in _read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").split(","):
        first, _, last = part.strip().partition("-")
        if first:
            siblings.update(range(int(first), int(last or first) + 1))
    return siblings


def _quota(root: Path) -> float:
    """Return the cores that the process's control group and those around it grant: infinity without a limit.

    A container may see the host's name of its group, of which it has no folder, but its own limit in the outermost.
    """
    granted = math.inf
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            top = root / "sys/fs/cgroup"
        elif "cpu" in controllers.split(","):  # version 1
            top = root / "sys/fs/cgroup/cpu"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        granted = min(granted, *(_limit(top / folder) for folder in (group, *group.parents)))
    return granted


def _limit(group: Path) -> float:
    older = " ".join(_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    words = (_read(group / "cpu.max") or older).split()  # microseconds of CPU time, and of the clock
    return math.inf if len(words) < 2 or words[0] in ("max", "-1") else int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
