"""What a model can read of texts, told before anything is trained: how much is cut, how much it has no token for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from transformers import PreTrainedTokenizerBase

from fflib.data.splits import TokenizedSplit

FEW = 100  # examples of dev or test, below which a score is a guess
UNREAD = 0.02  # of the tokens; in a language that a model reads it is next to nothing
CUT = 0.05  # of the texts; a data set's own length is chosen so that one of a hundred is cut


def unread_share(examples: TokenizedSplit, tokenizer: PreTrainedTokenizerBase) -> float:
    """Return the share of the tokens, special ones left out, that stand for text the model has no token for."""
    if tokenizer.unk_token_id is None:
        return 0.0
    ids = np.concatenate(examples.input_ids)
    special = [i for i in tokenizer.all_special_ids if i != tokenizer.unk_token_id]
    ids = ids[~np.isin(ids, special)]
    return float((ids == tokenizer.unk_token_id).mean()) if len(ids) else 0.0


def words(
    examples: Mapping[str, TokenizedSplit], tokenizer: PreTrainedTokenizerBase, max_length: int, teacher: str
) -> str:
    """Say what is odd about the texts "train", "dev" and "test" as a model reads them; '' where nothing is.

    ``teacher`` is the model's name; dev and test are cut to ``max_length`` tokens, train may be cut to fewer.
    """
    said, test = [], examples["test"]
    if (share := max(unread_share(each, tokenizer) for each in examples.values())) > UNREAD:
        said.append(
            f"**{share:.0%} of the tokens are unknown** to {teacher} (`{tokenizer.unk_token}`): it cannot tell these "
            "words apart, so what it scores comes from the rest; name a `teacher` that knows this language or script."
        )
    if (cut := float((test.lengths >= max_length).mean())) > CUT:
        said.append(
            f"{cut:.0%} of the test texts fill all {max_length} tokens, so most of these are cut (`max_length`)."
        )
    few = {name: len(examples[name]) for name in ("dev", "test") if len(examples[name]) < FEW}
    if few:
        counts = " and ".join(f"{count} {name}" for name, count in few.items())
        said.append(
            f"With only {counts} examples, scores are little more than guesses, as their intervals show, and so are "
            "the choices that are made by them."
        )
    return " ".join(said)
