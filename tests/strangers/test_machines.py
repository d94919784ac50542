"""Other machines: what their kernels say of processors and counters, and what their folders are called.

By symptom: energy counted twice; all ARM machines share their results' keys; hyper-threads where there are none.
"""

from __future__ import annotations

import platform

import papermill
import psutil
import pytest

from fflib.book import execute
from fflib.files import ROOT
from fflib.measure import cores, cost, hardware
from fflib.runs import params

ARM = "processor\t: {}\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd\nCPU implementer\t: {}\nCPU architecture: 8\n"
ARM += "CPU variant\t: 0x{}\nCPU part\t: {}\nCPU revision\t: 1\n"
X86 = "processor\t: {}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 207\nmodel name\t: Some Processor\n"


def told(tmp_path, *blocks):
    (tmp_path / "proc").mkdir(exist_ok=True)
    (tmp_path / "proc" / "cpuinfo").write_text("\n".join(blocks) + "\n")
    return cores.cpu_model(tmp_path)


def test_arm_processors_are_told_from_one_another(tmp_path):
    names = [
        told(tmp_path, *(ARM.format(i, *codes) for i in range(2)))
        for codes in (("0x41", 3, "0xd0c"), ("0x41", 1, "0xd40"), ("0x41", 0, "0xd4f"), ("0xc0", 0, "0xac3"))
    ]
    assert names[0] == "Neoverse-N1 (0x41:0xd0c, r3p1)" and len({*names}) == 4
    assert told(tmp_path, ARM.format(0, "0x99", 0, "0x123")) == "ARM (0x99:0x123, r0p1)", "one that nobody has named"


def test_cores_of_two_kinds_are_both_named(tmp_path):
    small, big = ("0x41", 0, "0xd03"), ("0x41", 0, "0xd08")
    blocks = [ARM.format(i, *(small if i < 4 else big)) for i in range(6)]
    assert told(tmp_path, *blocks) == "4 x Cortex-A53 (0x41:0xd03, r0p1) + 2 x Cortex-A72 (0x41:0xd08, r0p1)"


def test_other_processors_keep_their_names(tmp_path):
    assert told(tmp_path, X86.format(0), X86.format(1)) == "Some Processor (family 6, model 207)"
    assert told(tmp_path, "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n") == "POWER9, altivec supported"
    assert cores.cpu_model(tmp_path / "nothing") in (platform.processor() or platform.machine(), cores._apple())


def test_a_processor_whose_name_is_no_utf_8_has_one(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_bytes(b"processor\t: 0\nmodel name\t: Acme\xae One\n")
    assert cores.cpu_model(tmp_path) == "Acme\ufffd One"


def test_where_the_system_counts_no_cores_its_siblings_tell(tmp_path, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4 if logical else None)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 4)
    assert cores.count(tmp_path) == 4, "nothing is known of siblings: no hyper-threads"
    for cpu in range(4):
        path = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"
        path.parent.mkdir(parents=True)
        path.write_text("0-1\n" if cpu < 2 else f"{cpu}\n")  # a hybrid: one core of two threads, two of one
    assert cores.count(tmp_path) == 3


def test_a_machine_that_counts_no_cores_has_no_hyper_threads(monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 1 if logical else None)
    monkeypatch.setattr(cores.os, "cpu_count", lambda: 1)
    card = hardware.card()
    assert card["cores"] == 1 and card["hyper_threads"] is False


@pytest.mark.parametrize("unreadable", [False, True])
def test_a_package_that_is_listed_twice_counts_once(tmp_path, unreadable):
    listed = {"intel-rapl:0": "package-0", "intel-rapl-mmio:0": "package-0", "intel-rapl:1": "package-1"}
    listed |= {"intel-rapl:0:0": "core", "intel-rapl:0:1": "dram", "intel-rapl:2": "psys"}
    for folder, name in listed.items():
        (tmp_path / folder).mkdir()
        for file, text in (("name", name), ("energy_uj", "100"), ("max_energy_range_uj", "1000")):
            (tmp_path / folder / file).write_text(f"{text}\n")
    if unreadable:  # the usual one has no range: then the other counts
        (tmp_path / "intel-rapl:0" / "max_energy_range_uj").unlink()
    meter = cost.meter(tmp_path)
    before = meter.read()
    for folder in listed:
        (tmp_path / folder / "energy_uj").write_text("400\n")
    assert meter.joules_since(before) == pytest.approx(2 * 300 / 1e6)


def test_a_kernel_may_take_minutes_to_start(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / "out {put} 'ü'"))

    def noted(source, target, *arguments, **options):
        given.update(options)
        raise RuntimeError("Kernel died before replying to kernel_info")

    monkeypatch.setattr(papermill, "execute_notebook", noted)
    with pytest.raises(execute.ChapterFailed, match="could not start"):
        execute.run_chapter(params.load_run("docs-cpu", "smoke"), "09_story")
    assert given["start_timeout"] >= 300


def test_checkouts_have_the_same_bytes_everywhere():
    assert "* text=auto eol=lf" in (ROOT / ".gitattributes").read_text().splitlines()
    for path in [ROOT / "Makefile", *(ROOT / ".ci").iterdir(), *(ROOT / "params").rglob("*.yaml")]:
        assert b"\r" not in path.read_bytes(), path
