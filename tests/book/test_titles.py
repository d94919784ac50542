"""A figure's title becomes its caption: told by the figure, cut off the picture."""

from __future__ import annotations

import base64
import io

import numpy as np
from IPython.core.formatters import DisplayFormatter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output
from PIL import Image

from fflib.book import numbered, titles


def drawn(*panels: str, above: str = "") -> Figure:
    figure = Figure(figsize=(4, 3))
    FigureCanvasAgg(figure)
    for title, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        axes.set_title(title, loc="left")
    if above:
        figure.suptitle(above)
    figure.draw_without_rendering()
    titles.tell(figure, "a_name")
    return figure


def told(figure: Figure) -> dict[str, object]:
    """The metadata that a notebook keeps beside the picture."""
    formatter = DisplayFormatter(active_types=["image/png", "text/plain"])
    formatter.formatters["image/png"].for_type(Figure, png)
    data, metadata = formatter.format(figure)
    assert data["image/png"].startswith(b"\x89PNG"), "the picture itself is there too"
    return metadata


def png(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=100, bbox_inches="tight")
    return file.getvalue()


def test_a_notebook_keeps_name_and_title() -> None:
    metadata = told(drawn("What it\nshows"))
    assert metadata["name"] == "a_name" and metadata["title"] == "What it shows" and 0 < metadata["title_ends"] < 0.2


def test_titles_of_several_panels_are_told_and_stay_one_above_all_is_cut() -> None:
    assert told(drawn("left", "right")) == {"name": "a_name", "title": "left; right"}
    metadata = told(drawn("left", "right", above="both"))
    assert metadata["title"] == "both" and 0 < metadata["title_ends"] < 0.2


def test_cutting_the_title_leaves_the_picture_as_it_is_without_one() -> None:
    figure = drawn("What it shows")
    output = new_output("display_data", {"image/png": base64.b64encode(png(figure)).decode()}, metadata=told(figure))
    heading, cell = new_markdown_cell("## 3.1 Part"), new_code_cell("draw()", outputs=[output])
    found = numbered.figures([heading, cell], "03_distillation")
    assert [part.source for part in found[1:]] == ["draw()", numbered.MORE]
    settings = found[2].metadata["mystnb"]
    assert settings["figure"] == {"caption": "**Figure 3.1**: What it shows", "name": "figure-03-a-name"}
    assert settings["image"] == {"alt": "What it shows"}
    cut = Image.open(io.BytesIO(base64.b64decode(found[2].outputs[0].data["image/png"])))
    whole = Image.open(io.BytesIO(png(figure)))
    figure.axes[0].set_title("", loc="left")
    without = Image.open(io.BytesIO(png(figure)))
    assert without.height - 12 <= cut.height < whole.height - 5, "the title is gone, and nothing else"
    assert np.array_equal(np.asarray(cut)[-without.height // 2 :], np.asarray(whole)[-without.height // 2 :])


def test_a_title_that_something_else_touches_stays() -> None:
    figure = drawn("What it shows")
    metadata = told(figure)
    figure.add_artist(Line2D([0, 1], [0, 1]))  # across the whole picture: no row is empty
    picture = base64.b64encode(png(figure)).decode()
    output = new_output("display_data", {"image/png": picture}, metadata=metadata)
    (_, part) = numbered.figures([new_code_cell("draw()", outputs=[output])], "03_distillation")
    assert part.outputs[0].data["image/png"] == picture


def test_marks_in_a_title_are_no_markdown() -> None:
    output = new_output("display_data", {"image/png": ""}, metadata={"title": "a_b *c*"})
    (_, part) = numbered.figures([new_code_cell("draw()", outputs=[output])], "00_introduction")
    assert part.metadata["mystnb"]["figure"]["caption"] == r"**Figure 0.1**: a\_b \*c\*"


def test_an_answer_stays_in_one_piece() -> None:
    picture = new_output("display_data", {"image/png": ""})
    answer = new_code_cell("draw()", outputs=[picture, picture], metadata={"tags": ["answer"]})
    (same,) = numbered.figures([answer], "03_distillation")
    assert len(same.outputs) == 2 and "figure" not in same.metadata["mystnb"]
