"""Names of models are in one place, and no document, remedy or default names one that is gone."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from genai_config import _models
from genai_config._models import EMBEDDING_MODEL, MODEL, OTHER_MODEL, RETIREMENTS, SMALL_MODEL

ROOT = Path(__file__).parents[1]
ALIVE = {MODEL, OTHER_MODEL, SMALL_MODEL, EMBEDDING_MODEL}
# The installed package is another folder than the checkout's.
HERE = {Path(_models.__file__), ROOT / "genai_config" / "_models.py", Path(__file__)}

NAME = re.compile(
    r"\b(?:gemini-(?:\d|embedding)[a-z0-9.-]*[a-z0-9]|text-embedding-004|embedding-001)"
)
SHOWN = sorted(
    path
    for pattern in ("README.md", "docs/**/*.*", "genai_config/**/*.py", "benchmarks/**/*.*")
    for path in ROOT.glob(pattern)
    if path.suffix in (".md", ".rst", ".py", ".ipynb") and "_build" not in path.parts
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))

RETIREMENT_IS_TESTED_IN = {
    "tests/sdk/test_refusals_on_the_wire.py",
    "tests/auth/test_refusals.py",
    "tests/diagnosis/test_models.py",
    "tests/testing/test_keys.py",
}
"""The tests that need names of models that are gone."""


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_reader_sees_names_models_that_are_served(path: Path) -> None:
    """Documents, docstrings and remedies name the models of `_models` alone."""
    if path not in HERE:
        assert set(NAME.findall(path.read_text(encoding="utf-8"))) <= ALIVE


def test_tests_name_models_that_are_served() -> None:
    """All but those about the end of a model."""
    strays = {
        str(path.relative_to(ROOT)): gone
        for path in TESTS
        if path not in HERE
        and (gone := [n for n in NAME.findall(path.read_text("utf-8")) if _models.retirement(n)])
    }
    assert strays.keys() == RETIREMENT_IS_TESTED_IN


def test_no_source_repeats_the_name_of_the_default() -> None:
    """Code takes it from `_models`; a docstring's example may show it."""
    strays = [
        path
        for path in (ROOT / "genai_config").rglob("*.py")
        if path not in HERE
        and NAME.search(re.sub(r'"""(?s:.*?)"""', "", path.read_text(encoding="utf-8")))
    ]
    assert strays == []


@pytest.mark.parametrize("name", sorted(ALIVE))
def test_what_is_recommended_has_no_end(name: str) -> None:
    """Neither the models for examples nor the successors are retired."""
    assert _models.retirement(name) is None
    assert {known.successor for known in RETIREMENTS} <= ALIVE


@pytest.mark.parametrize("known", RETIREMENTS, ids=lambda known: known.names)
def test_a_day_is_a_date(known: _models.Retirement) -> None:
    """Each retirement is announced by one service at least."""
    days = [day for day in (known.gemini, known.vertex) if day]
    assert days
    assert all(date.fromisoformat(day) for day in days)


@pytest.mark.parametrize(
    ("name", "successor"),
    [
        ("gemini-1.5-flash", MODEL),
        ("models/gemini-1.5-pro-002", MODEL),
        ("google/gemini-2.0-flash-001", MODEL),
        ("gemini-2.0-flash-lite", SMALL_MODEL),
        ("projects/p/locations/l/publishers/google/models/gemini-2.5-pro", OTHER_MODEL),
        ("gemini-pro", MODEL),
        ("text-embedding-004", EMBEDDING_MODEL),
        ("models/embedding-001", EMBEDDING_MODEL),
        ("gemini-3.5-flash", MODEL),
        ("gemini-3.5-flash-lite", None),
        ("text-embedding-005", None),
        ("tunedModels/gemini-1.5-flash", None),
        ("projects/p/locations/l/endpoints/gemini-1.5-pro", None),
    ],
)
def test_a_name_in_any_form_is_known(name: str, successor: str | None) -> None:
    """A model that someone tuned may be called like one of Google's."""
    found = _models.retirement(name)
    assert (found and found.successor) == successor
