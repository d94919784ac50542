import pytest

from fflib.book import chapter_map
from fflib.runs import params

CHAPTER = """# ---
# jupyter: {}
# ---

# %% [markdown]
# # 1 · Made up: a title
#
# one two three [four](https://arxiv.org/abs/1810.04805 "not words").

# %% tags=["hide-input"]
folded = 1

# %%
seen = 1

# seen too
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(params, "NOTEBOOKS", tmp_path)
    for name in ("00_introduction", "01_made_up", "02_long", params.TABLES):
        (tmp_path / f"{name}.py").write_text(CHAPTER)
    words = "# " + "word " * 2000
    (tmp_path / "02_long.py").write_text(CHAPTER.replace("# one two", f"{words}\n# one two"))
    return tmp_path


def test_a_chapter_is_called_by_its_first_heading(home):
    assert chapter_map.title("01_made_up") == "1 · Made up: a title"


def test_words_and_visible_code_take_time_and_links_do_not(home):
    assert chapter_map.reading_minutes("01_made_up") == 1
    assert chapter_map.reading_minutes("02_long") == 11  # 2,000 words are ten minutes, and a little more
    visible = "\n".join(f"x = {i}" for i in range(90))
    (home / "01_made_up.py").write_text(CHAPTER.replace("seen = 1", visible))
    assert chapter_map.reading_minutes("01_made_up") == 4
    (home / "01_made_up.py").write_text(CHAPTER.replace("folded = 1", visible))
    assert chapter_map.reading_minutes("01_made_up") == 1


def test_the_map_has_every_chapter_but_its_own_and_what_did_not_run_is_empty(home):
    rows = chapter_map.rows({"01_made_up": 90.0}, pages=["01_made_up"])
    assert [row["chapter"] for row in rows[:2]] == ["[1 · Made up: a title](01_made_up.ipynb)", "1 · Made up: a title"]
    assert chapter_map.rows({})[1]["chapter"].endswith("(02_long.ipynb)")
    assert [row["to run (minutes)"] for row in rows] == ["1.5", "", "2"]
    assert rows[-1]["to read (minutes)"] == "12"
