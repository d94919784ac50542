"""The reader's environment stays outside: what containers, clusters and notebook servers set bends nothing.

By symptom: a book without pictures; everything on one core; another kernel; a profile that is obeyed; telemetry.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import torch

from fflib import environment
from fflib.book import workflow
from fflib.files import ROOT, InputError, cache_dir, outputs_dir

HOSTILE = {
    "MPLBACKEND": "Agg",
    "MATPLOTLIBRC": "/no/such/matplotlibrc",
    "OMP_NUM_THREADS": "1",
    "OMP_PROC_BIND": "true",
    "OMP_PLACES": "{0}",
    "GOMP_CPU_AFFINITY": "0",
    "MKL_NUM_THREADS": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ATEN_CPU_CAPABILITY": "default",
    "PYTHONOPTIMIZE": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONWARNINGS": "error",
    "TQDM_DISABLE": "1",
    "SNAKEMAKE_PROFILE": "/no/such/profile",
    "JUPYTER_PLATFORM_DIRS": "1",
}
CHAPTER = """# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% tags=["parameters"]
run: str = ""  # its name
run_dir: str = ""  # its folder
size: str = ""  # smoke, standard or full
task: str = ""  # the task

# %%
import json, os, sys
import fflib
from matplotlib import pyplot
import torch

asserts = False
try:
    assert False
except AssertionError:
    asserts = True
figure, _ = pyplot.subplots(figsize=(1, 1))
pyplot.close()
figure

# %%
seen = {"python": sys.executable, "fflib": fflib.__file__, "asserts": asserts}
seen |= {"cores": len(os.sched_getaffinity(0)), "started": "reader" in globals()}
seen |= {"capability": torch.backends.cpu.get_cpu_capability()}
print(json.dumps(seen))
"""
DRIVER = """import sys, pathlib
from fflib.book import execute
from fflib.runs import param_files, params
home = pathlib.Path(sys.argv.pop(1))
params.NOTEBOOKS, param_files.PARAMS = home / "notebooks", home / "params"
sys.exit(execute.main())
"""


@pytest.fixture
def home(tmp_path):
    """A project of one chapter."""
    files = {"notebooks/01_baseline.py": CHAPTER, "driver.py": DRIVER, "params/made-up.yaml": "task: docs\n"}
    files |= {"params/size/standard.yaml": "{}", "params/hardware/cpu.yaml": "{}"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def hostile(tmp_path):
    """What a container, a cluster and a notebook server set at once, with a kernel and a profile of the reader's."""
    kernel = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    profile = tmp_path / "ipython" / "profile_default" / "startup" / "00.py"
    for path, text in ((kernel, json.dumps({"argv": ["false"], "display_name": "?"})), (profile, "reader = 1\n")):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    (tmp_path / "startup.py").write_text("reader = 1\n")
    return HOSTILE | {
        "JUPYTER_PATH": str(tmp_path / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "no" / "config"),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONSTARTUP": str(tmp_path / "startup.py"),
    }


