"""Text and YAML from files in whatever encoding they have, or a sentence that says which file, line and way out."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Any

import yaml

from fflib.data import garbled
from fflib.files import InputError

MARKS = {  # the longer ones first: UTF-32's begins as UTF-16's does
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
BINARY = {
    b"PK\x03\x04": "a spreadsheet or another zip archive; save its table as CSV, UTF-8",
    **dict.fromkeys((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf"), "compressed; unpack it"),
    b"PAR1": "a parquet file; write it as CSV or JSON lines",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet; save its table as CSV, UTF-8",
    b"SQLite format 3": "a database; write the table as CSV, UTF-8",
    b"%PDF": "a PDF; write its table as CSV, UTF-8",
    b"\x80\x04\x95": "a pickle, which could run code; write what it holds as CSV or JSON lines",
}
WIDE = ("utf-16", "utf-32")  # encodings whose plain letters have bytes of 0
ZEROS = 0.05  # of the bytes; text has none, but UTF-16 has one in every plain letter, space and comma
AT_END = 3  # so many zeros at the end of a file are not a single character of it any more
MANY_ZEROS = 0.6  # and UTF-32 two or three in every letter


def read_text(path: Path, encoding: str | None = None) -> str:
    """Return the text of a file: UTF-8, or UTF-16 and UTF-32 with a mark at the start, which is taken off.

    ``encoding`` is another one, which a mark overrules; "" is none, but could be named, so a message tells how.
    InputError: it is not in that encoding, is no text, or cannot be read; names the file and, where it can, the line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the path and its permissions") from error
    if what := next((what for start, what in BINARY.items() if content.startswith(start)), ""):
        raise InputError(f"{path} is {what}")
    marked = next((name for mark, name in MARKS.items() if content.startswith(mark)), "")
    found = marked or _known(encoding or "utf-8")
    if not found.startswith(WIDE):
        _check_no_zeros(path, content, encoding)
    is_told = not marked and found != "utf-8"  # by somebody, who may be wrong
    if is_told:
        _check_not_utf8(path, content, found)
    try:
        text = content.decode(found)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        name = found.upper() if found.startswith("utf") else found
        if found == "utf-8" and (broken := garbled.broken_utf8(content)):
            some = f"a byte in line {line} is" if broken == 1 else f"{broken} bytes are, the first in line {line},"
            raise InputError(f"{path}: {some} not of UTF-8, which the rest is; mend it there") from error
        raise InputError(f"{path}: not {name} text (line {line}); {_remedy(encoding)}") from error
    if is_told:
        _check_not_garbled(path, text, found, encoding)
    # More than one mark where marked files were put together; at the end what DOS wrote there.
    return text.lstrip("\ufeff").removesuffix("\x1a")


def _known(encoding: str) -> str:
    """Return the usual name of an encoding. InputError: Python knows none of that name, or it is none of text."""
    try:
        codec = codecs.lookup(encoding)
        "".encode(codec.name)  # some only turn bytes into bytes
    except (LookupError, ValueError) as error:
        raise InputError(f"there is no encoding {encoding!r} of text; name one as in 'encoding: cp1252'") from error
    return codec.name.removesuffix("-sig")  # a mark is taken off wherever there is one


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says, None where it is empty. InputError: not to be read, no YAML, or a key twice."""
    return _loaded(path, _AsItLooks)


def read_yaml_as_written(path: Path) -> Any:
    """Return what a YAML file says with every value as the text that stands there: no, 01 and 1.0 stay as they are."""
    return _loaded(path, yaml.BaseLoader)


def parse_yaml(text: str, loader: type | None = None) -> Any:
    """Return what a YAML text says, as in a file of ``params/``. yaml.YAMLError, ValueError: it is none."""
    try:
        return yaml.load(text, Loader=loader or _AsItLooks)
    except (LookupError, TypeError, AttributeError) as error:  # of PyYAML, where a tag does not fit its value
        raise ValueError(f"a value is not of the kind that its tag says ({error})") from error


def _loaded(path: Path, loader: type) -> Any:
    try:
        return parse_yaml(read_text(path), loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date such as 2020-13-45 is a ValueError
        raise InputError(f"{path.name} is not valid YAML: {' '.join(str(error).split())}") from error


_FLOAT = r"([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?"
_NUMBERS = {  # what is read as one
    "tag:yaml.org,2002:int": re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)$"),
    "tag:yaml.org,2002:float": re.compile(rf"([-+]?({_FLOAT}|\.(inf|Inf|INF))|\.(nan|NaN|NAN))$"),
}


class _AsItLooks(yaml.SafeLoader):
    """YAML takes the last of two equal keys without a word, 8 for 010 and 90 for 1:30: the latter are texts here."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (PyYAML's own)
        first: [(tag, _NUMBERS.get(tag, pattern)) for tag, pattern in resolvers]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1 and key != "<<"]:
            said = f"'{twice[0]}' stands there twice; take one of the lines out"
            raise yaml.constructor.ConstructorError(None, None, said, node.start_mark)
        return super().construct_mapping(node, deep)


