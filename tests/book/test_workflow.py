"""What ends before anything else: a device that cannot be used here."""

from __future__ import annotations

import pytest
import torch

from fflib.book import execute, lock, plan, workflow
from fflib.files import InputError
from fflib.runs import params, records

ON_CARD = ["--hardware", "gpu", "--size", "smoke"]


@pytest.fixture
def no_card(monkeypatch):
    """No card, whatever this machine has; and nothing that would be done with one may be."""
    monkeypatch.setattr(torch.version, "cuda", None)

    def not_now(*arguments, **options):
        raise AssertionError("something was done before the device was looked at")

    monkeypatch.setattr(lock, "of_book", not_now)
    monkeypatch.setattr(records, "set_aside", not_now)
    monkeypatch.setattr(plan.snake, "dry_run", not_now)


def ends_in_one_sentence(capsys, status) -> None:
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert status == 2 and told.startswith("error: there is no graphics card to use: PyTorch")
    assert "without CUDA" in told and "install a build with CUDA" in told and "leave HARDWARE=gpu out" in told


@pytest.mark.parametrize("command", ["book", "plan", "check", "chapter"])
def test_without_a_card_every_command_ends_before_it_began(no_card, capsys, monkeypatch, command):
    monkeypatch.setattr(workflow.lifeline, "watch", lambda *arguments: None)
    monkeypatch.setattr(workflow.lifeline, "hand_down", lambda *arguments: None)
    monkeypatch.setattr(workflow.environment, "told", lambda: "")
    monkeypatch.setattr(workflow, "misspelt", lambda environ: [])
    if command in ("book", "plan"):
        status = workflow.main(["book", *ON_CARD]) if command == "book" else plan.main(ON_CARD)
    else:
        chapter = ["01_baseline"] if command == "chapter" else []
        monkeypatch.setattr(execute.sys, "argv", ["execute", command, *chapter, *ON_CARD])
        if command == "check":  # it takes the lock for what it looks at
            with pytest.raises(InputError, match="there is no graphics card to use"):
                execute.check(params.load_run("docs-cpu", "smoke", "gpu"))
            return
        status = execute.main()
    ends_in_one_sentence(capsys, status)


def test_with_the_processor_as_its_device_the_same_run_is_sound(no_card):
    run = params.load_run("docs-cpu", "smoke", "gpu", ["device=cpu"])
    workflow.check_machine(run)
    assert run.folder.name == "docs-cpu-gpu-smoke", "beside the run on processors, never over it"


def test_the_run_on_processors_asks_for_no_card(no_card):
    workflow.check_machine(params.load_run("docs-cpu", "smoke"))
