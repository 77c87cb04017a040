"""Sphinx settings."""

import secateurs

project = "secateurs"
author = "Secateurs maintainers"
copyright = "2026, Secateurs maintainers"
version = release = secateurs.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
myst_enable_extensions = ["dollarmath"]
html_theme = "furo"
html_title = "secateurs"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
autodoc_typehints = "none"
exclude_patterns = ["_build"]
nitpicky = False
