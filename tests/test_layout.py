"""The house of fflib: folders import one way, no module imports itself in a circle, tests stand as the code does."""

import ast
import subprocess
import sys

import grimp
import pytest

from fflib.files import ROOT

MODULES = sorted(path for path in (ROOT / "fflib").rglob("*.py") if "template" not in path.parts)
LONGEST = 210  # lines; what is longer says at its top why
STYLE = ("fflib.plotting",)  # where figures' colours and marks stand


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("fflib", cache_dir=None)


def test_folders_import_one_way():
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run([sys.executable, "-c", code, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "1 kept, 0 broken" in done.stdout, done.stdout + done.stderr


def test_every_folder_is_under_the_contract():
    contract = (ROOT / "pyproject.toml").read_text().partition("[[tool.importlinter.contracts]]")[2]
    folders = {path.parent.name for path in (ROOT / "fflib").glob("*/__init__.py")}
    assert folders and all(f'"fflib.{name}"' in contract for name in folders)


def test_no_module_comes_back_to_itself(graph):
    circles = [module for module in graph.modules if module in graph.find_upstream_modules(module)]
    assert not circles


@pytest.mark.parametrize(
    ("imports", "unwanted"),
    [
        ("fflib.book.execute, papermill, jupytext", ["torch", "sklearn", "lark", "pandas"]),
        ("fflib.book.execute, fflib.runs.provenance", ["torch", "sklearn", "transformers"]),
        ("fflib.book.bench, fflib.model.floor_report, fflib.quantization.report", ["sklearn", "scipy.stats"]),
        ("fflib.measure.fitness, fflib.distillation.augmentation", ["sklearn", "scipy.stats"]),
    ],
)
def test_what_takes_seconds_to_load_waits_until_it_is_used(imports, unwanted):
    code = f"import sys, {imports}; print([name for name in {unwanted} if sys.modules.get(name)])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_figures_take_their_style_from_one_module(graph):
    figures = {module for module in graph.modules if module.endswith("figures")}
    assert len(figures) > 7
    for module in figures:
        assert not graph.find_modules_directly_imported_by(module) & figures, f"{module} imports another's figures"
        assert graph.find_modules_directly_imported_by(module) & {*STYLE}, f"{module} draws in a style of its own"


def test_every_module_has_a_caller(graph):
    """Tests alone do not count: what nothing else uses is dead."""
    notebooks = "\n".join(path.read_text() for path in (ROOT / "notebooks").glob("*.py"))
    commands = {module for module in graph.modules if '__name__ == "__main__"' in source_of(module)}
    for module in graph.modules - commands:
        folder, _, name = module.rpartition(".")
        used = graph.find_modules_that_directly_import(module) or name in notebooks or graph.find_children(module)
        assert used, f"nothing uses {module}"


def source_of(module: str) -> str:
    path = ROOT.joinpath(*module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_long_module_says_why_it_is_long(path):
    if len(path.read_text().splitlines()) > LONGEST:
        reason = (ast.get_docstring(ast.parse(path.read_text())) or "").lower()
        assert "longer than" in reason or "(long" in reason, f"{path.name} is long and does not say why"


def test_tests_stand_as_the_code_does():
    for folder in (path.parent for path in (ROOT / "fflib").glob("*/__init__.py")):
        for path in (ROOT / "tests" / folder.name).glob("test_*.py"):
            name = path.stem.removeprefix("test_")
            known = {module.stem for module in folder.glob("*.py")} | {"all"}
            assert any(name == one or name.startswith(f"{one}_") for one in known), f"{path} tests nothing of {folder}"
