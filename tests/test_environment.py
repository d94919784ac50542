"""One set of versions: pyproject.toml, requirements.lock, environment.yml and what is installed agree."""

import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fflib.files import ROOT

# conda-forge's name: PyPI's name
CONDA_NAMES = {"pytorch-cpu": "torch", "pytorch-gpu": "torch", "matplotlib-base": "matplotlib"}
# What environment.yml needs beyond the direct dependencies, and why each stands there.
CONDA_TOOLS = {"python", "pip", "make"}
CONDA_EXTRAS = {"setuptools", "sentence-transformers"}
LOCK_MARKERS = {"appnope"}  # locked for another platform than the one the lock was resolved on


def pins(lines: list[str]) -> dict[str, str]:
    """Return {canonical name: exact version} of ``name==version`` lines; anything looser fails."""
    found = {}
    for line in lines:
        requirement = Requirement(line)
        match = re.fullmatch(r"==([\w.!]+)", str(requirement.specifier))
        assert match, f"{line!r} is no exact pin"
        found[canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))] = match[1]
    return found


def direct() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"] + project["optional-dependencies"]["dev"]]


def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return pins([line for line in lines if line and not line.startswith("#")])


def conda() -> tuple[list[str], list[str]]:
    """Return the conda and the pip lines of environment.yml."""
    wanted = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    from_pip = [line for entry in wanted if isinstance(entry, dict) for line in entry["pip"]]
    return [line for line in wanted if isinstance(line, str)], from_pip


@pytest.mark.parametrize("requirement", direct(), ids=lambda requirement: requirement.name)
def test_the_lock_holds_each_direct_dependency_in_its_range(requirement: Requirement) -> None:
    version = lock()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"the lock has {version}, pyproject.toml wants {requirement}"


def test_environment_yml_pins_the_direct_dependencies_as_the_lock_does() -> None:
    lines, from_pip = conda()
    found = pins([line for line in lines if re.split("[=<>]", line)[0] not in CONDA_TOOLS] + from_pip)
    names = {canonicalize_name(requirement.name) for requirement in direct()} | CONDA_EXTRAS
    assert found == {name: lock()[name] for name in names}


def test_environment_yml_uses_conda_forge_only() -> None:
    assert yaml.safe_load((ROOT / "environment.yml").read_text())["channels"] == ["conda-forge", "nodefaults"]


def test_the_installed_versions_are_the_locked_ones() -> None:
    wanted = {name: version for name, version in lock().items() if name not in LOCK_MARKERS}
    if (Path(sys.prefix) / "conda-meta").is_dir():  # conda solves the indirect ones itself
        names = {canonicalize_name(requirement.name) for requirement in direct()}
        wanted = {name: version for name, version in wanted.items() if name in names}
    installed = {}
    for distribution in metadata.distributions():
        installed[canonicalize_name(distribution.name)] = distribution.version.split("+")[0]  # 2.13.0+cpu is 2.13.0
    assert {name: installed.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("name", ["Makefile", ".ci/setup", "requirements.lock", "environment.yml", "pyproject.toml"])
def test_no_package_index_is_written_down(name: str) -> None:
    assert not re.search(r"index-url\s*[= ]\s*\S*://|find-links", (ROOT / name).read_text())
