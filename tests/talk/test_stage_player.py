"""The scripts of the pages against scripted logs: player.test.js, in node."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("player.test.js")


@pytest.mark.skipif(not shutil.which("node"), reason="no node here: the scripts of the demos are not tried")
def test_the_player_against_scripted_logs():
    done = subprocess.run(["node", "--test", str(SCRIPT)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "# fail 0" in done.stdout, done.stdout + done.stderr
