"""Figures of a chapter with numbers and captions, as a printed book has them: "Figure 3.2: what it shows".

In a notebook a figure carries its title itself, since there it stands alone. The page's caption says it, so the title
is cut off the picture where `titles.tell` measured where it ends.
"""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence

import nbformat
import numpy as np
from nbformat import NotebookNode

from fflib.book import fold

IMAGES = ("image/png", "image/svg+xml")
NEAR = 8  # pixels by which a title may end elsewhere than it was measured
MORE = "# what the cell above shows besides"  # an empty cell is left out, with all that it shows
TEXT = re.compile(r"([\\`*_{}\[\]<>$#|])")  # would be Markdown in a caption


def figures(cells: Sequence[NotebookNode], chapter: str) -> list[NotebookNode]:
    """Return the cells with each figure in a cell of its own, numbered, with a caption and an alternative text."""
    found, heading, count = [], "", 0
    for cell in cells:
        if cell.cell_type == "markdown":
            heading = last_heading(cell.source) or heading
        for part in _one_figure_each(cell):
            found.append(part)
            output = next((one for one in part.get("outputs", []) if _kind(one)), None)
            if output is None:
                continue
            settings, title = part.metadata.setdefault("mystnb", {}), _title(output)
            settings["image"] = {"alt": title or f"Figure: {heading}"}
            if not fold.is_answer(cell):
                count += 1
                number = f"{int(chapter[:2]) if chapter[:2].isdigit() else 0}.{count}"
                settings["figure"] = _caption(title, number, f"figure-{chapter[:2]}-{_name(output) or f'no-{count}'}")
                _cut_title(output)
    return found


def last_heading(source: str) -> str:
    """Return the text of the last heading in a Markdown text, '' where there is none; code is left out."""
    prose = re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#{1,6} +(.+?) *#*$", prose, flags=re.MULTILINE)
    return re.sub(r"[*_`]", "", headings[-1]) if headings else ""


def _one_figure_each(cell: NotebookNode) -> list[NotebookNode]:
    """Give each figure a cell of its own, since a caption is one of a cell; an answer stays whole behind its button."""
    if not any(map(_kind, cell.get("outputs", []))) or fold.is_answer(cell):
        return [cell]
    groups: list[list[NotebookNode]] = [[]]
    for output in cell.outputs:
        groups += [[output], []] if _kind(output) else []
        if not _kind(output):
            groups[-1].append(output)
    cell.outputs = groups[0]
    without_code = {"tags": ["remove-input"]}
    rest = [nbformat.v4.new_code_cell(MORE, outputs=group, metadata=without_code) for group in groups[1:] if group]
    return [cell, *rest]


def _kind(output: NotebookNode) -> str:
    return next((kind for kind in IMAGES if kind in output.get("data", {})), "")


def _title(output: NotebookNode) -> str:
    told = output.get("metadata", {})
    return told.get("title") or told.get(_kind(output), {}).get("alt") or told.get("alt") or ""


def _name(output: NotebookNode) -> str:
    return output.get("metadata", {}).get("name", "")


def _caption(title: str, number: str, name: str) -> dict[str, str]:
    words = [f"**Figure {number}**", *([TEXT.sub(r"\\\1", title)] if title else [])]
    return {"caption": ": ".join(words), "name": name.replace("_", "-")}


def _cut_title(output: NotebookNode) -> None:
    """Cut off the title that the caption says, where the picture has an empty row below it; else it stays."""
    end, kind = output.get("metadata", {}).get("title_ends", 0), _kind(output)
    if kind != "image/png" or not 0 < end < 1:
        return
    from PIL import Image  # only now: few figures need it

    image = Image.open(io.BytesIO(base64.b64decode(output.data[kind])))
    top = _empty_row(np.asarray(image.convert("RGB")), round(end * image.height))
    if not top:
        return
    cut = io.BytesIO()
    image.crop((0, top, image.width, image.height)).save(cut, format="PNG")
    output.data[kind] = base64.b64encode(cut.getvalue()).decode()
    size = output.metadata.get(kind, {})
    if "height" in size:
        size["height"] = round(size["height"] * (1 - top / image.height))


def _empty_row(pixels: np.ndarray, row: int) -> int:
    """Return the row nearest to ``row`` where an image [height, width, 3] shows nothing; 0: there is none near it."""
    rows = sorted(range(max(1, row - NEAR), min(len(pixels), row + NEAR + 1)), key=lambda i: abs(i - row))
    return next((i for i in rows if (pixels[i] == pixels[i, 0]).all()), 0)
