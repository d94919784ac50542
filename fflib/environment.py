"""The reader's environment stays outside: what would bend numbers, pictures or kernels is dropped as fflib is imported.

Every process of the book imports fflib before anything that computes or draws: make's commands, snakemake's Snakefile,
kernels, workers, tests, and notebooks that are opened in JupyterLab. So this is the one place that decides what the
libraries find in the environment. What a run depends on is its parameters.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping

from fflib.files import InputError, cache_root

# Dropped, and told where a run begins: who sets one of these expects that it counts.
BENDS = (
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "GOTO_", "BLIS_", "VECLIB_", "NUMEXPR_", "LIBOMP_"),  # threads
    *("DNNL_", "ONEDNN_", "ATEN_", "TORCH", "PYTORCH_", "ORT_", "ONNXRUNTIME_", "OV_", "NPY_", "SCIPY_", "SKLEARN_"),
    *("CAFFE2_", "FBGEMM_", "OPENVINO_", "NNCF_", "LD_PRELOAD", "DYLD_INSERT_LIBRARIES"),
    *("USE_TORCH", "USE_TF", "USE_JAX", "USE_FLAX", "TRANSFORMERS_VERBOSITY", "HF_HUB_VERBOSITY", "PYTHON_CPU_COUNT"),
    *(
        "CUDNN_",
        "CUDA_LAUNCH_BLOCKING",
        "CUDA_DEVICE_MAX_",
        "CUDA_CACHE_",
        "CUDA_FORCE_",
        "CUDA_MODULE_LOADING",
    ),  # a card
    *("TRITON_INTERPRET", "MKLDNN_", "LD_AUDIT", "PANDAS_"),
    *("RAYON_", "TOKENIZERS_", "JOBLIB_", "LOKY_", "MALLOC_", "GLIBC_TUNABLES", "CUBLAS_", "NVIDIA_TF32"),
    *("MPLBACKEND", "MATPLOTLIBRC", "MPLCONFIGDIR", "TQDM_"),  # pictures and bars
    *("JUPYTER_", "IPYTHON", "PYTHONSTARTUP", "PYTHONOPTIMIZE", "SNAKEMAKE_", "PAPERMILL_"),  # kernels and profiles
)
# Left as they are: some libraries set them themselves, as they are imported, lest two of them collide.
KEPT = ("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK")
# Dropped without a word: they are of other tools, or set by these very commands.
STRAY = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONWARNINGS", "PYTHONINSPECT", "PYTHONHASHSEED", "PYTHONMALLOC", "PYTHONDEVMODE"),
    *("PYTHONTRACEMALLOC", "PYTHONASYNCIODEBUG", "PYTHONVERBOSE", "PYTHONPROFILEIMPORTTIME", "PYTHONBREAKPOINT"),
    *("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"),  # images of containers set it: every start takes 10 s longer
    *("PYTHONIOENCODING", "PYTHONDEBUG", "PYTHONCASEOK", "PYTHONEXECUTABLE", "PYTHONSAFEPATH", "PYTHON_GIL"),
    *("PYTHON_JIT", "PYTHON_PERF_JIT_SUPPORT", "PYTHONPERFSUPPORT", "PYTHONLEGACYWINDOWSSTDIO", "PYTHONNODEBUGRANGES"),
    *("SOURCE_DATE_EPOCH", "READTHEDOCS"),  # of those who build other people's packages and pages
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "BASH_ENV", "CDPATH", "JPY_SESSION_NAME"),
)
# Dropped and told where they are no numbers: a library ends in a traceback over them as it is imported.
NUMBERS = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT", "HF_DATASETS_IN_MEMORY_MAX_SIZE")
# Nothing of the book is told to anybody. ONNX Runtime reads its variable once, when it is loaded.
QUIET = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PYTHONUTF8": "1",  # texts are UTF-8 on every machine, in each process that is started from here
    "PYTHONNOUSERSITE": "1",
}
INLINE = "module://matplotlib_inline.backend_inline"  # how a notebook shows its figures

dropped: list[str] = []  # names of `BENDS` that this process found


def check_asserts(in_notebook: bool, asserts: bool = __debug__) -> None:
    """Refuse a notebook whose Python skips assertions, as with PYTHONOPTIMIZE: these are the checks before each timing.

    SystemExit: with a sentence, for nothing of fflib is there to catch another error.
    """
    if in_notebook and not asserts:
        sys.exit(
            "error: this Python skips assertions (-O or PYTHONOPTIMIZE), which check each model before it is timed; "
            "unset PYTHONOPTIMIZE and start the kernel again"
        )


def settle(environ: MutableMapping[str, str] = os.environ) -> list[str]:
    """Drop what bends results, and set what keeps libraries quiet; return the dropped names that should be told."""
    try:
        ours = QUIET | {"MPLCONFIGDIR": str(cache_root() / "matplotlib")}  # with nobody's settings
    except InputError as error:  # nothing of fflib is there yet to catch it
        sys.exit(f"error: {error}")
    if "ipykernel" in sys.modules:  # in a notebook
        ours["MPLBACKEND"] = INLINE
    bends = [name for name in environ if name.startswith(BENDS) and name not in KEPT]
    bends += [name for name in NUMBERS if not environ.get(name, "0").replace(".", "", 1).isdecimal()]
    told = sorted(name for name in bends if environ[name] not in ("", ours.get(name)))
    for name in [*bends, *(name for name in STRAY if name in environ)]:
        del environ[name]
    environ.update(ours)
    return told


def told() -> str:
    """Return a sentence about what was dropped as this process began; '' where nothing was."""
    if not dropped:
        return ""
    threads = "; threads are set by SET=threads=N" if any("THREADS" in name for name in dropped) else ""
    return f"left outside, so that the run depends on its parameters alone: {', '.join(dropped)}{threads}"
