"""Pinned front-end files, with an npm that packs what a test gives it."""

import hashlib
import json
import os
import sys

import pytest

from fflib.book import vendor
from fflib.files import InputError

NPM = """#!{python}
import io, json, sys, tarfile
from pathlib import Path
here = Path(__file__).parent
with open(here / "calls", "a") as calls:
    print(*sys.argv[1:3], file=calls)
if (here / "fails").exists():
    sys.exit("npm error: no such package")
folder = Path(sys.argv[sys.argv.index("--pack-destination") + 1])
with tarfile.open(folder / "thing-1.0.tgz", "w:gz") as packed:
    for name, text in json.loads((here / "package.json").read_text()).items():
        member = tarfile.TarInfo("package/" + name)
        member.size = len(text)
        packed.addfile(member, io.BytesIO(text.encode()))
print("thing-1.0.tgz")
"""
THING = {"LICENSE": "do as you like", "dist/thing.js": "1 + 1"}


class FakeNpm:
    def __init__(self, folder):
        self.folder = folder
        self.gives(THING)

    def gives(self, texts):
        (self.folder / "package.json").write_text(json.dumps(texts))

    def fails(self):
        (self.folder / "fails").touch()

    @property
    def calls(self):
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A cache that is empty, one pinned package, and an npm that gives it."""
    (tmp_path / "npm").write_text(NPM.format(python=sys.executable))
    (tmp_path / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    pinned = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in THING.items()}
    monkeypatch.setattr(vendor, "PINS", {"@some/thing": vendor.Pin("1.0", "MIT", pinned)})
    return FakeNpm(tmp_path)


def test_what_is_fetched_is_read_from_the_cache_ever_after(npm, capfd):
    assert not vendor.there("@some/thing")
    assert vendor.main([]) == 0
    assert vendor.there("@some/thing") and vendor.file("@some/thing", "dist/thing.js").read_text() == "1 + 1"
    assert capfd.readouterr().out == "fetched @some/thing 1.0 from npm\n"  # and nothing that npm said
    assert vendor.main([]) == 0 and npm.calls == ["pack @some/thing@1.0"] and capfd.readouterr().out == ""


def test_a_file_that_is_not_the_pinned_one_brings_nothing_in(npm):
    npm.gives(THING | {"dist/thing.js": "1 + 2"})
    with pytest.raises(InputError, match=r"dist/thing\.js of @some/thing 1\.0 is not the file that is pinned"):
        vendor.fetch("@some/thing")
    assert not any(path.is_file() for path in (npm.folder / "cache").rglob("*"))


def test_a_package_that_lacks_a_file_brings_nothing_in(npm):
    npm.gives({"LICENSE": THING["LICENSE"]})
    with pytest.raises(InputError, match="is not the file that is pinned"):
        vendor.fetch("@some/thing")
    assert not vendor.there("@some/thing")


def test_a_file_that_was_changed_in_the_cache_is_not_given_and_is_fetched_again(npm):
    vendor.fetch("@some/thing")
    vendor.file("@some/thing", "dist/thing.js").write_text("1 + 2")
    assert not vendor.there("@some/thing")
    with pytest.raises(InputError, match="is not here; fetch it with python -m fflib.book.vendor"):
        vendor.file("@some/thing", "dist/thing.js")
    assert vendor.fetch("@some/thing") and vendor.there("@some/thing")


def test_what_npm_says_is_shown_where_it_fails(npm, capfd):
    npm.fails()
    assert vendor.main([]) == 2
    said = capfd.readouterr().err
    assert "npm error: no such package" in said and "error: npm could not fetch @some/thing@1.0, see above" in said


def test_without_npm_it_is_one_sentence(npm, capfd):
    os.remove(npm.folder / "npm")
    assert vendor.main([]) == 2
    said = capfd.readouterr().err
    assert said.startswith("error: npm is not here") and said.count("\n") == 1


def test_only_what_is_pinned_can_be_asked_for(npm):
    with pytest.raises(InputError, match="there is no package 'other'"):
        vendor.there("other")
    with pytest.raises(InputError, match="there is no file of @some/thing 'dist/other.js'"):
        vendor.file("@some/thing", "dist/other.js")


def test_the_cache_of_this_machine_holds_what_is_pinned():
    if not vendor.there(vendor.REVEAL):
        pytest.skip(f"the front-end files were not fetched: {vendor.COMMAND}")
    assert vendor.file(vendor.REVEAL, "dist/reveal.js").stat().st_size > 100_000


def test_asked_for_help_it_fetches_nothing(monkeypatch, capsys):
    monkeypatch.setattr(vendor, "fetch", lambda package: pytest.fail("it fetches"))
    with pytest.raises(SystemExit) as ended:
        vendor.main(["--help"])
    assert ended.value.code == 0 and "python -m fflib.book.vendor" in capsys.readouterr().out
