"""The benchmarks' tables as bars: drawn from the recorded figures when the site is built.

The pages hold what `nox -s bench` has recorded, as a table. In the site, bars take its place: they
fit any width, follow the colours of the theme, and each number stands beside its bar.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx

Row = dict[str, str]

_NOTHING = "\N{EN DASH}"


class Bar(NamedTuple):
    """One bar of a chart.

    Attributes:
        label: What it is about; Markdown.
        value: Its length.
        spread: Where its quartiles are.
        bound: Where it must not reach.
        text: The number, as it is read.
        ours: Whether it is this library's.
    """

    label: str
    value: float
    text: str
    spread: tuple[float, float] | None = None
    bound: float | None = None
    ours: bool = False


def table(page: str) -> tuple[str, list[Row]]:
    """The first table of a page: its text, and its rows by the names of the columns."""
    found = re.search(r"(?:^\|.*\n)+", page, re.MULTILINE)
    if found is None:
        raise ValueError("this page of benchmarks has no table")
    head, _, *lines = found[0].splitlines()
    names = _cells(head)
    return found[0], [dict(zip(names, _cells(line), strict=True)) for line in lines]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _number(cell: str) -> float | None:
    return float(cell.replace(",", "")) if re.fullmatch(r"[\d,.]+", cell) else None


def _with_quartiles(cell: str) -> tuple[float, tuple[float, float]] | None:
    """A median and its quartiles, such as `0.80 (0.68 to 0.87)`; None: something else."""
    found = re.search(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)", cell)
    return (float(found[1]), (float(found[2]), float(found[3]))) if found else None


def chart(title: str, bars: Iterable[Bar], *, unit: str) -> str:
    """Bars below each other; their common scale ends with the longest."""
    shown = list(bars)
    longest = max(max(bar.value, bar.bound or 0.0, *(bar.spread or ())) for bar in shown)
    lines = [f'<figure class="chart"><figcaption>{html.escape(title)}</figcaption>']
    for bar in shown:
        marks = [_mark("fill", 0, bar.value / longest)]
        if bar.spread:
            marks.append(_mark("spread", bar.spread[0] / longest, bar.spread[1] / longest))
        if bar.bound is not None:
            marks.append(_mark("bound", bar.bound / longest, bar.bound / longest))
        kind = "row ours" if bar.ours else "row"
        lines.append(
            f'<div class="{kind}"><span class="label">{_inline(bar.label)}</span>'
            f'<span class="track">{"".join(marks)}</span>'
            f'<span class="value">{html.escape(bar.text)}{unit}</span></div>'
        )
    return "\n".join([*lines, "</figure>"])


def _mark(kind: str, start: float, end: float) -> str:
    place = f"left:{100 * start:.1f}%;width:{100 * max(end - start, 0):.1f}%"
    return f'<span class="{kind}" style="{place}"></span>'


def _inline(markdown: str) -> str:
    text = html.escape(markdown.replace("**", ""), quote=False)
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)


def ratios(page: str) -> str:
    """The page of `nox -s bench`: how long it takes by the side of what it is compared with."""
    text, rows = table(page)
    bars, others = [], []
    for row in rows:
        cell = row["ratio (quartiles)"]
        # A ratio with a name of its own is not one to what stands beside it.
        if (ratio := _with_quartiles(cell)) and ": " not in cell:
            value, spread = ratio
            limit = re.fullmatch(r"≤ ([\d.]+)", row["bound"])
            bars.append(
                Bar(
                    f"{row['what']} / {row['against']}",
                    value,
                    cell.partition(" ")[0],
                    spread,
                    float(limit[1]) if limit else None,
                    ours=True,
                )
            )
        theirs = "" if row["theirs"] == _NOTHING else f"; {row['against']}: {row['theirs']}"
        others.append(f"- **{row['what']}**: {row['ours']}{theirs}. Bound: {row['bound']}.")
    drawn = chart("Beside what it is compared with: less is better, 1 is equal", bars, unit="")
    legend = (
        "The bar is the median, the line its quartiles, the mark the bound that fails the command."
    )
    return page.replace(text, "\n".join([drawn, "", legend, "", "The figures:", "", *others, ""]))


_COLUMNS = {
    "p99": ("The slowest of a hundred calls (p99)", " ms"),
    "loop blocked, longest": ("The event loop, blocked at a stretch", " ms"),
    "refreshes": ("Tokens fetched", ""),
}


def contenders(page: str) -> str:
    """A page about clients of OpenAI or google-genai: a chart for each column that matters."""
    text, rows = table(page)
    parts = []
    for column, (title, unit) in _COLUMNS.items():
        bars = []
        for row in rows:
            value, spread = _with_quartiles(row[column]) or (_number(row[column]), None)
            if value is not None:
                ours = row["contender"].startswith("**")
                bars.append(Bar(row["contender"], value, f"{value:g}", spread, ours=ours))
        parts.append(chart(title, bars, unit=unit))
    lines = [
        f"- {row['contender']}: {row['failed calls']} calls failed; p50 of threads: "
        f"{row['p50, threads']}, of tasks: {row['p50, tasks']}; event loop blocked, in all: "
        f"{row['loop blocked, in all']}."
        for row in rows
    ]
    return page.replace(text, "\n\n".join([*parts, "\n".join(lines), ""]))


DRAWN = {
    "benchmarks": ratios,
    "benchmarks-openai": contenders,
    "benchmarks-google-genai": contenders,
}


def _draw(app: Sphinx, docname: str, source: list[str]) -> None:
    del app
    if docname in DRAWN:
        source[0] = DRAWN[docname](source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
