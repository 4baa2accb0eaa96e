"""Settings of the Sphinx site: python -m sphinx -W -n docs docs/_build/html."""

import dropblock_ref

project = "dropblock_ref"
author = "the dropblock_ref authors"
release = version = dropblock_ref.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx-mathjax-offline",  # formulas without a network
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types in docstrings are words; links between pages are checked
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False
autosummary_generate = True
add_module_names = False

html_theme = "furo"
html_title = "dropblock_ref"
html_show_copyright = False
