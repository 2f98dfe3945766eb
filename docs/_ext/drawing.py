"""Pictures in the colours of the page: the idea, and the rooms as they are in the code.

Where a page says ``<!-- drawn: rooms -->``, the picture that `rooms_drawn` returns is put. It is
made from the table that the tests hold and from the rooms themselves.
"""

from __future__ import annotations

import ast
import html
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import genai_config

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_PACKAGE = Path(genai_config.__file__).parent
_TABLE = Path(__file__).parents[2] / "tests" / "test_package.py"

_WIDTH, _LEFT, _LINE = 460, 36, 18


def table() -> dict[str, tuple[str, ...]]:
    """The rooms and their modules, lowest first: the table by which the tests go."""
    for node in ast.parse(_TABLE.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROOMS":
            rooms: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return rooms
    raise ValueError(f"{_TABLE} has no table ROOMS")


def sentence(room: str) -> str:
    """What a room is: the first line of its docstring."""
    folder, file = _PACKAGE / room / "__init__.py", _PACKAGE / f"{room}.py"
    text = (folder if folder.is_file() else file).read_text(encoding="utf-8")
    return str(ast.get_docstring(ast.parse(text))).partition("\n")[0]


def idea_drawn() -> str:
    """What the library does with a request."""
    return Path(__file__).with_name("idea.svg").read_text(encoding="utf-8")


def rooms_drawn() -> str:
    """All rooms as SVG, the highest on top; its colours are those of the page."""
    parts, y = [], 4
    for room, modules in reversed(table().items()):
        said = textwrap.wrap(sentence(room).replace("`", ""), 50)
        inside = textwrap.wrap(", ".join(modules), 52)
        height = 30 + _LINE * (len(said) + len(inside))
        kind = "room" if room.startswith("_") else "room public"
        parts.append(
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" width="{_WIDTH - _LEFT - 4}" '
            f'height="{height}" rx="6"/>'
        )
        at = y + 22
        parts.append(_text("name", at, room))
        for line in said:
            at += _LINE
            parts.append(_text("said", at, line))
        for line in inside:
            at += _LINE
            parts.append(_text("inside", at, line))
        y += height + 8
    head = (
        f'<svg class="rooms" viewBox="0 0 {_WIDTH} {y}" role="img" '
        'aria-label="The rooms of the package, each with its modules; imports go downwards.">'
    )
    arrow = (
        f'<path class="way" d="M16 8V{y - 20}"/>'
        f'<path class="tip" d="M10 {y - 22}l6 14 6-14z"/>'
        f'<text class="said" transform="translate(12 {y // 2}) rotate(-90)" '
        'text-anchor="middle">imports</text>'
    )
    return "\n".join([head, arrow, *parts, "</svg>"])


def _text(kind: str, y: int, line: str) -> str:
    return f'<text class="{kind}" x="{_LEFT + 14}" y="{y}">{html.escape(line)}</text>'


DRAWINGS = {"idea": idea_drawn, "rooms": rooms_drawn}


def _draw(app: Sphinx, docname: str, source: list[str]) -> None:
    del app, docname
    for name, draw in DRAWINGS.items():
        if (place := f"<!-- drawn: {name} -->") in source[0]:
            source[0] = source[0].replace(place, draw())


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
