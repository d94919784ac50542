"""The ladder to touch: what its stops say, and that keys and fingers move it."""

import json

import pytest
from small_ladder import ROWS

from fflib.book import stops
from fflib.book.render import THEME
from fflib.runs import ladder
from fflib.talk import browser

MORE = {"model": "m", "engine": "e", "precision": "fp32", "batching": "none", "threads": 2, "instances": 1}
TABLE = ladder.ladder([MORE | {"energy_source": "", "status": "ok"} | row for row in ROWS])
TABLE.loc[TABLE["rung"] == "int8 dynamic", "precision"] = "int8 <b>"
TABLE.loc[TABLE["rung"] == "pruned 33/50", "keeps_rule"] = "no"
BY_NAME = {stop["rung"]: stop for stop in stops.stops(TABLE, "int8 dynamic")}


def texts(parts):
    return {part["name"]: part["text"] for part in parts}


def test_a_stop_says_what_the_rung_is_made_of_what_it_costs_and_how_it_answers():
    stop = BY_NAME["int8 dynamic"]
    assert stop["below"] == "distilled student" and stop["what"] == "eight bits" and stop["factorText"] == "120.0x"
    assert [part["name"] for part in stop["madeOf"] if part["changed"]] == ["precision"]
    assert texts(stop["costs"])["vs the rung below"] == "2.00x" and texts(stop["costs"])["requests/s"] == "180.0"
    assert texts(stop["quality"])["accuracy"].startswith("87.0%")
    assert texts(stop["costs"])["size of the model"] == texts(BY_NAME[ladder.PADDED]["quality"])["accuracy"]


def test_what_the_story_did_not_take_is_told_apart_and_what_is_below_the_rule_says_so():
    assert [name for name, stop in BY_NAME.items() if not stop["taken"]] == [ladder.UNPADDED, "pruned 33/50"]
    assert ladder.BELOW in texts(BY_NAME["pruned 33/50"]["quality"])["kept of its teacher's"]


def test_a_rung_that_failed_or_was_not_timed_is_no_stop():
    table = TABLE.copy()
    table.loc[table["rung"] == "pruned 33/50", "status"] = "failed: no room"
    table.loc[table["rung"] == ladder.UNPADDED, "speedup_vs_padded"] = float("nan")
    assert len(stops.stops(table, "int8 dynamic")) == len(BY_NAME) - 2


@pytest.mark.skipif(not browser.found(), reason="there is no Chromium here")
def test_arrow_keys_and_a_click_choose_a_rung(tmp_path):
    told = json.dumps([*BY_NAME.values()]).replace("</", "<\\/")
    (tmp_path / "ladder.js").write_text((THEME / "static" / "ladder.js").read_text())
    data = f'<script type="application/json" id="ladder-data">{told}</script><script src="ladder.js"></script>'
    (tmp_path / "page.html").write_text(f'<!doctype html><div id="ladder-stops" hidden></div>{data}')
    with browser.opened(offline=True) as page:
        page.go((tmp_path / "page.html").as_uri())
        card = "document.querySelector('.ladder-card').innerText"
        assert page.value(card).startswith("int8 dynamic: eight bits") and "int8 <b>" in page.value(card)
        page.value("document.querySelector('input:checked').focus()")
        page.press("ArrowUp", 38)
        assert page.value(card).startswith("distilled student")
        seen = "[...document.querySelectorAll('#ladder-stops label:not([hidden]) input[type=radio]')].length"
        assert page.value(seen) == len(BY_NAME) - 2
        page.value("document.querySelector('.ladder-all input').click()")
        assert page.value(seen) == len(BY_NAME)
        page.value("document.querySelectorAll('input[type=radio]')[5].click()")
        assert page.value(card).startswith("pruned 33/50")
        page.value("document.querySelector('.ladder-all input').click()")  # what is chosen is hidden: back to the last
        assert page.value(card).startswith("int8 dynamic") and not page.errors()
