"""Where the command line prints."""

from __future__ import annotations

import re

from rich.console import Console

WIDTH = 80


def console(*, stderr: bool = False) -> Console:
    """Where to print: with colour on a terminal alone, and no wider than one reads with ease."""
    made = Console(highlight=False, stderr=stderr)
    made.width = min(made.width, WIDTH)
    return made


_OPTIONS = "api_version|backend|base_url|credentials|endpoint|location|model|project|quota_project"
_ARGUMENT = re.compile(rf"(?<![\w-])(?P<name>{_OPTIONS})=(?:'(?P<value>[^']*)'|(?=[\s(,;.]|$))")


def in_options(text: str) -> str:
    """An error's text with the options of the command line in place of arguments in Python."""
    text = re.sub(r'safe_configure\(api_key="…"\) or ', "", text)
    text = re.sub(rf"safe_configure\(((?:{_OPTIONS})='[^']*')\)", r"\1", text)
    return _ARGUMENT.sub(_option, text)


def _option(argument: re.Match[str]) -> str:
    option = f"--{argument['name'].replace('_', '-')}"
    return option if argument["value"] is None else f"{option} {argument['value']}"
