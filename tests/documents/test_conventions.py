"""What contributors and the package index go by is true: sessions, versions, links."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def text(path: str) -> str:
    """A file of the checkout."""
    return (ROOT / path).read_text(encoding="utf-8")


def sessions() -> set[str]:
    """The sessions of noxfile.py."""
    return {
        node.name
        for node in ast.parse(text("noxfile.py")).body
        if isinstance(node, ast.FunctionDef)
        and any("nox.session" in ast.unparse(one) for one in node.decorator_list)
    }


@pytest.mark.parametrize(
    "path",
    [
        ".ci/run",
        ".github/workflows/checks.yml",
        ".github/workflows/release.yml",
        ".pre-commit-config.yaml",
        "CONTRIBUTING.md",
        "README.md",
    ],
)
def test_every_session_that_is_named_exists(path: str) -> None:
    """In the workflows, in what developers read, and in what a change must pass."""
    shown = text(path)
    named = {name for line in re.findall(r"nox -s ((?:[a-z]+ ?)+)", shown) for name in line.split()}
    named |= {name for line in re.findall(r"session: \[(.+)\]", shown) for name in line.split(", ")}
    assert named
    assert named <= sessions()


def test_the_versions_that_are_claimed_are_tested() -> None:
    """On each of them, and on no other, the workflow runs the tests."""
    claimed = re.findall(r"Python :: (3\.\d+)", text("pyproject.toml"))
    workflow = text(".github/workflows/checks.yml")
    (matrix,) = re.findall(r"python: \[(.+)\]", workflow)
    assert claimed == re.findall(r"3\.\d+", matrix)
    assert f'requires-python = ">={claimed[0]}"' in text("pyproject.toml")


def test_the_readmes_links_work_on_the_index() -> None:
    """All are absolute there, and lead to files that exist."""
    pytest.importorskip("hatchling", reason="it builds the package")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    metadata: dict[str, Any] = {"urls": {"Source": "https://example.com/x"}}
    build.Readme(str(ROOT), {}).update(metadata)
    assert metadata["readme"]["content-type"] == "text/markdown"
    shown = metadata["readme"]["text"]
    assert not build.RELATIVE_LINK.search(shown)
    ours = re.findall(r"\]\(https://example\.com/x/blob/main/([^)#]+)", shown)
    assert ours
    assert [path for path in ours if not (ROOT / path).is_file()] == []
