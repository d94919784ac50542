"""What the command line says is what runs: heeded, or refused in a sentence before anything is changed.

By symptom: `SIZE=smoke make book` runs for 20 minutes; `make book size=smoke` too; a run named 007 is not found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from fflib import environment
from fflib.book import lifeline, plan, snake, workflow
from fflib.files import ROOT, InputError
from fflib.runs import param_files, params, sweep_plan

VARIABLES = ("RUN", "SIZE", "HARDWARE", "SET", "SWEEP", "CLUSTER", "NODES", "WITH", "MINUTES", "LIVE", "PORT")
PRINTS = "\nshow-what-counts:\n\t@echo $$RUN,$$SIZE,$$HARDWARE,$$SET,$$SWEEP,$$WITH\n"


def make(*words: str, **variables: str) -> tuple[int, str]:
    """Run make with nothing to do but to print what its recipes would read."""
    names = (*VARIABLES, "VENV", "MAKEFLAGS", "MAKELEVEL")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    command = ["make", "--no-print-directory", "-f", "-", *words]
    text = (ROOT / "Makefile").read_text() + PRINTS
    done = subprocess.run(command, input=text, env=environ | variables, capture_output=True, text=True, cwd=ROOT)
    return done.returncode, done.stdout + done.stderr


def test_variables_in_front_of_make_count_as_those_behind_it_do():
    assert make("show-what-counts", SIZE="smoke", SET="a=1 b=[2, 3]") == (0, "docs-cpu,smoke,,a=1 b=[2, 3],,\n")
    assert make("show-what-counts", "SIZE=full", SIZE="smoke") == (0, "docs-cpu,full,,,,\n"), "behind wins"
    assert make("show-what-counts", RUN="007") == (0, "007,,,,,\n")


@pytest.mark.parametrize(
    ("words", "variables", "says"),
    [
        (["book", "size=smoke"], {}, "there is no variable size"),
        (["book", "SIZES=smoke"], {}, "there is no variable SIZES"),
        (["book", "HARDWEAR=cpu"], {}, "there is no variable HARDWEAR"),
        (["book"], {"size": "smoke"}, "there is no variable size"),
        (["book", "SWEEP=superglue"], {}, "make book does not heed SWEEP; it heeds RUN SIZE HARDWARE SET"),
        (["sweep", "SWEEP=superglue", "RUN=a"], {}, "make sweep does not heed RUN"),
        (["export", "WITH=paper"], {}, "make export does not heed WITH"),
        (["test", "SIZE=smoke"], {}, "make test does not heed SIZE"),
    ],
)
def test_what_would_be_ignored_is_refused_in_a_sentence(words, variables, says):
    status, said = make("-n", *words, **variables)
    assert status != 0 and says in said and len(said.splitlines()) == 1


@pytest.mark.parametrize("words", [["book", "RUN=a", "SIZE=smoke"], ["plan", "SWEEP=s"], ["setup", "PYTHON=p"], []])
def test_what_is_heeded_is_taken(words):
    assert make("-n", *words)[0] == 0


def test_every_variable_that_a_recipe_reads_is_heeded_by_its_target():
    text = (ROOT / "Makefile").read_text()
    options = {f"$({name})": value for name, value in re.findall(r"^(\w*OPTIONS) = (.*)$", text, re.MULTILINE)}
    for target, recipe in re.findall(r"^([a-z-]+):.*\n((?:\t.*\n)+)", text, re.MULTILINE):
        for _ in range(3):  # options hold options
            for name, value in options.items():
                recipe = recipe.replace(name, value)
        read = {*re.findall(r"\$\$\{?([A-Z]+)\b", recipe)} & {*VARIABLES}
        heeds = re.search(rf"^HEEDS\.{target} =(.*)$", text, re.MULTILINE)
        assert heeds is None or {*heeds[1].split()} == read, target


def test_a_misspelt_variable_in_front_is_told():
    assert workflow.misspelt({"SIEZ": "smoke", "SIZE": "full", "LINES": "24", "RUNS": "1", "SWEEP_DIR": "/x"}) == [
        "SIEZ='smoke' counts for nothing; for SIZE write SIZE=smoke"
    ]
    assert workflow.misspelt({"HARDWEAR": "a"}) == ["HARDWEAR='a' counts for nothing; for HARDWARE write HARDWARE=a"]


@pytest.mark.parametrize("value", ["007", "1e3", "on", "null", "[1]", "{a: 1}", "a=1 b='2'", 'say "it"', "Ümläut: x"])
def test_snakemake_gets_values_as_they_were_typed(value, monkeypatch):
    """It takes 007 for 7, on for True, and [1] for a list."""
    from snakemake.cli import parse_config

    given = []
    monkeypatch.setenv(lifeline.VARIABLE, "")
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: given.append(command))
    snake._started({"run": value, "size": ""})
    assert parse_config(given[0][given[0].index("--config") + 1 :]) == {"run": value}


@pytest.mark.parametrize("arguments", [["--run", "007"], ["--set", "n_train=1 n_train=2"], ["--size", "Smoke"]])
def test_a_slip_is_one_sentence_and_status_2(arguments, tmp_path):
    command = [sys.executable, "-m", "fflib.book.workflow", "book", *arguments]
    plain = {name: value for name, value in os.environ.items() if not name.startswith(environment.BENDS)}
    environ = plain | {"FFLIB_OUTPUTS": str(tmp_path)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "name", ["../x", "a/b", "reference", "-x", "a*b", "a{b}", "a\nb", "", " a", "a ", ".a", "x.", "a;b"]
)
def test_a_name_that_is_none_of_a_folder_of_its_own_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    with pytest.raises(InputError, match="cannot be the name of a run"):
        params.load_run(name)


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    for folder in ("size", "hardware", "task", "model"):
        (tmp_path / folder).symlink_to(param_files.PARAMS / folder)
    monkeypatch.setattr(param_files, "PARAMS", tmp_path)
    return lambda **said: [(tmp_path / f"{name}.yaml").write_text(text) for name, text in said.items()]


@pytest.mark.parametrize("name", ["a run", "übung", "u\u0308bung", "a.b", "007", "mine_2"])
def test_other_names_are_taken(name, two_runs):
    two_runs(**{name: "epochs: 2\n"})
    assert params.load_run(name).folder.name == name


def test_two_runs_do_not_share_a_folder(two_runs):
    two_runs(mine="epochs: 2\n", **{"mine-smoke": "epochs: 3\n", "mine-standard": "epochs: 4\n"})
    with pytest.raises(InputError, match="'mine-smoke' would share a folder with 'mine' in another size"):
        params.load_run("mine-smoke")
    assert params.load_run("mine", "smoke").folder.name == "mine-smoke"
    assert params.load_run("mine-standard").folder.name == "mine-standard", "no run of mine is called so"


@pytest.mark.parametrize(
    ("setting", "name", "value"),
    [
        ('data_source="/my data/x" epochs=3', "data_source", "/my data/x"),
        ("data_source='/my data/x' epochs=3", "data_source", "/my data/x"),
        ('epochs=3 data_source="a[b"', "data_source", "a[b"),
        ("graphs_tried=[basic, the paper's recipe] epochs=3", "graphs_tried", ["basic", "the paper's recipe"]),
        ("graphs_tried=['this book''s', \"the paper's\"] epochs=3", "graphs_tried", ["this book's", "the paper's"]),
        ("epochs=3\n\tdata_source=x", "data_source", "x"),
    ],
)
def test_a_path_with_a_space_is_one_value_in_quotes(setting, name, value):
    found = dict(params._override(each) for each in params.split_overrides(setting))
    assert found == {name: value, "epochs": 3}


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("size=smoke", "'size' is no parameter; say it behind make, as in SIZE=smoke"),
        ("hardware=gpu", "'hardware' is no parameter; say it behind make, as in HARDWARE=cpu"),
        ("run=x", "'run' is no parameter; say it behind make, as in RUN=docs-cpu"),
        ("after=docs-cpu", "'after' is no parameter; it can stand only in a run's own file, here params/docs-cpu.yaml"),
        ("epochs=!!int '3'", "the override 'epochs=!!int' has a value that is not whole"),
        ("teacher=*a", "or begins with a sign that means something; close it, or put it in quotes"),
        ("teacher=''", "parameter 'teacher' is empty; give it a value, or leave it out"),
        ('teacher="a b', "has a value that is not whole"),
    ],
)
def test_what_is_no_parameter_is_told_where_it_belongs(setting, says):
    with pytest.raises(InputError) as told:
        params.load_run("docs-cpu", "smoke", overrides=params.split_overrides(setting))
    assert says in str(told.value) and "\n" not in str(told.value)


def test_a_number_of_thousands_of_digits_is_not_repeated():
    with pytest.raises(InputError) as told:
        params.load_run("docs-cpu", overrides=["n_train=" + "9" * 5000])
    assert len(str(told.value)) < 300


def test_a_sweep_does_not_share_a_folder_with_a_run(two_runs, tmp_path):
    """By symptom: the tables of the sweep stand between the chapters of a run in smoke size."""
    (tmp_path / "sweeps").mkdir()
    two_runs(mine="epochs: 2\n")
    for name in ("mine-smoke", "all", "all-full"):
        (tmp_path / "sweeps" / f"{name}.yaml").write_text("runs: [mine]\n")
    for name, other in (("mine-smoke", "mine"), ("all-full", "all")):
        with pytest.raises(InputError, match=f"the sweep '{name}' would share a folder with '{other}'"):
            sweep_plan.load(name)
    assert sweep_plan.load("all").closing.folder.name == "all"


def test_the_path_of_a_runs_file_is_told_its_name(two_runs):
    two_runs(mine="epochs: 2\n")
    with pytest.raises(InputError, match="did you mean 'mine'"):
        params.load_run("params/mine.yaml")
    with pytest.raises(InputError, match="did you mean 'mine'"):
        params.load_run("mine.yaml")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("engines_tried=['tensorrt']", "'engines_tried' is 'tensorrt'; give 'pytorch', 'torch.compile', 'onnxruntime'"),
        ("routes_tried=[nope]", "'routes_tried' is 'nope'; give 'labels'"),
        ("students_tried=['3x384@']", "'students_tried' has '3x384@'; give 'teacher', '3x384'"),
        ("uniform_tried=['0.5']", "'uniform_tried' has '0.5'; give per cent"),
        ("batch_sizes=[8, 8]", "give each value once"),
        ("n_train=1e3", "write 1000"),
        ("n_train=010", "write 10"),
        ("minutes=1:30", "give a number"),
    ],
)
def test_words_are_checked_before_anything_runs(setting, says):
    with pytest.raises(InputError) as told:
        params.load_run("docs-cpu", "smoke", overrides=params.split_overrides(setting))
    assert says in str(told.value) and "\n" not in str(told.value)


def test_a_teacher_that_is_nowhere_is_told_before_a_result_is_set_aside(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(workflow.execute, "check", lambda run: pytest.fail("results were looked at"))
    assert workflow.main(["book", "--size", "smoke", "--set", "teacher=nobody/nothing"]) == 2
    assert "cannot get the model nobody/nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("student_from=nobody/nothing", "cannot get the model nobody/nothing"),
        ("reference=nobody/nothing", "there is no architecture of a reference 'nobody/nothing'; there are "),
        ("learn_from=laast", "parameter 'learn_from' has 'laast'; give 'uniform', 'last', 'first' or layers"),
        ("judged_in=dinamic", "parameter 'judged_in' is 'dinamic'; give "),
    ],
)
def test_a_model_or_a_word_of_a_later_chapter_is_told_before_the_first(setting, says, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(workflow.execute, "check", lambda run: pytest.fail("results were looked at"))
    assert workflow.main(["book", "--size", "smoke", "--set", setting]) == 2
    told = capsys.readouterr().err
    assert says in told and told.count("error: ") == 1


def test_a_plan_tells_what_is_wrong_with_the_task_once(monkeypatch, capsys):
    monkeypatch.setattr(snake, "dry_run", lambda config: pytest.fail("snakemake was asked"))
    assert plan.main(["--run", "docs-cpu", "--size", "smoke", "--set", "task=nope"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("words", [["-e", "book"], ["-ke", "book"], ["book", "--environment-overrides"]])
def test_variables_of_the_shell_do_not_win_over_the_makefile(words):
    """By symptom: another Python than that of .venv runs the book, for the PATH of the shell wins."""
    status, said = make("-n", *words)
    assert status != 0 and "leave -e out" in said and len(said.splitlines()) == 1
    assert "leave -e out" in make("-n", "book", MAKEFLAGS="e")[1]
    assert make("-n", "--no-print-directory", "--keep-going", "--silent", "book")[0] == 0


TWICE = "\ncheck:\n\t@" + sys.executable + ' -c "from fflib.runs import cli; cli.ended(lambda: print(1))"\n'


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["SET=n_train=5", "SET=epochs=2"], "error: SET stands twice behind make, and only the last one would count"),
        (["RUN=a", "SIZE=smoke", "RUN=b"], "error: RUN stands twice behind make"),
        (["RUN=a", "SET=n_train=5 epochs=RUN=2"], "1"),
    ],
)
def test_a_variable_that_stands_twice_behind_make_is_refused(words, says, monkeypatch):
    """By symptom: `make book SET=n_train=5 SET=epochs=2` heeds the second alone."""
    monkeypatch.setitem(globals(), "PRINTS", TWICE)
    told = make("check", *words)[1]
    assert told.startswith(says) and told.count("\n") == 1


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1000000000", "9" * 5000, "two"])
def test_a_number_of_nodes_is_one(text):
    with pytest.raises(InputError, match="is no number of nodes; give a whole number from 1 to 10000"):
        plan.node_counts(text, True)


def test_goals_of_one_make_follow_one_another():
    assert ".NOTPARALLEL:" in (ROOT / "Makefile").read_text().splitlines()


def test_what_python_heeds_before_a_line_of_it_runs_never_reaches_it():
    """By symptom: PYTHONHASHSEED=abc ends every command with a fatal error of Python."""
    names = ["PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONOPTIMIZE", "PYTHONWARNINGS", "PYTHONPATH", "PYTHON_CPU_COUNT"]
    text = (ROOT / "Makefile").read_text() + "\nshow:\n\t@env | grep -c " + " ".join(f"-e ^{name}=" for name in names)
    environ = {name: value for name, value in os.environ.items() if name not in (*VARIABLES, "MAKEFLAGS", "MAKELEVEL")}
    environ |= dict.fromkeys(names, "abc")
    told = subprocess.run(
        ["make", "-f", "-", "show"], input=text, env=environ, capture_output=True, text=True, cwd=ROOT
    )
    assert told.stdout == "0\n"


@pytest.mark.parametrize("kind", ["size", "hardware", "sweep"])
def test_a_path_is_no_name_of_a_file_in_params(kind):
    with pytest.raises(InputError, match=f"there is no {kind} '../docs-cpu'"):
        param_files.read(kind, "../docs-cpu")
