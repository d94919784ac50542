"""Texts that were read in an encoding that they do not have: most bytes mean something in it, so no error tells.

What tells are words that nobody writes: "sch”n" and "Stra§e" have a sign between letters, "cafŽ" a capital behind a
small letter, "Ïðèâåò" accents on every letter, "schцn" two alphabets, and "sch鰊" one ideogram among Latin letters. Not
told are encodings that differ in letters alone: Turkish (cp1254) read as cp1252 looks like a language.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice

SEVERAL, SHARE = 3, 0.1  # odd words, and their share of those with a letter or sign beyond ASCII: fewer are slips
ENOUGH = 20_000  # words that are looked at
ACCENTED = 4  # so many letters, each of them beyond ASCII, are no word of a language in Latin letters
CONTROLS = re.compile(r"[\x80-\x9f]")  # between the two halves of Latin-1; a Windows encoding has its signs there
WINDOWS = {  # what a file mostly has that is said to be in an encoding of the left, and has such controls
    **dict.fromkeys(("iso8859-1", "iso8859-15"), "cp1252"),
    **{f"iso8859-{part}": f"cp125{page}" for part, page in ((2, 0), (5, 1), (7, 3), (9, 4), (8, 5), (6, 6), (13, 7))},
}
SIGNS, PLAIN_SIGNS = {"So", "Sm", "Sc", "Sk", "No"}, "´`"  # Unicode's categories; what some write for an apostrophe
QUOTES = "‚„‹›•¡¿§¶†‡‰"  # of the other categories, those that stand at the ends of words or alone
ALPHABETS = ((0x250, "Latin"), (0x370, ""), (0x400, "Greek"), (0x530, "Cyrillic"), (0x590, ""), (0x600, "Hebrew"))
ALPHABETS += ((0x700, "Arabic"), (0xE00, ""), (0xE80, "Thai"), (0x3040, ""), (0xD7B0, "ideograms"), (0x110000, ""))
LETTERS = re.compile(r"[^\W\d_]+")
UTF8_TWICE = re.compile("[ÂÃ][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€.")  # UTF-8 of Latin letters and quotation marks


def odd_words(text: str) -> tuple[list[str], int]:
    """Return the words of ``text`` that nobody writes, and how many words beyond ASCII were looked at."""
    words = [*islice((word for word in text.split() if not word.isascii()), ENOUGH)]
    return [word for word in words if _is_odd(word)], len(words)


def is_garbled(odd: int, looked_at: int) -> bool:
    """Say whether so many odd words are too many to be slips."""
    return odd >= max(SEVERAL, SHARE * looked_at)


def first_control(text: str) -> int:
    """Return the place of the first control character that Latin-1 has where Windows has signs; -1: there is none."""
    found = CONTROLS.search(text)
    return found.start() if found else -1


def broken_utf8(content: bytes) -> int:
    """Return how many bytes are none of UTF-8 where most that are not ASCII are; 0 where most are not, or all are."""
    text = content.decode("utf-8", errors="replace")
    broken = text.count("\ufffd") - content.count("\ufffd".encode())
    whole = sum(not letter.isascii() for letter in text) - broken if broken else 0
    return broken if whole > broken else 0


def read_twice(texts: Iterable[str]) -> Iterator[tuple[int, str, str]]:
    """Yield (which text, what stands there, what was meant) of texts whose UTF-8 was once read as something else."""
    for i, text in enumerate(texts):
        if text.isascii() or not UTF8_TWICE.search(text):
            continue
        word = next(word for word in text.split(" ") if UTF8_TWICE.search(word))
        for encoding in ("cp1252", "latin-1"):
            try:
                yield i, word, word.encode(encoding).decode("utf-8")
                break
            except UnicodeError:
                continue


def _is_odd(word: str) -> bool:
    triples = zip(word, word[1:], word[2:], strict=False)
    if any(a.isalpha() and b.isalpha() and _is_sign(sign) for a, sign, b in triples):
        return True
    if any(a.islower() and b.isupper() and not b.isascii() for a, b in zip(word, word[1:], strict=False)):
        return True
    return any(map(_is_odd_run, LETTERS.findall(word)))


def _is_sign(letter: str) -> bool:
    if letter.isascii() or letter in PLAIN_SIGNS:
        return False
    return letter in QUOTES or unicodedata.category(letter) in SIGNS


def _is_odd_run(letters: str) -> bool:
    """Say whether letters without a break are of two alphabets, or Latin ones all of which have accents."""
    if letters.isascii():
        return False
    found = [_alphabet(letter) for letter in letters]
    if {*found} == {"Latin"}:
        return len(letters) >= ACCENTED and not any(map(str.isascii, letters))
    if {*found} == {"Latin", "ideograms"}:  # a name among many ideograms is usual, one of them among Latin letters not
        stretches = "".join("x" if each == "Latin" else "." for each in found).split("x")
        return max(map(len, stretches)) == 1
    return len({*filter(None, found)}) > 1


def _alphabet(letter: str) -> str:
    return next(name for end, name in ALPHABETS if ord(letter) < end)
