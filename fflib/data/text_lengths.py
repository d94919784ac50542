"""How many tokens the texts of a data set have, counted by the tokenizer that will read them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from fflib.files import InputError, cache_dir, content_hash, write_json

TEACHER = "sentence-transformers/all-MiniLM-L6-v2"  # chapter 1's default
ROWS = 2000  # that are counted, of all lengths alike
CHARACTERS = 8_000  # of a text: more than 512 tokens
LEAST, MOST, SHARE = 16, 512, 0.99
POSSIBLE = [LEAST << i for i in range(6)]


def length_for(texts: Sequence[tuple[str, ...]], model: str = "") -> int:
    """Return the least power of two of tokens, from 16 to 512, that holds 99 of 100 ``texts`` (of one or two fields).

    ``model`` is the one that reads them, a hub name or a folder. What was counted is kept. InputError: there is none.
    """
    from fflib import hub  # only where something is measured: it takes a while to load

    folder = hub.resolve(model or TEACHER)
    by_length = sorted(range(len(texts)), key=lambda i: (sum(map(len, texts[i])), i))
    chosen = [texts[by_length[i]] for i in np.unique(np.linspace(0, len(texts) - 1, ROWS).astype(int))]
    cut = [[field[:CHARACTERS] for field in fields] for fields in chosen]
    files = [path for name in hub.WANTED[2:] if (path := folder / name).is_file()]
    path = cache_dir("lengths") / f"{content_hash(ROWS, cut, *files)}.json"
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept in POSSIBLE:
            return kept
    except (OSError, ValueError):  # not there yet, or damaged
        pass
    counts = _counted(cut, str(folder))
    wanted = np.quantile(counts, SHARE, method="inverted_cdf")
    length = LEAST
    while length < min(wanted, MOST):
        length *= 2
    write_json(path, length)
    return length


def _counted(texts: Sequence[Sequence[str]], folder: str) -> np.ndarray:
    """Return the numbers of tokens of texts, special ones included."""
    import transformers  # only where nothing was kept: it takes seconds to load

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no readable tokenizer; it needs tokenizer.json or a vocabulary") from error
    tokenizer.model_max_length = int(1e9)  # it would warn of each text that is longer, and nothing is cut here
    columns = [list(column) for column in zip(*texts, strict=True)]
    return np.array([len(ids) for ids in tokenizer(*columns)["input_ids"]])
