"""Configuration of Sphinx."""

import os
import re
import sys
from pathlib import Path

from plotly.offline import get_plotlyjs

import e3any

sys.path.append(str(Path(__file__).parent))

project = "e3any"
author = copyright = "the authors of e3any"
version = release = e3any.__version__
extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
    "function_pictures",
    "performance_picture",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_templates", "examples", "studies"]
html_theme = "furo"
html_title = f"e3any {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_output_stderr = "remove"  # bars of progress
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
suppress_warnings = ["myst.header"]

# Notebooks write figures of plotly as HTML that loads scripts from the net: one copy beside the pages stands in.
os.environ["PLOTLY_RENDERER"] = "sphinx_gallery"
_REMOTE_SCRIPT = re.compile(r'<script[^>]* src="https://cdn[^>]*></script>')


def _use_local_plotly(app, page, template, context, doctree):
    body, found = _REMOTE_SCRIPT.subn("", context.get("body", ""))
    if found:
        context["body"] = f'<script src="{context["pathto"]("_static/plotly.min.js", 1)}"></script>{body}'


def _write_plotly(app, error):
    if error is None and app.builder.format == "html":
        (Path(app.outdir) / "_static" / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")


def setup(app):
    """Connect what pages with figures of plotly need."""
    app.connect("html-page-context", _use_local_plotly)
    app.connect("build-finished", _write_plotly)
