"""The first page: no code, nothing that shows nothing, links above the first section below the figure."""

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from fflib.book.pages import home

PICTURE = new_output("display_data", {"image/png": "iVBOR"})


def notebook(*after):
    cells = [
        new_markdown_cell("# Title"),
        new_code_cell("run = 'x'", metadata={"tags": ["parameters"]}),
        new_code_cell("tell()", outputs=[new_output("stream", text="said")], metadata={"tags": ["hide-input"]}),
        new_code_cell("draw()", outputs=[PICTURE]),
    ]
    return new_notebook(cells=[*cells, *after])


def test_code_that_shows_nothing_goes_and_of_the_rest_only_what_it_shows_is_left():
    page = notebook()
    home.make_ready(page, "")
    assert [cell.source for cell in page.cells] == ["# Title", "tell()", "draw()"]
    assert all(cell.metadata.get("tags", ["remove-input"]) == ["remove-input"] for cell in page.cells)


def test_links_stand_above_the_next_section_also_in_the_middle_of_a_cell():
    page = notebook(new_markdown_cell("How to read it.\n\n## Ladder\n\nRows."), new_markdown_cell("## Other"))
    home.make_ready(page, "- links")
    assert [cell.source for cell in page.cells[3:]] == ["How to read it.", "- links", "## Ladder\n\nRows.", "## Other"]


def test_without_a_section_the_links_come_last():
    page = notebook()
    home.make_ready(page, "- links")
    assert page.cells[-1].source == "- links"
