"""Recordings: the same twice but for time, read back as written, and one for every live part."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import small_talk

from fflib.data import splits as data
from fflib.data.metrics import Gold
from fflib.files import InputError
from fflib.talk import cast as casts
from fflib.talk import recording, stage


def text_of(i):
    return f"axis: the axis number {i}", f"numpy.sum{i}(a, axis)"


class RecordedCast(small_talk.SmallCast):
    """Takes the same time for the same question, in heats that take none."""

    cores = (0, 1)
    shown = casts.Cast._shown_requests
    lanes_header = casts.Cast.lanes_header
    race = casts.Cast.race
    _shown_requests = casts.Cast._shown_requests

    def __init__(self, *_):
        super().__init__()
        n = 40
        texts = data.text_split("docs", "test", [text_of(i) for i in range(n)], Gold(np.arange(n) % 2))
        ids = [np.arange(3) + i for i in range(n)]
        tokens = data.tokenized(ids, [np.zeros(3, int)] * n, texts.gold)
        self.run = SimpleNamespace(
            folder=SimpleNamespace(name="docs-cpu"),
            requests=SimpleNamespace(texts=texts, tokens=tokens, teacher=np.arange(n) % 2),
            edited=0, fixed=lambda request: "axis: ", labels=["no", "yes"],
            task=SimpleNamespace(spans=0, text_fields=("parameter", "function")),
            lanes=[SimpleNamespace(**lane) for lane in small_talk.LANES],
            stops=[self._stop(stop) for stop in small_talk.STOPS],
        )  # fmt: skip

    @staticmethod
    def _stop(stop):
        row = stop | {"engine": "e", "precision": "fp32", "batching": "none", "speedup_step": None, "model_mb": 1.0}
        row |= {"latency_p50_ms": None, "throughput_per_s": 2.0}
        return SimpleNamespace(row=row, model=SimpleNamespace(trained=stop["trained"]))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def run_race(self, planned):
        yield from ([row] for row in small_talk.race_rows(planned))

    def tokens(self, texts, spans):
        return np.arange(len(texts[0])), None

    def ask_lane(self, lane, tokens, slot=0):
        return len(tokens[0]) % 2, 1e3 * small_talk.EACH_S[lane]

    def ask_stop(self, stop, tokens):
        return int(stop == 3 and tokens[0][0] % 3 == 0), 7.0 - stop


@pytest.fixture
def made_up(monkeypatch):
    monkeypatch.setattr(recording, "Cast", RecordedCast)
    monkeypatch.setattr(recording, "code_key", lambda folder: "c" * 16)


def test_every_live_part_has_a_recording_that_is_the_same_twice(made_up, tmp_path):
    for name in ("one", "two"):
        recording.record("run", tmp_path / name, seconds=1.0)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {f"{name}.js" for name in recording.NAMES}
    assert set(recording.NAMES) == set(recording.BUDGET_S) == set(small_talk.LOGS)
    for name in recording.NAMES:
        one, two = ((tmp_path / folder / f"{name}.js").read_text() for folder in ("one", "two"))
        dates = [re.sub(r'"date":"[^"]*"', "", text) for text in (one, two)]
        assert dates[0] == dates[1]
        assert recording.read(tmp_path / "one" / f"{name}.js")["demo"] == name


def test_the_recorded_race_holds_what_a_page_needs(made_up, tmp_path):
    recording.record("run", tmp_path, seconds=1.0)
    race = recording.read(tmp_path / "race.js")
    assert race["fields"] == ["t_ms", "lane", "request", "label", "ms"] and len(race["events"]) > 100
    assert race["seconds"] * 1e3 >= race["events"][-1][0] and race["events"] == sorted(race["events"])
    assert len(race["requests"]) == 40 and race["requests"][3] == ["axis: the axis number 3", 1, 1]
    typing = recording.read(tmp_path / "typing.js")
    assert [len(text["texts"]) for text in typing["texts"]] == [2, 2] and typing["seconds"] < 60
    assert typing["texts"][0]["fixed"] + typing["keys"][-1][2] == text_of(1)[0]
    ladder = recording.read(tmp_path / "ladder.js")
    assert len(ladder["texts"]) == recording.N_LADDER
    assert len(ladder["events"]) == recording.N_LADDER * len(small_talk.STOPS)
    apart = {row[2] for row in ladder["events"] if row[1] == 3 and row[3] == 1}
    assert len(apart) == recording.N_LADDER // 2  # half of the texts are such that a rung says something else


def test_a_script_cannot_be_ended_by_what_it_holds():
    text = recording.script("race", {"requests": ["</script><script>alert(1)</script>\u2028"]})
    assert "</" not in text and text.isascii()


def test_what_is_written_is_read(tmp_path):
    log = small_talk.race_log() | {"odd": 'é "quoted" </b>'}
    (tmp_path / "race.js").write_text(recording.script("race", log))
    assert recording.read(tmp_path / "race.js") == log


@pytest.mark.parametrize(
    "damage", [lambda t: "", lambda t: t[:-9], lambda t: t.replace('"race"] =', '"x"] ='), lambda t: t + "alert(1)"]
)
def test_a_damaged_recording_is_one_sentence(tmp_path, damage):
    path = tmp_path / "race.js"
    path.write_text(damage(recording.script("race", small_talk.race_log())))
    with pytest.raises(InputError, match=r"race\.js is missing or damaged .*make talk"):
        recording.read(path)


def test_a_recording_without_its_date_or_that_is_not_there(tmp_path):
    log = small_talk.race_log()
    del log["date"]
    (tmp_path / "race.js").write_text(recording.script("race", log))
    for name, why in (("race", "it has no date"), ("typing", "No such file")):
        with pytest.raises(InputError, match=why):
            recording.read(tmp_path / f"{name}.js")


def test_no_number_that_json_has_not():
    with pytest.raises(ValueError):
        recording.script("race", {"accuracy": float("nan")})


def test_live_numbers_are_written_nowhere():
    """Only `recording` writes: neither the stage nor what it serves with has any way to."""
    for name in ("stage", "live", "cast", "race", "workers", "lane_process"):
        source = (recording.Path(stage.__file__).with_name(f"{name}.py")).read_text()
        assert not re.search(
            r"write_text|write_json|atomic_path|\bopen\(|write_bytes", source.replace("def open(", "")
        ), name


def test_seconds_of_the_command(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["recording", "--seconds", "0"])
    assert recording.main() == 2 and "a heat takes more than 0" in capsys.readouterr().err


def test_what_a_script_holds_is_json():
    text = recording.script("ladder", {"a": [1, None]})
    assert json.loads(text.split("] = ")[1].rstrip(";\n")) == {"a": [1, None]}
