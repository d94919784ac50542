import shutil

import pytest

from fflib.files import InputError
from fflib.runs import param_files, params, sweep_plan
from fflib.runs.params import Parameter


def refused(**values):
    with pytest.raises(InputError) as error:
        params.load_run("docs-cpu", overrides=[f"{name}={value}" for name, value in values.items()])
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_run_hardware_and_size_file_is_sound():
    for run in param_files.runs():
        for size in param_files.names("size"):
            for hardware in param_files.names("hardware"):
                params.load_run(run, size, hardware)


def test_later_files_win_and_overrides_last():
    assert params.load_run("docs-cpu").values["n_train"] > params.load_run("docs-cpu", "smoke").values["n_train"]
    assert params.load_run("docs-cpu", "smoke", overrides=["n_train=17"]).values["n_train"] == 17


def test_a_mistyped_name_is_refused_with_the_right_one():
    assert "did you mean 'learning_rate'" in refused(learning_rte="1.0e-4")


def test_yaml_text_that_looks_like_a_number_is_refused_with_the_cure():
    assert "write 1.0e-4" in refused(learning_rate="1e-4")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("epochs", "2.5", "int"), ("epochs", "yes", "int"), ("task", "3", "str"), ("seeds", "1", "list"),
     ("seeds", "[1, x]", "int"), ("dropout", "high", "float")],
)  # fmt: skip
def test_wrong_types_are_refused(name, value, says):
    assert says in refused(**{name: value})


@pytest.mark.parametrize(("kind", "arguments"), [("run", ("nope",)), ("size", ("docs-cpu", "huge"))])
def test_unknown_files_are_refused_with_those_there_are(kind, arguments):
    with pytest.raises(InputError, match=f"no {kind} '.*' in params/; there are"):
        params.load_run(*arguments)


def test_an_override_without_a_value_is_refused():
    with pytest.raises(InputError, match="name=value"):
        params.load_run("docs-cpu", overrides=["epochs"])
    with pytest.raises(InputError, match="the override 'batch_sizes=.1, 2' has a value that is not whole"):
        params.load_run("docs-cpu", overrides=["batch_sizes=[1, 2"])


def test_overrides_are_split_at_spaces_outside_brackets():
    text = " seed=3  batch_sizes=[1, 2,4] data_source=/a/b "
    assert params.split_overrides(text) == ["seed=3", "batch_sizes=[1, 2,4]", "data_source=/a/b"]
    assert params.split_overrides("  ") == []


def test_a_whole_number_does_for_a_float():
    assert params.check_value(Parameter("x", "float", 0.0, ""), 2) == 2.0


def test_another_size_gets_its_own_folder():
    usual, smoke = params.load_run("docs-cpu"), params.load_run("docs-cpu", "smoke")
    assert usual.folder.name == "docs-cpu" and smoke.folder.name == "docs-cpu-smoke"


def test_a_chapter_gets_its_declared_parameters_only():
    values = params.load_run("docs-cpu", "smoke").chapter_values("00_introduction")
    assert set(values) == {"run", "run_dir", "size"} and values["size"] == "smoke"


