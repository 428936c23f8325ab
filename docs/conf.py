"""Sphinx settings of the guide (`make docs`), whose pages load nothing from the network."""

import os.path
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]

import cdgm  # noqa: E402

project = "cdgm"
author = "the cdgm developers"
copyright = author
version = release = cdgm.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "math_ml",
    "plugins",
]
exclude_patterns = ["images/README.md"]
# Only references to the package are checked: those to libraries would need inventories from the network.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!cdgm\.).*")]

# Git hosts show the pages too: anchors are those of headings, formulas are `$...$` or fences of `math`.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math"]

autodoc_default_options = {"members": True, "member-order": "bysource", "exclude-members": "model_config"}
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "furo"
html_title = f"cdgm {release}"
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def outward_links(app, docname, source):
    """Turn links to files outside docs/, which work on git hosts as they are, into downloads."""
    folder = (Path(app.srcdir) / docname).parent

    def link(found):
        text, target = found.groups()
        file = Path(os.path.normpath(folder / target))
        inside = file.is_relative_to(app.srcdir) or not file.is_file()
        return found[0] if inside else f"{{download}}`{text} <{target}>`"

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#\s]+)\)", link, source[0])


def setup(app):
    app.connect("source-read", outward_links)
