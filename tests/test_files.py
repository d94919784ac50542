import errno

import pytest

from fflib import files
from fflib.files import InputError


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_told_in_one_sentence(tmp_path):
    with pytest.raises(InputError, match="No space left"), files.atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_json_without_nan(tmp_path):
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})


def test_hashes_tell_values_types_and_borders_apart(tmp_path):
    (tmp_path / "f").write_bytes(b"ab")
    assert files.content_hash("ab", "c") != files.content_hash("a", "bc")
    assert files.content_hash(1) != files.content_hash("1")
    assert files.content_hash({"a": 1, "b": 2}) == files.content_hash({"b": 2, "a": 1})
    assert files.content_hash(tmp_path / "f") == files.content_hash(b"ab")


def test_an_unknown_name_is_told_with_the_known_ones():
    files.check_known("route", ["labels"], {"labels": 1, "one stage": 2})
    with pytest.raises(files.InputError, match="there is no route 'lables'; there are labels, one stage"):
        files.check_known("route", ["labels", "lables"], {"labels": 1, "one stage": 2})
