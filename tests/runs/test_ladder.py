import numpy as np
import pandas as pd
import pytest

from fflib.files import InputError
from fflib.measure import cost
from fflib.measure.timing import Check, Timing
from fflib.runs import ladder
from fflib.runs.ladder import Rung

DESIGN_COLUMNS = [
    *("rung", "stacks_on", "model", "engine", "precision", "batching", "batch_size", "threads", "instances"),
    *("latency_p50_ms", "latency_p95_ms", "n_requests", "throughput_per_s"),
    *("speedup_step", "speedup_vs_padded", "speedup_vs_unpadded"),
    *("accuracy", "accuracy_low", "accuracy_high", "retention"),
    *("model_mb", "usd_per_100m", "energy_wh_per_1k", "energy_source", "status"),
    "keeps_rule",
]


def rung(name, stacks_on="", seconds=None, **fields):
    made = Rung(name, stacks_on, "m", "e", "fp32", "none", 1, 2, **fields)
    timing = Timing(np.array([[seconds, seconds]]), np.array([1, 1])) if seconds else None
    return vars(made.timed(timing, Check(0, 1, 2), 0.677) if timing else made)


LADDER = [
    rung("reference padded", seconds=0.8), rung("reference unpadded", "reference padded", seconds=0.2),
    rung("teacher", "reference unpadded", seconds=0.05), rung("broken", "teacher", status="failed: no engine"),
]  # fmt: skip


def test_the_ladders_columns_are_the_public_interface():
    assert list(ladder.ladder(LADDER).columns) == DESIGN_COLUMNS


def test_speed_ups_are_ratios_of_throughput():
    table = ladder.ladder(LADDER).set_index("rung")
    assert table.loc["teacher", "speedup_step"] == pytest.approx(4)
    assert table.loc["teacher", "speedup_vs_padded"] == pytest.approx(16)
    assert table.loc["teacher", "speedup_vs_unpadded"] == pytest.approx(4)
    assert table.loc["reference padded", "speedup_vs_unpadded"] == pytest.approx(0.25)


def test_what_was_not_measured_is_empty_and_a_failed_rung_stays(tmp_path):
    ladder.write_ladder(tmp_path, ladder.ladder(LADDER))
    lines = (tmp_path / "ladder.csv").read_text().splitlines()
    broken = dict(zip(DESIGN_COLUMNS, lines[4].split(","), strict=True))
    assert broken["status"] == "failed: no engine"
    assert broken["latency_p50_ms"] == broken["speedup_step"] == broken["accuracy"] == ""
    assert pd.isna(pd.read_csv(tmp_path / "ladder.csv").loc[0, "speedup_step"])


def test_the_machines_drift_between_chapters_is_left_out():
    """The teacher made 20/s beside the reference; an hour later 40/s, beside the batching rung's 50/s."""
    later = {**rung("batching", "teacher", seconds=1 / 50), "paired_baseline_per_s": 40.0}
    table = ladder.ladder([*LADDER[:3], later]).set_index("rung")
    assert table.loc["batching", "speedup_step"] == pytest.approx(1.25)
    assert table.loc["batching", "speedup_vs_padded"] == pytest.approx(16 * 1.25)
    assert table.loc["batching", "speedup_vs_unpadded"] == pytest.approx(4 * 1.25)
    assert table.loc["batching", "throughput_per_s"] == pytest.approx(50)


def test_two_rungs_of_one_name_are_refused():
    with pytest.raises(InputError, match="one name"):
        ladder.ladder([LADDER[0], LADDER[0]])


def test_the_papers_cost_column_comes_out_at_its_price():
    """FastFormers, Table 3: seconds for the 3,270 BoolQ questions and USD per 100 million queries."""
    for seconds, usd in ((734.35, 4223), (209.29, 1204), (22.5, 129), (9.97, 57), (5.68, 33), (4.11, 24), (3.14, 18)):
        assert cost.usd_per_100m(3270 / seconds, 0.677) == pytest.approx(usd, abs=0.5)


def test_retention_is_the_share_of_the_teachers_accuracy():
    scored = Rung("r", "", "m", "e", "fp32", "none", 1, 2).scored(0.81, (0.79, 0.83), 0.9)
    assert scored.retention == pytest.approx(0.9) and scored.accuracy_low == 0.79


def test_what_is_below_the_rule_is_marked_and_what_was_not_asked_stays_empty(tmp_path):
    asked = [rung(name, "teacher", seconds=0.01, keeps_rule=name) for name in ("yes", "no")]
    table = ladder.ladder([*LADDER, *asked, rung("broken too", "teacher", status="failed: so", keeps_rule="no")])
    ladder.write_ladder(tmp_path, table)
    read = pd.read_csv(tmp_path / "ladder.csv", keep_default_na=False).set_index("rung")
    assert read.columns[-1] == "keeps_rule"
    assert read["keeps_rule"].to_dict() == dict.fromkeys(read.index, "") | {
        "yes": "yes",
        "no": "no",
        "broken too": "no",
    }
    lines = {line.split("|")[1].strip(): line.split("|")[-2].strip() for line in (tmp_path / "ladder.md").open()}
    assert [lines[name] for name in ("teacher", "yes", "no")] == ["ok", "ok", "below the rule"]
    assert lines["broken too"] == "failed: so" and lines["broken"] == "failed: no engine"
    del asked[0]["keeps_rule"]
    assert ladder.ladder(asked)["keeps_rule"].tolist() == ["", "no"], "records of older code have no such field"


def test_the_stack_of_a_rung_leaves_its_alternatives_out():
    table = pd.DataFrame({"rung": ["a", "b", "c", "d", "e"], "stacks_on": ["", "a", "b", "b", "d"]})
    assert ladder.stack(table, "e") == ["a", "b", "d", "e"] and ladder.stack(table, "a") == ["a"]


def test_a_teacher_that_scores_nothing_leaves_nothing_to_keep():
    """As one that says no to every answer of MultiRC: no error, and an empty cell."""
    assert np.isnan(ladder.kept(0.2, 0.0)) and ladder.kept(0.3, 0.4) == pytest.approx(0.75)
    rung = Rung("a", "", "m", "e", "fp32", "none", 1, 1).scored(0.0, (0.0, 0.0), 0.0)
    assert rung.retention is None and rung.accuracy == 0
    assert rung.scored(0.7, (0.6, 0.8), None).retention is None, "of an unclear teacher no share is shown"
    assert [ladder.kept_words(share) for share in (0.976, None, float("nan"))] == ["97.6%", "", ""]
    assert ladder.ladder([vars(rung)])["retention"].isna().all()
