"""Sphinx's settings for the rendered book: no execution, nothing from the network, at build time or in the browser."""

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml, unichar2tex
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

from fflib.book import bibliography, heads

project = html_title = "Taming Transformers"
extensions = ["myst_nb", "sphinxcontrib.bibtex", "sphinx_copybutton"]
templates_path = ["templates"]
html_static_path = ["static"]

nb_execution_mode = "off"
nb_output_stderr = "remove"
nb_merge_streams = True
nb_render_markdown_format = "myst"  # a cell's Markdown output may hold tables and formulas, as a Markdown cell may
nb_code_prompt_show = "Show the code"
nb_code_prompt_hide = "Hide the code"
nb_ipywidgets_js = {}  # the default fetches require.js from the network
myst_enable_extensions = ["amsmath", "colon_fence", "dollarmath", "html_image", "tasklist"]
myst_heading_anchors = 4

bibtex_bibfiles = [str(bibliography.FILE)]
bibtex_default_style = "unsrt"  # numbers, in the order in which the works are cited
copybutton_selector = (
    "div[class*=highlight-]:not(.output):not(.highlight-text) > div.highlight pre"  # code, not outputs
)

html_theme = "sphinx_book_theme"
html_css_files = ["book.css"]
html_use_index = html_copy_source = html_show_sourcelink = html_show_copyright = False
html_math_renderer = "mathml"  # MathJax would come from the network
html_sidebars = {"**": ["navbar-logo.html", "run.html", "search-button-field.html", "sbt-sidebar-nav.html"]}
html_theme_options = {
    "use_download_button": False,
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "footer_content_items": [],
    "navbar_persistent": [],  # the search field is in the sidebar
}


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write an inline formula as MathML, which browsers draw themselves."""
    translator.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula as MathML."""
    translator.body.append(f'<div class="formula">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def mathml(node: nodes.Element, block: bool) -> str:
    """Convert a formula; one that docutils cannot convert is shown as it was typed."""
    tex = node.astext().translate(unichar2tex.uni2tex_table)
    try:
        return latex2mathml.tex2mathml(tex, as_block=block)
    except MathError:
        return f"<code>{tex.replace('&', '&amp;').replace('<', '&lt;')}</code>"


def setup(app: Sphinx) -> None:
    """Register the formula writer, and what breaks the heads of tables."""
    app.connect("doctree-read", lambda _, document: heads.fold(document))
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
