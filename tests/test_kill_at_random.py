"""What `kill_at_random` compares: every accuracy in the records of a run, and nothing that is timed."""

from __future__ import annotations

import json

import kill_at_random


def written(folder, dev=0.5, test=46.875, accuracy=0.75, routes=2, **rungs):
    """Write the records of two chapters as a book leaves them."""
    facts = {"teacher": {"accuracy": accuracy, "seconds": 7.0, "seeds": [{"dev": dev}]}, "latency_ms": [1.5, 2.5]}
    told = [{"dev %": 50.0 + i, "test %": test, "minutes": 3.0} for i in range(routes)]
    rungs = [{"rung": name, "accuracy": value, "latency_p50_ms": 9.0} for name, value in rungs.items()]
    (folder / "results").mkdir(parents=True)
    for chapter, record in (
        ("01_baseline", {"facts": facts, "rungs": rungs}),
        ("03_distillation", {"facts": {"routes": told}, "rungs": []}),
    ):
        (folder / "results" / f"{chapter}.json").write_text(json.dumps(record))
    return kill_at_random.accuracies(folder)


def test_accuracies_are_found_wherever_they_stand_and_times_are_not(tmp_path):
    assert written(tmp_path, teacher=0.5, reference=None) == {
        "01_baseline/facts/teacher/accuracy": 0.75,
        "01_baseline/facts/teacher/seeds/0/dev": 0.5,
        "01_baseline/rungs/teacher/accuracy": 0.5,
        "01_baseline/rungs/reference/accuracy": None,
        "03_distillation/facts/routes/0/dev %": 50.0,
        "03_distillation/facts/routes/0/test %": 46.875,
        "03_distillation/facts/routes/1/dev %": 51.0,
        "03_distillation/facts/routes/1/test %": 46.875,
    }


def test_one_that_differs_is_told_with_both_values(tmp_path):
    calm, same = written(tmp_path / "a", teacher=0.5), written(tmp_path / "b", teacher=0.5)
    assert kill_at_random.differences(calm, same) == []
    found = kill_at_random.differences(calm, written(tmp_path / "c", teacher=0.25))
    assert found == ["01_baseline/rungs/teacher/accuracy: 0.5 undisturbed, 0.25 after kills"]


def test_one_that_is_missing_differs(tmp_path):
    calm = written(tmp_path / "a", teacher=0.5)
    fewer = written(tmp_path / "b", routes=1, teacher=0.5, student=None)
    assert [each.split(":")[1] for each in kill_at_random.differences(calm, fewer)] == [
        " 51.0 undisturbed, nothing after kills",
        " 46.875 undisturbed, nothing after kills",
        " nothing undisturbed, None after kills",
    ]
    assert len(kill_at_random.differences({}, fewer)) == len(fewer)


def test_what_differs_without_a_kill_does_not_count(tmp_path):
    books = [written(tmp_path / str(i), teacher=0.5, test=40.0 + i) for i in range(2)]
    spared = kill_at_random.by_chance(books)
    assert spared == [f"03_distillation/facts/routes/{i}/test %" for i in range(2)]
    assert kill_at_random.differences(books[0], written(tmp_path / "c", teacher=0.5, test=99.0), spared) == []
    assert kill_at_random.by_chance(books[:1]) == []


def test_books_are_killed_until_all_kills_are_done(tmp_path, monkeypatch, capsys):
    """A book takes three kills, and the second of them ends with another accuracy."""
    monkeypatch.setattr(kill_at_random, "Copy", Book)
    found = kill_at_random.tried(tmp_path, [], times=5, seed=0, undisturbed=1)
    assert found == ["01_baseline/rungs/teacher/accuracy: 0.5 undisturbed, 0.25 after kills"]
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("book", "chosen"))]
    assert told == [
        "book 0: 3 kills, 1 accuracies compared, 0 differ",
        "book 1: 2 kills, 1 accuracies compared, 1 differ",
        "chosen otherwise, by timings: batches of teacher: 2 texts undisturbed, 4 texts after kills",
    ]


def test_books_that_are_done_before_the_first_kill_are_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(kill_at_random, "Copy", Book)
    monkeypatch.setattr(Book, "kill_after", lambda *_: False)
    assert kill_at_random.tried(tmp_path, [], times=5, seed=0, undisturbed=1) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("killed")] == ["killed-0"]


class Book(kill_at_random.Copy):
    """One that is done after three kills, without a book."""

    def __init__(self, folder, words):
        folder.mkdir()
        self.folder, self.kills = folder, 0

    def kill_after(self, seconds):
        self.kills += 1
        return self.kills <= 3

    def finish(self):
        return 1.0

    @property
    def run(self):
        path = self.folder / "results" / "01_baseline.json"
        other = self.folder.name == "killed-1"
        rung = {"rung": "teacher", "accuracy": 0.25 if other else 0.5, "batching": "4 texts" if other else "2 texts"}
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"facts": {}, "rungs": [rung]}))
        return self.folder
