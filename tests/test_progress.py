import io

import pytest

from fflib import progress


@pytest.mark.parametrize(("device", "shown"), [(None, True), ("", False)])
def test_a_chapter_without_a_terminal_has_no_bar(device, shown, monkeypatch):
    stream = io.StringIO()
    monkeypatch.delenv(progress.TERMINAL_VARIABLE, raising=False)
    if device is not None:
        monkeypatch.setenv(progress.TERMINAL_VARIABLE, device)
    monkeypatch.setattr("sys.stderr", stream)
    with progress.bar(2, "train", "step") as bar:
        bar.update()
        bar.set_postfix(dev="0.5")
    assert ("train" in stream.getvalue()) == shown


def test_a_bar_goes_to_the_terminal_that_started_the_run(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.TERMINAL_VARIABLE, str(tmp_path / "tty"))
    progress.bar(2, "train", "step").close()
    assert "train" in (tmp_path / "tty").read_text()
