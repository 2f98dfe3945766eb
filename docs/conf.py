"""Configuration of Sphinx: `nox -s docs` builds the site from this folder, without the network."""

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

# The SDK announces its end of support on import.
warnings.simplefilter("ignore", FutureWarning)

import genai_config  # noqa: E402 -- after the filter

project = "genai-config"
author = "The genai-config developers"
copyright = author  # noqa: A001 -- Sphinx's name
version = release = genai_config.__version__

extensions = [
    *("charts", "commands", "drawing", "made"),
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"),
]
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# In our docstrings `name` is code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# The pages of other projects are not looked up, so that the site builds without the network:
# types that are not ours, and those that a signature names without their module.
nitpick_ignore_regex = [
    ("py:.*", r"(?!genai_config\b).*"),
    ("py:.*", r"genai_config\._.*"),
]

# What is copied is what is typed: no prompts, no output.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

REPOSITORY = "https://github.com/genai-config/genai-config"
html_theme = "furo"
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
pygments_dark_style = "github-dark"
html_title = "genai-config"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sphinx = False
