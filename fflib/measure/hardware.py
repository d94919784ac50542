"""The machine: what it is, and how many threads each engine gets.

PyTorch is imported where it is used: it takes two seconds to load, and what only asks for the `card` needs none of it.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil
from threadpoolctl import threadpool_limits

from fflib.files import ROOT
from fflib.measure import cores, device
from fflib.measure.cores import resolve_threads

INSTRUCTION_SETS = (
    "avx2",
    "avx512f",
    "avx512_vnni",
    "avx_vnni",
    "avx512_bf16",
    "amx_bf16",
    "amx_int8",
    "asimddp",
    "bf16",
)
PACKAGES = ("torch", "transformers", "onnxruntime", "numpy", "datasets")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def available_cores() -> int:
    """Count the physical cores this process may use: the affinity mask and the cgroup's CPU quota are honoured."""
    return len(cores.physical_cores())


def set_threads(threads: int) -> int:
    """Give every engine the same number of threads and return it (0: all cores).

    PyTorch and the BLAS libraries are set here and now; sessions that are made later read `threads_in_use`.
    """
    import torch

    threads = resolve_threads(threads)
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    torch.set_num_threads(threads)
    threadpool_limits(threads)
    return threads


def threads_in_use() -> int:
    """Return the thread count that `set_threads` set; every engine's session asks here."""
    import torch

    return torch.get_num_threads()


def card() -> dict[str, object]:
    """Describe the machine and the software: what must stand beside every number."""
    flags = cpu_flags()
    found = {
        "cpu": cores.cpu_model(),
        "cores": cores.count(),
        "cores_available": available_cores(),
        "hyper_threads": (psutil.cpu_count() or 1) > cores.count(),
        "instruction_sets": [name for name in INSTRUCTION_SETS if name in flags],
        "ram_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "commit": git_commit(),
    }
    return found | ({"device": device.described()} if device.is_card() else {})


def git_commit() -> str:
    """Return the short commit of the project, with ``+changes`` when tracked files differ from it; '' outside git."""
    try:
        git = ["git", "-C", str(ROOT)]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def has_fast_bf16() -> bool:
    """Say whether this processor multiplies bfloat16 itself; elsewhere PyTorch emulates it, far slower than fp32."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & cpu_flags())


def multiplies_bf16(kind: str) -> bool:
    """Say whether a device, the processor or the graphics card, multiplies bfloat16 itself."""
    return has_fast_bf16() if kind == device.CPU else device.card_has_bf16()


def cpu_flags() -> set[str]:
    """Return the instruction sets by the names of /proc/cpuinfo; elsewhere (macOS, Windows) what PyTorch tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
        return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":")[1].split()}
    import torch

    capability = torch.backends.cpu.get_cpu_capability().lower()
    return {"avx2": {"avx2"}, "avx512": {"avx2", "avx512f"}}.get(capability, set())
