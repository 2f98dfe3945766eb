"""The README as the package index shows it: its links lead to the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE_LINK = re.compile(r"\]\((?!https?:|#)([^)]+)\)")


def for_the_index(readme: str, repository: str) -> str:
    """The README with absolute links: the index has none of the other files."""
    return RELATIVE_LINK.sub(rf"]({repository}/blob/main/\1)", readme)


class Readme(MetadataHookInterface):
    """What hatchling calls when it builds."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Adds the README to the metadata."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata["urls"]["Source"]
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": for_the_index(text, repository),
        }
