"""Where a reference to a secret leads to nothing: seen without reading or running anything."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genai_config._settings.references import Reference


class Missing(NamedTuple):
    """What is not there.

    Attributes:
        text: What was referred to, and what is missing.
        remedy: What to do.
    """

    text: str
    remedy: str


def missing(environ: Mapping[str, str], name: str, reference: Reference) -> Missing | None:
    """What a reference leads to, if it is not there; whoever is asked for it may know more.

    Args:
        environ: The environment variables.
        name: The setting that is the reference.
        reference: The reference.
    """
    first = reference.where[0]
    if reference.variable is not None and not environ.get(first, "").strip():
        return Missing(
            f"{name} is {reference}, and {first} is not set.", f"export {first}, for this process."
        )
    if reference.kind == "from_file" and not os.access(first, os.R_OK):
        return Missing(
            f"{name} is {reference}, and this process cannot read that file.",
            "see whether the file is there (mounted?), and who may read it.",
        )
    if reference.kind == "from_command" and shutil.which(first) is None:
        return Missing(
            f"{name} is {reference}, and there is no program {first}.",
            "install it, or give its whole path.",
        )
    return None