def _remedy(encoding: str | None) -> str:
    saved = "save it again with the encoding UTF-8"
    if encoding is None:
        return saved
    if encoding:
        return f"'encoding: {encoding}' is not what it has; correct that line, or {saved}"
    return f"{saved}, or say what it has, as in 'encoding: cp1252' (of Windows in Western Europe)"


def _check_no_zeros(path: Path, content: bytes, encoding: str | None) -> None:
    """Refuse UTF-16 and UTF-32 without a mark at the start, where plain letters would pass as UTF-8 with zeros between.

    Zeros at the end alone are what a full disk or a machine that stopped leaves of a file.
    """
    whole = content.rstrip(b"\0")
    if whole.count(0) > ZEROS * len(whole):
        width = 4 if content.count(0) > MANY_ZEROS * len(content) else 2
        ends = content[width - 1 :: width].count(0) > content[::width].count(0)
        name = f"utf-{8 * width}-{'le' if ends else 'be'}"
        told = "" if encoding is None else f", or say 'encoding: {name}'"
        marked = f"UTF-{8 * width} without a mark? Save it again with the encoding UTF-8{told}"
        raise InputError(f"{path} has bytes of 0: {marked}")
    if len(content) - len(whole) > AT_END:
        line = whole.count(b"\n") + 1
        raise InputError(f"{path}, line {line}: the file ends there in bytes of 0, damaged; fetch or write it again")


def _check_not_utf8(path: Path, content: bytes, encoding: str) -> None:
    """Refuse to read UTF-8 as something else: every byte means something in cp1252, so no error would tell."""
    wide = encoding.startswith(WIDE)
    if 0 in content if wide else content.isascii():
        return
    broken = garbled.broken_utf8(content)
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        if broken:
            line = content[: error.start].count(b"\n") + 1
            raise InputError(
                f"{path} is UTF-8 text but for {broken} bytes, the first in line {line}, so 'encoding: {encoding}' "
                "would garble the rest; mend these, and take that line out"
            ) from error
        if wide:
            raise InputError(f"{path} has no byte of 0, as {encoding} has in each line; {_remedy(encoding)}") from error
        return
    raise InputError(f"{path} is UTF-8 text, so 'encoding: {encoding}' would garble it; take that line out")


def _check_not_garbled(path: Path, text: str, found: str, encoding: str | None) -> None:
    """Refuse what an encoding makes of bytes of another one: they can be read, but not as words."""
    if "\u0a00" in text and "\n" not in text:  # no letter, but the end of a line with its bytes turned round
        raise InputError(f"{path}: {found} has its bytes the wrong way round; {_remedy(encoding or found)}")
    if found.startswith(WIDE):
        if text.count("\0") > ZEROS * len(text):
            raise InputError(f"{path}: {found} makes characters of 0 of it; {_remedy(encoding)}")
        return
    if (at := garbled.first_control(text)) >= 0 and found in garbled.WINDOWS:
        raise InputError(
            f"{path}, line {text[:at].count(chr(10)) + 1}: {found} has a control character there, and Windows a sign; "
            f"say 'encoding: {garbled.WINDOWS[found]}', or save it again with the encoding UTF-8"
        )
    odd, looked_at = garbled.odd_words(text)
    if garbled.is_garbled(len(odd), looked_at):
        line = text[: text.index(odd[0])].count("\n") + 1
        raise InputError(
            f"{path}: of {looked_at} words with more than ASCII {len(odd)} are none that anybody writes, the first in "
            f"line {line} ({odd[0][:30]!r}); {_remedy(encoding)}"
        )
