"""The paper's figures against each other, and against those that stand elsewhere in the package."""

from __future__ import annotations

import pytest

from fflib.data import registry
from fflib.measure import cost
from fflib.runs import ladder
from fflib.story import fastformers

# As Table 3 prints them: the speed-up against its first row, against the row it stands on, and USD per 100 million.
PRINTED = {
    "BERT-base, padded": (1.00, None, 4223),
    "no padding": (3.51, 3.51, 1204),
    "distilled student": (32.64, 9.30, 129),
    "int8 and graph": (73.66, 2.26, 57),
    "several instances": (129.29, 1.76, 33),
    "pruned 25/25": (178.67, 1.38, 24),
    "pruned 33/50": (233.87, 1.81, 18),
}


def test_the_printed_speed_ups_follow_from_the_seconds():
    table = fastformers.table().set_index("rung")
    assert list(table.index) == list(PRINTED)
    for rung, (cumulative, step, _) in PRINTED.items():
        assert table.loc[rung, "speedup_vs_padded"] == pytest.approx(cumulative, abs=0.006), rung
        assert table.loc[rung, "speedup_step"] == pytest.approx(step or float("nan"), abs=0.006, nan_ok=True), rung


def test_the_printed_prices_follow_from_the_seconds_and_one_rent():
    table = fastformers.table()
    for row in table.itertuples():
        price = cost.usd_per_100m(row.throughput_per_s, fastformers.USD_PER_HOUR)
        assert round(price) == PRINTED[row.rung][2] == row.usd_per_100m, row.rung


def test_the_unpadded_model_is_the_second_yardstick():
    table = fastformers.table().set_index("rung")
    assert table.loc["no padding", "speedup_vs_unpadded"] == 1
    assert table.loc["pruned 33/50", "speedup_vs_unpadded"] == pytest.approx(233.87 / 3.51, rel=2e-3)
    assert table.loc["BERT-base, padded", "speedup_vs_unpadded"] == pytest.approx(1 / 3.51, rel=2e-3)
    assert table.loc["several instances", "throughput_per_s"] == pytest.approx(575.7, abs=0.1)


def test_the_pruned_models_are_alternatives_on_one_rung():
    table = fastformers.table()
    way = ["BERT-base, padded", "no padding", "distilled student", "int8 and graph", "several instances"]
    assert ladder.stack(table, "pruned 25/25") == [*way, "pruned 25/25"]
    assert ladder.stack(table, "pruned 33/50") == [*way, "pruned 33/50"]


def test_the_columns_and_the_rungs_here():
    columns = ["rung", "stacks_on", "seconds", "throughput_per_s", "speedup_step", "speedup_vs_padded"]
    table = fastformers.table()
    assert list(table.columns) == [*columns, "speedup_vs_unpadded", "accuracy", "usd_per_100m", "rung_here"]
    assert table["rung_here"].tolist()[:2] == [ladder.PADDED, ladder.UNPADDED]
    assert table["rung_here"].tolist()[2:5] == ["distilled student", "int8 dynamic", "instances"]
    assert table["rung_here"].tolist()[5:] == table["rung"].tolist()[5:]


def test_the_accuracies_are_those_that_the_task_quotes():
    published = registry.get_task("BoolQ").published
    percent = {rung.rung: rung.accuracy for rung in fastformers.TABLE_3}
    assert percent["BERT-base, padded"] == percent["no padding"] == published["teacher"]
    assert percent["distilled student"] == published["student_4L_312"]
    assert percent["int8 and graph"] == percent["several instances"] == published["student_4L_312_int8"]
    for shape in ("25/25", "33/50"):
        name = f"student_4L_312_int8_pruned_{shape.replace('/', '_')}"
        assert percent[f"pruned {shape}"] == published[name]
    assert fastformers.table()["accuracy"].tolist() == pytest.approx([value / 100 for value in percent.values()])


def test_table_1_agrees_with_the_task_and_has_every_task():
    published = registry.get_task("BoolQ").published
    keys = ("table1_teacher", "table1_student_6L_768", "table1_student_4L_312", "table1_roberta_teacher")
    models = list(fastformers.TABLE_1)
    assert [fastformers.TABLE_1[model]["BoolQ"] for model in models[:4]] == [published[key] for key in keys]
    assert all(len(scores) == 7 and min(scores.values()) > 30 for scores in fastformers.TABLE_1.values())
    small, teacher = fastformers.TABLE_1["student of BERT, 4 layers, 312 wide"], fastformers.TABLE_1["BERT teacher"]
    assert small["ReCoRD"] == 33.68 < teacher["ReCoRD"] == 64.81 and small["WiC"] == 65.20  # where it collapses


def test_the_tables_cannot_be_changed():
    with pytest.raises(AttributeError):
        fastformers.TABLE_3[0].seconds = 1.0
    with pytest.raises(TypeError):
        fastformers.TABLE_1["BERT teacher"]["BoolQ"] = 1.0


def test_table_4_has_two_systems_that_differ_in_multirc_alone():
    five, six = fastformers.TABLE_4
    assert [*five.speedups] == [*six.speedups] == [*fastformers.TASKS] == [*fastformers.TABLE_1["BERT teacher"]]
    assert {task for task in fastformers.TASKS if five.speedups[task] != six.speedups[task]} == {"MultiRC"}
    assert (five.speedups["MultiRC"], six.speedups["MultiRC"]) == (25.0, 17.5)
    for system in fastformers.TABLE_4:  # over all tasks it is no mean of theirs, but it lies between them
        assert min(system.speedups.values()) < system.speedup < max(system.speedups.values())
    assert five.speedup > six.speedup and five.energy_saved > six.energy_saved
    with pytest.raises(TypeError):
        five.speedups["BoolQ"] = 1.0
