"""Sphinx settings."""

from typing import Any

import matplotlib as mpl
from sphinx_gallery.sorting import ExplicitOrder, FileNameSortKey

import secateurs

mpl.use("agg")

project = "secateurs"
author = "Secateurs maintainers"
copyright = "2026, Secateurs maintainers"
version = release = secateurs.__version__
extensions = [
    "myst_parser",
    "cyclopts.ext.sphinx",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx-mathjax-offline",  # formulas from the site itself
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery", "**sg_execution_times.rst"]
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions

# Pages
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
copybutton_prompt_text = "$ "

# Reference
default_role = "py:obj"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"
autosummary_generate = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
templates_path = ["_templates"]

# Gallery
GALLERY = [
    *("tables", "columns", "exact_recovery", "matrices"),
    *("torch_networks", "microcontrollers", "random_networks", "sweeps"),
]
sphinx_gallery_conf: dict[str, Any] = {
    "examples_dirs": ["gallery"],
    "gallery_dirs": ["auto_gallery"],
    "subsection_order": ExplicitOrder([f"gallery/{part}" for part in GALLERY]),
    "within_subsection_order": FileNameSortKey,
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "min_reported_time": 1e9,  # times of a busy machine say nothing
    "show_memory": False,
}

# Look
html_theme = "pydata_sphinx_theme"
html_title = "secateurs"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/logo.svg"
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "text": "secateurs",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
    },
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "header_links_before_dropdown": 7,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-light",
    "pygments_dark_style": "a11y-dark",
}
html_sidebars = {"index": [], "start": [], "compare": [], "glossary": [], "certificates": []}


def of_others(_app: Any, _what: str, name: str, member: Any, skip: bool, _options: Any) -> bool:
    """Leave out members that a class has from another library, which documents them."""
    function = getattr(member, "fget", member)
    home = getattr(function, "__module__", None) or ""
    return skip or name.startswith("_") or not home.startswith("secateurs")


def setup(app: Any) -> None:
    """Connect the rule for members."""
    app.connect("autodoc-skip-member", of_others)
