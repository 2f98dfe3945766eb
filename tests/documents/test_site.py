"""What is made from the code, for the site or the files: parts of pages, charts and drawings."""

from __future__ import annotations

import importlib.util
import re
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import typer

from genai_config import exceptions
from genai_config._cli.app import app
from genai_config._routing import decision
from genai_config._settings import environment

DOCS = Path(__file__).parents[2] / "docs"


def extension(name: str) -> Any:
    """One of the site's own extensions."""
    spec = importlib.util.spec_from_file_location(name, DOCS / "_ext" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    """A page as it is written."""
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def test_every_error_has_lines_that_raise_it() -> None:
    """All but the bases, which nobody raises."""
    made = extension("made")
    bases = {"GenAIConfigError", "CredentialsError", "GenAIConfigWarning"}
    kinds = {name for name, kind in vars(exceptions).items() if _is_ours(kind)}
    assert made.RAISED_BY.keys() == kinds - bases


def _is_ours(kind: object) -> bool:
    return isinstance(kind, type) and kind.__module__ == exceptions.__name__


def test_the_page_of_errors_shows_what_they_say() -> None:
    """Each of them, and without a folder or a port of this machine."""
    made = extension("made")
    told = page("reference/errors")
    assert told.count("\n```python\n") == len(made.RAISED_BY)
    assert "did you mean 'grpc'?" in told
    assert "~/.config/gcloud/application_default_credentials.json (does not exist)" in told
    assert tempfile.gettempdir() not in told
    assert set(re.findall(r"localhost:\d+", told)) == {"localhost:8080"}


@pytest.mark.parametrize("name", ["environment", "errors"])
def test_the_lists_in_the_files_are_those_of_the_package(name: str) -> None:
    """Who reads a page in the repository has it whole; `python docs/_ext/made.py` writes it."""
    assert page(f"reference/{name}") == extension("made").written(name)


def test_the_site_has_a_place_for_each_error() -> None:
    """That is where the reference leads to, from what is raised."""
    made = extension("made")
    source = [page("reference/errors")]
    made._put_in(None, "reference/errors", source)
    targets = re.findall(r"(?m)^```\{py:exception\} genai_config\.exceptions\.(\w+)$", source[0])
    assert {*targets} == {name for name, kind in vars(exceptions).items() if _is_ours(kind)}


def test_the_tables_have_every_row() -> None:
    """Of the variables and of the rules."""
    made = extension("made")
    for variable in environment.VARIABLES:
        assert f"| `{variable.name}` |" in made.environment()
    for rule in decision.RULES:
        assert all(f"`{method}`" in made.rules() for method in rule.methods)


def test_every_command_and_option_is_in_the_reference() -> None:
    """Made from the commands themselves."""
    made = extension("commands").commands()
    group: Any = typer.main.get_command(app)
    assert re.findall(r"^## (\w+)$", made, re.MULTILINE) == sorted(group.commands)
    for command in group.commands.values():
        for option in command.params:
            assert all(f"`{name}`" in made for name in option.opts if name.startswith("--"))


@pytest.mark.parametrize("name", ["idea", "rooms"])
def test_a_drawing_is_an_image_without_colours_of_its_own(name: str) -> None:
    """It is well-formed, says what it shows, and has no blank line, which would end it."""
    drawn = extension("drawing").DRAWINGS[name]()
    root = ET.fromstring(drawn)  # noqa: S314 -- our own
    assert root.get("role") == "img"
    assert root.get("aria-label")
    assert not re.search(r'(?:fill|stroke)="(?!none)', drawn)
    assert "\n\n" not in drawn


def test_the_drawing_of_the_rooms_has_them_all() -> None:
    """With their modules, and with what each room is."""
    drawing = extension("drawing")
    words = " ".join(text for text in ET.fromstring(drawing.rooms_drawn()).itertext())  # noqa: S314 -- our own
    for room, modules in drawing.table().items():
        assert {room, *modules} <= set(re.findall(r"\w+", words))
        assert drawing.sentence(room).split()[0] in words


def test_what_was_measured_is_drawn() -> None:
    """Each ratio with quartiles is a bar, and every row is told in figures."""
    charts = extension("charts")
    _, rows = charts.table(page("benchmarks"))
    drawn = charts.ratios(page("benchmarks"))
    ratios = [row["ratio (quartiles)"] for row in rows]
    values = [found[1] for cell in ratios if (found := re.match(r"([\d.]+) \(", cell))]
    assert re.findall(r'class="value">([\d.]+)<', drawn) == values
    assert all(f"- **{row['what']}**: {row['ours']}" in drawn for row in rows)
    assert "|---" not in drawn


@pytest.mark.parametrize("name", ["benchmarks-openai", "benchmarks-google-genai"])
def test_the_contenders_are_drawn(name: str) -> None:
    """The longest bar fills its track, ours is marked, and the table keeps what is left."""
    charts = extension("charts")
    text, rows = charts.table(page(name))
    drawn = charts.contenders(page(name))
    assert drawn.count('class="row ours"') == drawn.count("<figure") == 3
    assert "left:0.0%;width:100.0%" in drawn
    assert text not in drawn
    assert all(row["failed calls"] in drawn for row in rows)


def test_a_page_without_figures_is_an_error() -> None:
    """The site is not built with an empty chart."""
    with pytest.raises(ValueError, match="no table"):
        extension("charts").table("# Nothing")