def test_a_run_may_say_something_for_one_size_alone(monkeypatch, tmp_path):
    for folder in ("size", "hardware"):
        shutil.copytree(param_files.PARAMS / folder, tmp_path / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yaml").write_text("task: docs\nstandard:\n  epochs: 7\n")
    usual = params.load_run("mine", "smoke").values["epochs"]
    assert params.load_run("mine").values["epochs"] == 7 != usual, "it wins over the size's file"
    assert params.load_run("mine", overrides=["epochs=2"]).values["epochs"] == 2
    (tmp_path / "mine.yaml").write_text("standard:\n  epoks: 7\n")
    with pytest.raises(InputError, match="did you mean 'epochs'"):
        params.load_run("mine")
    (tmp_path / "mine.yaml").write_text("standard: 7\n")
    with pytest.raises(InputError, match="'standard' in mine.yaml must hold lines"):
        params.load_run("mine")


def test_a_task_and_a_model_make_a_run():
    run = params.load_run("rte-bert")
    assert run.values["task"] == "RTE" and run.values["teacher"].startswith("google-bert/bert-base-uncased")
    assert run.values["epochs"] == param_files.read("task", "rte")["standard"]["epochs"]  # in the usual size, standard
    assert params.load_run("rte-bert", "smoke").values["epochs"] == param_files.read("size", "smoke")["epochs"]
    assert {"docs-cpu", "boolq-minilm", "wic-after-docs", "record-roberta"} <= set(param_files.runs())


def test_what_holds_for_all_tasks_stands_once_and_a_tasks_own_file_wins(tmp_path, monkeypatch):
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    for path, text in {
        "task/_shared": "standard: {epochs: 7, batch_size: 8}\nfull: {epochs: 9}\n",
        "task/one": "task: RTE\nstandard: {epochs: 2}\n",
        "model/small": "description: a small one\nteacher: a/b\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / f"{path}.yaml").write_text(text)
    own = param_files.read_run("one-small")
    assert own["standard"] == {"epochs": 2, "batch_size": 8} and own["full"] == {"epochs": 9} and own["task"] == "RTE"
    assert param_files.runs() == ["one-small"], "what is shared is no task"


def test_a_model_may_say_something_of_one_size_too_and_a_slip_in_either_file_is_told(tmp_path, monkeypatch):
    for folder in ("size", "hardware"):
        shutil.copytree(param_files.PARAMS / folder, tmp_path / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    for folder in ("task", "model"):
        (tmp_path / folder).mkdir()
    (tmp_path / "task" / "one.yaml").write_text("task: RTE\nsmoke: {epochs: 2, batch_size: 8}\nfull:\n")
    (tmp_path / "model" / "big.yaml").write_text("teacher: a/b\nsmoke: {epochs: 3}\n")
    run = params.load_run("one-big", "smoke")
    assert (run.values["epochs"], run.values["batch_size"], run.values["teacher"]) == (3, 8, "a/b")
    assert param_files.read_run("one-big")["description"] == "RTE: big"
    (tmp_path / "task" / "one.yaml").write_text("smoke: {epochs: 2}\n")
    with pytest.raises(InputError, match="task/one.yaml does not say which task it is about"):
        params.load_run("one-big")
    (tmp_path / "task" / "one.yaml").write_text("task: RTE\nsmoke: 3\n")
    with pytest.raises(InputError, match="'smoke' in one.yaml must hold lines of the form"):
        params.load_run("one-big")


def test_a_model_keeps_its_learning_rate_on_every_task():
    """Those in the tasks' files are for MiniLM; BERT would unlearn all it knows at ten times its own."""
    for task in param_files.names("task"):
        assert params.load_run(f"{task}-bert").values["learning_rate"] == 2.0e-5
        assert params.load_run(f"{task}-minilm", "full").values.get("learning_rate", 7e-5) >= 7e-5
    assert params.load_run("wic-minilm").values["learning_rate"] == 1.0e-4


def test_a_runs_own_lines_win_over_what_it_shares_with_others(monkeypatch, tmp_path):
    for folder in ("size", "hardware"):
        shutil.copytree(param_files.PARAMS / folder, tmp_path / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    (tmp_path / "mine.yaml").write_text("task: docs\nepochs: 0\nthreads: 1\nsmoke: {epochs: 5}\n")
    assert [params.load_run("mine", size).values["epochs"] for size in ("", "full", "smoke")] == [0, 0, 5]
    assert params.load_run("mine").values["threads"] == 1


@pytest.mark.parametrize("name", ["rte-brt", "RTE-BERT", "rte-bert.yaml"])
def test_a_run_that_is_nearly_right_is_named(name):
    with pytest.raises(InputError, match="did you mean 'rte-bert'"):
        params.load_run(name)


def test_a_run_that_is_like_none_is_told_which_there_are():
    with pytest.raises(
        InputError, match="there are docs-cpu, .*TASK-MODEL with a task of boolq, .* and a model of after"
    ):
        params.load_run("unheard-of")


class TestOnACard:
    """HARDWARE=gpu: other chapters, the device, and what the hardware's file says of a size."""

    def test_its_chapters_are_those_that_have_a_meaning_there(self):
        run = params.load_run("docs-cpu", "smoke", "gpu")
        assert run.on_card and run.values["device"] == "cuda"
        assert run.chapters == run.order == [*params.ON_CARD] and run.chapters[-1] == "11_graphics_card"
        assert run.chapter_values(params.CARD)["device"] == "cuda"
        assert all(params.declared(chapter)["device"].default == "cpu" for chapter in params.ON_CARD)

    def test_the_default_book_has_neither_that_chapter_nor_a_device(self):
        run = params.load_run("docs-cpu", "smoke")
        assert not run.on_card and params.CARD not in run.chapters and "device" not in run.values
        assert run.chapters == params.chapters() and run.order[-1] == "00_introduction"
        assert run.chapter_values("01_baseline")["device"] == "cpu"

    def test_a_device_is_set_by_the_hardware_alone(self):
        assert "make book HARDWARE=gpu" in refused(device="cuda") and "make book HARDWARE=gpu" in refused(device="cpu")
        assert params.load_run("docs-cpu", hardware="gpu", overrides=["device=cpu"]).values["device"] == "cpu"
        with pytest.raises(InputError, match="'device' is 'tpu'; give cpu or cuda"):
            params.load_run("docs-cpu", hardware="gpu", overrides=["device=tpu"])

    def test_a_parameter_of_that_chapter_is_unknown_to_other_runs(self):
        assert "no chapter has a parameter 'card_batch'" in refused(card_batch="8")
        run = params.load_run("docs-cpu", "smoke", "gpu", ["card_batch=5"])
        assert run.chapter_values(params.CARD)["card_batch"] == 5

    def test_what_the_hardware_says_of_a_size_wins_over_the_size(self):
        here, on_card = (params.load_run("docs-cpu", "standard", hardware) for hardware in ("cpu", "gpu"))
        assert max(on_card.values["batch_sizes"]) == 256 > max(here.values["batch_sizes"])
        assert on_card.values["n_train"] == here.values["n_train"], "the run's own file wins over both"
        assert params.load_run("docs-cpu", "smoke", "gpu").values["card_batch"] == 8
        assert not {"smoke", "standard", "full"} & {*on_card.hardware_values()}

    def test_what_needs_the_other_chapters_refuses_it_in_a_sentence(self):
        with pytest.raises(InputError, match="make export needs chapters .* leave HARDWARE=gpu out"):
            params.load_run("docs-cpu", hardware="gpu").refuse_card("make export")
        params.load_run("docs-cpu").refuse_card("make export")

    def test_a_sweep_on_a_card_is_refused(self):
        with pytest.raises(InputError, match="make book RUN=cb-after-docs HARDWARE=gpu"):
            sweep_plan.load("superglue", hardware="gpu")
