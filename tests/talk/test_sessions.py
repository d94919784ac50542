"""The recorded typing demo: keys at a human pace, and the keys that a busy model loses."""

import numpy as np
import small_talk

from fflib.talk import sessions


def test_a_busy_model_takes_the_newest_key():
    keys = [0, 100, 200, 300, 1000]
    rows = sessions.queued(keys, lambda key: (key % 2, 250.0))
    assert rows == [[250, 0, 0, 250.0], [500, 2, 0, 250.0], [750, 3, 1, 250.0], [1250, 4, 0, 250.0]]
    assert [row[1] for row in sessions.queued(keys, lambda key: (0, 1.0))] == [0, 1, 2, 3, 4]
    assert sessions.queued([], lambda key: (0, 1.0)) == []


def test_the_session_types_each_text_to_its_end_at_a_human_pace():
    keys = sessions.typed(small_talk.TEXTS[:2])
    assert keys == sessions.typed(small_talk.TEXTS[:2])
    assert [key[2] for key in keys if key[1] == 1][-1] == "the axis 1"
    long = sessions.typed([small_talk.TEXTS[0] | {"texts": ["axis: " + 200 * "x", ""]}])
    assert [len(key[2]) for key in long] == list(range(200 - sessions.TYPED + 1, 201))
    bare = {"texts": ["  ab", "c"], "edited": 0, "fixed": ""}
    assert [key[2] for key in sessions.typed([bare])] == ["  a", "  ab"]
    assert sessions.typed([bare | {"fixed": "  ab"}]) == []
    pauses = np.diff([key[0] for key in keys])
    assert pauses.min() > 20 and 90 < np.median(pauses) < 150 and pauses.max() > sessions.PAUSE_MS