def seen_by_a_chapter(home: Path, variables: dict[str, str]) -> tuple[dict, list[str]]:
    """Run the chapter as make does; return what it saw, and the kinds of output it has."""
    own = {"FFLIB_OUTPUTS": str(home / "outputs"), "FFLIB_CACHE": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    plain = {name: value for name, value in os.environ.items() if not name.startswith(environment.BENDS)}
    command = [sys.executable, str(home / "driver.py"), str(home), "chapter", "01_baseline", "--run", "made-up"]
    # Python itself heeds PYTHONOPTIMIZE and PYTHONWARNINGS before anything of ours runs: make unexports them.
    before = {name: value for name, value in variables.items() if name not in ("PYTHONWARNINGS",)}
    done = subprocess.run(command, env=plain | before | own, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr
    notebook = nbformat.read(home / "outputs" / "made-up" / "01_baseline.ipynb", 4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    printed = "".join(output["text"] for output in outputs if output.output_type == "stream")
    return json.loads(printed), [kind for output in outputs for kind in output.get("data", {})]


def test_all_of_it_at_once_changes_nothing_and_home_cannot_be_written(home, hostile):
    """No book without pictures, nothing on one core, no other kernel, no start-up file, no skipped assertion."""
    away = {"HOME": "/proc/none", "XDG_CACHE_HOME": str(home / "xdg"), "XDG_CONFIG_HOME": "/proc/none"}
    seen, kinds = seen_by_a_chapter(home, hostile | away)
    assert "image/png" in kinds and seen["asserts"] and not seen["started"]
    assert seen["python"] == sys.executable and Path(seen["fflib"]) == ROOT / "fflib" / "__init__.py"
    assert seen["cores"] == len(os.sched_getaffinity(0)), "libgomp binds the process as PyTorch loads it"
    assert seen["capability"] == torch.backends.cpu.get_cpu_capability() != "DEFAULT"


@pytest.mark.parametrize(
    "name",
    [*HOSTILE, "JUPYTER_PATH", "IPYTHONDIR", "PYTHONSTARTUP", "KMP_AFFINITY", "MALLOC_CONF"]
    + ["CUDA_LAUNCH_BLOCKING", "CUDNN_LOGLEVEL_DBG", "TRITON_INTERPRET", "PANDAS_COPY_ON_WRITE", "LD_AUDIT"]
    + ["LD_PRELOAD", "DNNL_MAX_CPU_ISA", "ORT_LOG_LEVEL", "USE_TORCH", "TRANSFORMERS_VERBOSITY", "PYTHON_CPU_COUNT"],
)
def test_what_bends_results_is_dropped_and_told(name, monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)  # in a notebook MPLBACKEND is set anew
    environ = {name: "odd", "PATH": "/bin", "HF_HOME": "/models", "FFLIB_OUTPUTS": "/results", "HF_HUB_OFFLINE": "1"}
    environ |= {"CUDA_VISIBLE_DEVICES": "0", "CUDA_HOME": "/cuda"}
    told = environment.settle(environ)
    assert name not in environ
    assert told == ([] if name in ("PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE") else [name])
    assert {"PATH", "HF_HOME", "FFLIB_OUTPUTS", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "CUDA_HOME"} < {*environ}


@pytest.mark.parametrize("name", environment.NUMBERS)
def test_a_time_limit_that_is_no_number_is_dropped_and_told_and_another_is_kept(name):
    """A library would end in a traceback over it as it is imported."""
    for value, told in (("abc", [name]), ("", []), ("-1", [name])):
        environ = {name: value}
        assert environment.settle(environ) == told and name not in environ
    environ = {name: "30"}
    assert environment.settle(environ) == [] and environ[name] == "30"


def test_the_date_of_somebodys_package_is_not_that_of_the_book():
    environ = {"SOURCE_DATE_EPOCH": "then", "READTHEDOCS": "True"}
    assert environment.settle(environ) == [] and not {"SOURCE_DATE_EPOCH", "READTHEDOCS"} & {*environ}


def test_a_notebook_whose_python_skips_the_checks_before_timing_is_refused():
    code = "import sys, types; sys.modules['ipykernel'] = types.ModuleType('ipykernel'); import fflib; print('taken')"
    for option, taken in (([], True), (["-O"], False)):
        done = subprocess.run([sys.executable, *option, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode == 0, done.stdout) == (taken, "taken\n" if taken else "")
        assert taken or (done.stderr.startswith("error: this Python skips assertions") and done.stderr.count("\n") == 1)


def test_what_is_ours_is_not_told_a_second_time():
    environ = {"OMP_PLACES": "{0}"}
    assert environment.settle(environ) == ["OMP_PLACES"]
    assert environment.settle(environ) == []


def test_where_nothing_was_dropped_nothing_is_said(monkeypatch):
    monkeypatch.setattr(environment, "dropped", [])
    assert environment.told() == ""
    monkeypatch.setattr(environment, "dropped", ["MPLBACKEND", "OMP_NUM_THREADS"])
    assert "MPLBACKEND, OMP_NUM_THREADS; threads are set by SET=threads=N" in environment.told()


@pytest.mark.parametrize("variable", ["FFLIB_CACHE", "FFLIB_OUTPUTS"])
def test_a_home_that_is_nobodys_is_told_with_the_variable(variable):
    code = "from fflib import files; from fflib.runs import cli; import sys; sys.exit(cli.ended(files.outputs_dir))"
    environ = os.environ | {variable: "~nobody-of-this-name/x"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode != 0 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {variable}: there is no home folder for '~nobody-of-this-name/x'")


@pytest.mark.parametrize("place", ["/proc/nowhere", "a file"])
def test_a_cache_that_cannot_be_made_is_told_by_each_command(place, tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / place))
    with pytest.raises(
        InputError, match=r"the cache folder .*/lengths cannot be made \(.*\); name another by FFLIB_CACHE"
    ):
        cache_dir("lengths")


def test_a_variable_of_spaces_is_not_set(monkeypatch):
    monkeypatch.setenv("FFLIB_OUTPUTS", " ")
    assert outputs_dir() == ROOT / "outputs"


@pytest.mark.parametrize(
    ("place", "says"), [("a{b}", r"has '\{' in its path"), ("a,b", "has ','"), ("file", "is a file")]
)
def test_outputs_that_snakemake_cannot_write_to_are_told(place, says, tmp_path, monkeypatch):
    """By symptom: "Wildcards in input files cannot be determined", or a traceback of snakemake."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FFLIB_OUTPUTS", str(tmp_path / place))
    with pytest.raises(InputError, match=f"FFLIB_OUTPUTS .*{says}"):
        workflow.check_room()


# Private and quiet

SESSION = """
import onnxruntime
from onnx import TensorProto, helper
value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "graph", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
"""


def left_behind(tmp_path: Path, code: str, *command: str) -> list[Path]:
    """Run code with a home and a cache of its own; return what ONNX Runtime's telemetry left there."""
    places = {name: str(tmp_path / name) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "XDG_DATA_HOME")}
    for place in places.values():
        Path(place).mkdir()
    (tmp_path / "code.py").write_text(code)
    command = command or (sys.executable, str(tmp_path / "code.py"))
    # With nothing of this process: where CI=1 stands the library is silent of its own accord.
    variables = places | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    subprocess.run([*command], env=variables, cwd=ROOT, check=True, capture_output=True, timeout=100)
    return [path for path in tmp_path.rglob("*") if "microsoft" in path.name.lower() or path.name == "deviceid"]


def test_onnx_runtime_would_tell_of_the_reader(tmp_path):
    """If this fails, the library has changed its ways, and the next test proves nothing any more."""
    assert left_behind(tmp_path, SESSION)


@pytest.mark.parametrize("first", ["import fflib.engine.sessions", "from fflib import files"])
def test_of_the_book_it_tells_nothing(tmp_path, first):
    assert not left_behind(tmp_path, first + SESSION)


def test_nor_does_the_folder_that_is_taken_home(tmp_path):
    stub = "import os, sys\nprint(os.environ.get('ORT_DISABLE_TELEMETRY'))\nsys.exit()\n"
    (tmp_path / "onnxruntime.py").write_text(stub)
    shutil.copy(ROOT / "fflib" / "book" / "template" / "classify.py", tmp_path)
    variables = {name: value for name, value in os.environ.items() if name not in environment.QUIET}
    command = [sys.executable, str(tmp_path / "classify.py")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout == "1\n", done.stderr


def test_the_lab_opens_the_books_kernel_and_asks_nobody(tmp_path, monkeypatch):
    """JupyterLab itself is not started: what stands for it prints how it was called and which kernel it would start."""
    stub = """import json, os, sys
from jupyter_client.kernelspec import KernelSpecManager
kernel = KernelSpecManager().get_kernel_spec("python3").argv
print(json.dumps([sys.argv[1:], kernel, os.environ["ORT_DISABLE_TELEMETRY"]]))
"""
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab" / "__main__.py").write_text(stub)
    (tmp_path / "jupyterlab" / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from fflib.book import lab; import os\n"
    code += f"os.environ['PYTHONPATH'] = {str(tmp_path)!r}\nlab.ROOT = {str(tmp_path)!r}\nsys.exit(lab.main())"
    variables = os.environ | {"FFLIB_CACHE": str(tmp_path / "cache"), "JUPYTER_PATH": "/no/such/place"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, cwd=tmp_path)
    arguments, kernel, quiet = json.loads(done.stdout)
    assert "--LabApp.news_url=None" in arguments and quiet == "1"
    assert kernel[:3] == [sys.executable, "-m", "fflib.book.kernel"]
