"""The package from outside: what is public, what an import costs, who imports whom."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import genai_config

FOLDER = Path(genai_config.__file__).parent

ROOMS = [
    "exceptions", "_environ", "_secrets", "_functions", "_validation", "_events", "_patches",
    "_config", "_routing", "_telemetry", "_openai_target", "_state",
    "_given", "_credentials", "_pool", "_http", "_token_errors", "_tokens", "_sources", "_attached",
    "_lanes", "_calls", "_bound", "_channels", "_offload", "_uploads", "_clients", "_sdk",
    "_decorating", "_scopes", "_api",
    "_provenance", "_wording", "_explain",
    "_openai_errors", "_openai_http", "openai", "_proxy_rules", "_proxy",
    "pytest_plugin",
    "_findings", "_doctor_environment", "_doctor_credentials", "_doctor_online", "_doctor",
    "_terminal", "_demo", "_cli_diagnosis", "_cli_openai", "_cli", "__main__",
]  # fmt: skip
"""Each room may import those before it. `testing` stands beside them, `__init__` above."""

FOUND = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")


def imports(tree: ast.AST) -> set[str]:
    """The full names of all that a module imports, at its top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found.add(node.module or "")
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def rooms_imported_by(room: str) -> set[str]:
    """The rooms of this package that a room imports."""
    tree = ast.parse((FOLDER / f"{room}.py").read_text(encoding="utf-8"))
    parts = [name.split(".") for name in imports(tree)]
    return {part[1] for part in parts if part[0] == "genai_config" and len(part) > 1} & set(ROOMS)


def test_all_is_what_is_public() -> None:
    """Every name without an underscore is in `__all__`, and the other way round."""
    public = {
        name
        for name, value in vars(genai_config).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and (getattr(value, "__module__", "") or "").startswith("genai_config")
    }
    at_first_use = set(genai_config._AT_FIRST_USE)
    assert public | at_first_use | {"exceptions"} == set(genai_config.__all__)


@pytest.mark.parametrize("name", genai_config.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    """Those that are loaded at their first use, too."""
    assert getattr(genai_config, name).__doc__


def test_another_name_is_no_attribute() -> None:
    """The error is Python's own."""
    with pytest.raises(AttributeError, match="module 'genai_config' has no attribute 'no_such'"):
        _ = genai_config.no_such


def test_the_version_is_one() -> None:
    """It is what the wheel is named after."""
    assert all(part.isdigit() for part in genai_config.__version__.split("."))


HEAVY = ["google.generativeai", "google.ai", "grpc", "openai", "pydantic", "requests", "starlette"]


def loaded_after(code: str) -> set[str]:
    """Those of the heavy modules that a fresh interpreter has loaded after some code."""
    code += f"\nimport sys; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(  # noqa: S603 -- our own code
        [sys.executable, "-W", "ignore", "-c", code],
        env={**os.environ, "PYTHONPATH": str(FOLDER.parent)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(ast.literal_eval(done.stdout))


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Neither the SDK nor gRPC, OpenAI or pydantic: they come with the first use."""
    assert loaded_after("import genai_config") == set()


def test_looking_at_a_configuration_loads_no_sdk() -> None:
    """Only sending requests, and installing what sends them, takes the SDK."""
    code = "import genai_config; genai_config.get_config(); genai_config.is_configured()"
    code += "; genai_config.reset(); genai_config.uninstall()"
    assert loaded_after(code) == {"pydantic"}


@pytest.mark.parametrize("room", FOUND)
def test_each_room_imports_only_rooms_above_it(room: str) -> None:
    """Whoever reads the rooms in this order never has to look ahead."""
    above = set(ROOMS[: ROOMS.index(room)])
    assert rooms_imported_by(room) <= above


@pytest.mark.parametrize("room", FOUND)
def test_only_the_sdks_side_imports_the_sdk(room: str) -> None:
    """The seam is in one place; types are free, and the demonstration shows what a user writes."""
    tree = ast.parse((FOLDER / f"{room}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    sdk = [name for name in imports(tree) if name.startswith(("google.generativeai", "google.ai"))]
    assert not sdk or room in ("_uploads", "_clients", "_sdk", "_demo")


@pytest.mark.parametrize(
    "room",
    ["_environ", "_functions", "_routing", "_patches", "_validation", "_secrets", "_openai_target"],
)
def test_the_pure_rooms_import_no_io(room: str) -> None:
    """They are functions of what they are given."""
    tree = ast.parse((FOLDER / f"{room}.py").read_text(encoding="utf-8"))
    outside = {name.split(".")[0] for name in imports(tree)}
    assert not outside & {"google", "grpc", "requests", "socket", "ssl", "subprocess", "logging"}
