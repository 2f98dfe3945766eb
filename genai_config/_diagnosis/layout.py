"""Text for people, laid out for a terminal or a notebook."""

from __future__ import annotations

import html as escaping
import re
import textwrap
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_config._diagnosis.provenance import Shown

WIDTH = 80


class Section(NamedTuple):
    """A title, and rows: a label and the paragraphs beside it."""

    title: str
    rows: list[tuple[str, list[str]]]


def value(shown: Shown) -> str:
    """A value as people read it."""
    if isinstance(shown, list):
        return ", ".join(shown)
    return f"{shown:g}" if isinstance(shown, float) else str(shown)


def text(told: Iterable[Section], width: int = WIDTH) -> str:
    """Sections for a terminal, with the labels in a column; longer words stay whole."""
    lines: list[str] = []
    for section in told:
        lines += [""] * bool(lines) + wrapped(section.title, width)
        lines += rows(section.rows, width)
    return "\n".join(lines)


def rows(labelled: list[tuple[str, list[str]]], width: int = WIDTH) -> list[str]:
    """Labels and paragraphs in two columns, of which the first takes a third at most."""
    column = min(max((len(label) for label, _ in labelled), default=0), width * 7 // 20) + 4
    lines: list[str] = []
    for label, paragraphs in labelled:
        start = f"  {label}".ljust(column)
        if len(start) > column:
            lines.append(start)
            start = " " * column
        for paragraph in paragraphs:
            for line in wrapped(paragraph, width - column) or [""]:
                lines.append(f"{start}{line}".rstrip())
                start = " " * column
    return lines


_COMMAND = re.compile(
    # A command of a shell, up to what ends it in a sentence; what is quoted ends nothing.
    r"\b(?:gcloud|genai-config|pip|chmod|export|unset)"
    r"(?: (?:'[^']*'|\"(?:[^\"\\]|\\.)*\"|[^\s;,'\"])+(?<![.:)]))+"
    # A call in Python.
    r"|\b\w+\([^()\n]*\)"
)
_KEPT = "\ue000"  # of the private use area: no text has it


def wrapped(paragraph: str, width: int) -> list[str]:
    """Lines of so many columns; words and commands stay whole, and nothing moves a cursor."""
    printable = "".join(c if c.isprintable() or c.isspace() else "\ufffd" for c in paragraph)
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _KEPT), printable)
    lines = textwrap.wrap(whole, width, break_long_words=False, break_on_hyphens=False)
    return [line.replace(_KEPT, " ") for line in lines]


def html(told: Iterable[Section]) -> str:
    """Sections for a notebook; everything is escaped."""
    parts = []
    for section in told:
        cells = []
        for label, paragraphs in section.rows:
            body = "<br>".join(map(escaping.escape, paragraphs))
            cells.append(
                f'<tr><th style="text-align:left;vertical-align:top">{escaping.escape(label)}</th>'
                f'<td style="text-align:left">{body}</td></tr>'
            )
        parts.append(f"<h4>{escaping.escape(section.title)}</h4><table>{''.join(cells)}</table>")
    return "".join(parts)
