"""Where the command line prints."""

from __future__ import annotations

from rich.console import Console

WIDTH = 80


def console(*, stderr: bool = False) -> Console:
    """Where to print: with colour on a terminal alone, and no wider than one reads with ease."""
    made = Console(highlight=False, stderr=stderr)
    made.width = min(made.width, WIDTH)
    return made
