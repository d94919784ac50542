"""What `make setup` calls, with a python and a uv that only note how they were called."""

import os
import shutil
import subprocess
import sys

import pytest

from fflib.files import ROOT

PYTHON = """#!/bin/sh
case "$*" in
    "-m pip --version") exit 0 ;;
    "-m pip config list") printf "$PIP_SETTINGS" ;;
    "-m fflib.book.vendor") exit "$VENDOR_STATUS" ;;
    *) echo "pip $*" >>"$CALLS" ;;
esac
"""
UV = """#!/bin/sh
echo "uv $*" >>"$CALLS"
exit "$UV_STATUS"
"""


@pytest.fixture
def set_up(tmp_path):
    """Run .ci/setup in a folder of its own; return its messages and who installed what, in order."""
    for name in (".ci/setup", "requirements.lock", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path, text in ((tmp_path / "env" / "bin" / "python", PYTHON), (tmp_path / "tools" / "uv", UV)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
        path.chmod(0o755)

    def run(settings="", uv="0", *options, vendor="0"):
        calls = tmp_path / "calls.txt"
        calls.write_text("")
        (tmp_path / "env" / ".ready").unlink(missing_ok=True)
        told = {"VENV": "env", "PIP_SETTINGS": settings, "UV_STATUS": uv, "CALLS": str(calls)}
        told["VENDOR_STATUS"] = vendor
        environment = os.environ | told | {"PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}"}
        command = ["sh", str(tmp_path / ".ci" / "setup"), *options]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stderr, calls.read_text().splitlines()

    return run


def test_uv_installs_where_it_is_there(set_up):
    said, calls = set_up("", "0", "--extra-index-url", "somewhere")
    assert said == "" and [call.split()[0] for call in calls] == ["uv", "uv"]
    assert calls[0].endswith("--extra-index-url somewhere -r requirements.lock") and calls[1].endswith("-e .")


def test_where_pip_was_told_something_uv_does_not_know_pip_installs(set_up):
    said, calls = set_up("global.index-url='somewhere'")
    assert said == "" and [call.split()[0] for call in calls] == ["pip", "pip"]
    assert calls[0].endswith("-r requirements.lock")


def test_what_uv_cannot_install_pip_tries(set_up):
    said, calls = set_up(uv="1")
    assert "so pip tries" in said and [call.split()[0] for call in calls] == ["uv", "pip", "uv", "pip"]


def test_a_second_time_nothing_is_done(set_up, tmp_path):
    set_up()
    environment = os.environ | {"VENV": "env", "CALLS": str(tmp_path / "calls.txt")}
    (tmp_path / "calls.txt").write_text("")
    subprocess.run(["sh", str(tmp_path / ".ci" / "setup")], env=environment, check=True)
    assert (tmp_path / "calls.txt").read_text() == ""


def test_without_the_front_end_files_the_set_up_is_done_and_says_what_will_be_missing(set_up, tmp_path):
    said, calls = set_up(vendor="2")
    assert said == 'make: so there will be no slides, and no page "try it" in the book; everything else works\n'
    assert len(calls) == 2 and (tmp_path / "env" / ".ready").exists()


def test_what_is_imported_once_is_compiled_once():
    """Packages come without compiled files; images of containers forbid to write any, and each start took 10 s more."""
    rule = 'probe: ; @python -c "import sys; print(sys.dont_write_bytecode)"'
    done = subprocess.run(
        ["make", "--no-print-directory", "--eval", rule, "probe", f"VENV={sys.prefix}"],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.stdout == "False\n", done.stderr
