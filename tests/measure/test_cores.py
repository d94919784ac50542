"""Cores: hyper-threads and quotas as the kernel writes them, in made-up folders; masks of real threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from fflib.files import ROOT, InputError
from fflib.measure import cores, hardware

needs_pinning = pytest.mark.skipif(not cores.can_pin(), reason="this system pins no threads")


def machine(root: Path, siblings: list[str] = (), **files: str) -> Path:
    """Write the list of siblings of each CPU, and files under names in which __ stands for a slash."""
    for cpu, text in enumerate(siblings):
        files[f"sys__devices__system__cpu__cpu{cpu}__topology__thread_siblings_list"] = f"{text}\n"
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("siblings", "allowed", "wanted"),
    [
        (["0,4", "1,5", "2,6", "3,7"] * 2, range(8), (0, 1, 2, 3)),
        (["0-1", "0-1", "2-3", "2-3"], range(4), (0, 2)),
        (["0-1,4", "0-1,4", "2-3", "2-3", "0-1,4"], range(5), (0, 2)),
        (["0,2", "1,3"] * 2, [3, 2], (2, 3)),  # of each core, only the second thread may be used
        (["0,2", "1,3"] * 2, [1, 2, 3], (1, 2)),
        (["0", "1"], [1], (1,)),
        ([], [5, 3], (3, 5)),  # the system tells nothing
    ],
)
def test_one_cpu_of_each_core(tmp_path, siblings, allowed, wanted):
    assert cores._within(allowed, machine(tmp_path, siblings)) == wanted


@pytest.mark.parametrize(
    ("files", "granted"),
    [
        ({}, 8),
        ({"sys__fs__cgroup__cpu.max": "200000 100000"}, 8),  # of nobody's group
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "200000 100000\n"}, 2),
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "max 100000\n"}, 8),
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "275000 100000\n"}, 2),
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "25000 100000\n"}, 1),
        ({"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "9900000 100000\n"}, 8),
        ({"proc__self__cgroup": "0::/a/b\n", "sys__fs__cgroup__a__b__cpu.max": "300000 100000\n"}, 3),
        (
            {
                "proc__self__cgroup": "0::/a/b\n",
                "sys__fs__cgroup__a__b__cpu.max": "max 100000\n",
                "sys__fs__cgroup__a__cpu.max": "400000 100000\n",
                "sys__fs__cgroup__other__cpu.max": "100000 100000\n",
            },
            4,
        ),
        (
            {
                "proc__self__cgroup": "3:memory:/m\n2:cpu,cpuacct:/job\n1:name=systemd:/\n",
                "sys__fs__cgroup__cpu__job__cpu.cfs_quota_us": "150000\n",
                "sys__fs__cgroup__cpu__job__cpu.cfs_period_us": "50000\n",
                "sys__fs__cgroup__cpu__cpu.cfs_quota_us": "-1\n",
                "sys__fs__cgroup__cpu__cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (  # a container: its group has the host's name, its limit lies in the outermost folder
            {
                "proc__self__cgroup": "4:cpu:/docker/0123\n",
                "sys__fs__cgroup__cpu__cpu.cfs_quota_us": "500000\n",
                "sys__fs__cgroup__cpu__cpu.cfs_period_us": "100000\n",
            },
            5,
        ),
        (
            {
                "proc__self__cgroup": "5:cpuset:/job\n",
                "sys__fs__cgroup__cpu__job__cpu.cfs_quota_us": "100000\n",
                "sys__fs__cgroup__cpu__job__cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_the_quota_of_the_group_and_its_parents(tmp_path, files, granted):
    assert cores._within(range(8), machine(tmp_path, [], **files)) == tuple(range(granted))


def test_a_quota_counts_cores_not_hyper_threads(tmp_path):
    files = {"proc__self__cgroup": "0::/\n", "sys__fs__cgroup__cpu.max": "300000 100000\n"}
    assert cores._within(range(8), machine(tmp_path, ["0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"], **files))
    assert cores._within(range(8), tmp_path) == (0, 2, 4)


@needs_pinning
def test_this_machine():
    found = cores.physical_cores()
    assert set(found) <= os.sched_getaffinity(0) and list(found) == sorted(found)
    assert 1 <= len(found) <= (psutil.cpu_count(logical=False) or 1)
    assert cores.resolve_threads(0) == len(found) == hardware.available_cores()


def test_a_system_that_tells_nothing(monkeypatch):
    for name in ("sched_setaffinity", "sched_getaffinity"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 12 if logical else 6)
    assert not cores.can_pin()
    assert cores.physical_cores() == (0, 1, 2, 3, 4, 5)
    with cores.pinned([99]):
        pass
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores.physical_cores() == (0,)


def test_shares_are_disjoint_neighbours(monkeypatch):
    monkeypatch.setattr(cores, "physical_cores", lambda: (0, 2, 4, 6, 9))
    assert cores.divide(2, 2) == [(0, 2), (4, 6)]
    assert cores.divide(5, 1) == [(0,), (2,), (4,), (6,), (9,)]
    assert cores.divide(1, 5) == [(0, 2, 4, 6, 9)]
    with pytest.raises(InputError, match="3 x 2 threads need 6 cores, but this machine lends 5; give fewer"):
        cores.divide(3, 2)
    for counts in [(0, 1), (1, 0), (-1, 1), (1, -1), (-1, -1)]:
        with pytest.raises(InputError, match="give at least 1 of each"):
            cores.divide(*counts)


@needs_pinning
def test_pinned_for_the_time_being():
    before, cpu = os.sched_getaffinity(0), cores.physical_cores()[-1]
    seen = []
    with pytest.raises(KeyError), cores.pinned([cpu]):
        assert os.sched_getaffinity(0) == {cpu} == set(cores.physical_cores())
        threading.Thread(target=lambda: seen.append(os.sched_getaffinity(0))).start()
        while not seen:
            pass
        raise KeyError
    assert os.sched_getaffinity(0) == before
    assert seen == [{cpu}]


@needs_pinning
def test_only_the_calling_thread_is_pinned():
    before, cpu = os.sched_getaffinity(0), cores.physical_cores()[0]
    inside, done = threading.Event(), threading.Event()

    def other():
        with cores.pinned([cpu]):
            inside.set()
            done.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(30)
    mask = os.sched_getaffinity(0)
    done.set()
    thread.join()
    assert mask == before


@needs_pinning
@pytest.mark.parametrize("cpus", [[], [100_000], [-1]])
def test_cores_that_are_not_there(cpus):
    before = os.sched_getaffinity(0)
    with pytest.raises(InputError, match="may not use the cores"), cores.pinned(cpus):
        pass
    assert os.sched_getaffinity(0) == before


def test_no_pytorch():
    code = "import sys, fflib.measure.cores; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_hyper_threads_count_as_two_only_if_asked(monkeypatch):
    """Two cores with two halves each, numbered as Linux does: 0 and 2 are one core."""
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(cores, "can_pin", lambda: True)
    monkeypatch.setattr(cores, "_siblings", lambda cpu, root: {cpu % 2, cpu % 2 + 2})
    monkeypatch.setattr(cores, "_quota", lambda root: float("inf"))
    assert cores.physical_cores() == (0, 1) and cores.logical_cpus() == (0, 1, 2, 3)
    assert cores.divide(4, 1, hyper_threads=True) == [(0,), (1,), (2,), (3,)]
    with pytest.raises(InputError, match="need 4 cores, but this machine lends 2"):
        cores.divide(4, 1)
    monkeypatch.setattr(cores, "_quota", lambda root: 3.5)
    assert cores.logical_cpus() == (0, 1, 2)
