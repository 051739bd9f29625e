"""Sphinx's configuration of the site: docs/, the plug-ins' READMEs, and the API from its docstrings.

The source directory is the repository's root (``sphinx-build -c docs . build/docs``), so that the links
between these files, made to be followed in the repository, lead to pages of the site. Nothing is
fetched when it is built, and nothing when it is read.
"""

import os

# Importing what is documented must neither track anything nor say that it does not.
os.environ.setdefault("BATCHLOOM_DISABLE_PLUGINS", "batchloom-mlflow")

project = "Batchloom"
author = "The Batchloom authors"
version = release = "0.1.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["README.md", "docs/*.md", "plugins/*/README.md"]
exclude_patterns = [".*", "build", "dist", "core", "tests", "benchmarks", "plugins/*/src"]

# Links within a page go by the heading, as they do where the repository is read.
myst_heading_anchors = 4
# Names in docstrings stand in single backquotes, also those that have no entry here.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_extra_path = ["_site"]  # leads from the top of the site to docs/index.html
html_title = "Batchloom"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
