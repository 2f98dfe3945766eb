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

ROOMS = {
    "_masking": (),
    "exceptions": (),
    "_models": (),
    "_settings": (
        "forks", "environment", "secrets", "keys", "primitives", "callables", "addresses",
        "references", "given", "validation", "frozen_model", "patch", "portable", "profiles",
        "model", "googles_endpoint", "layers", "context_scopes", "profile_files", "callers",
        "state",
    ),
    "_routing": ("places", "decision"),
    "_transport": (
        "call_credentials", "loop_streams", "pool", "http", "deadlines", "exchange",
        "json_codec", "http_rules", "http_errors", "http_call", "json_call", "json_events",
        "channel_pool", "grpc_sync", "grpc_async", "channels", "json_rest", "threads",
        "unreachable",
    ),
    "_auth": (
        "events", "flights", "custom", "key_files", "secret_readers", "secret_source",
        "secret_manager", "credentials", "refusals", "key_headers", "token", "token_errors",
        "token_source", "headers",
    ),
    "_sdk": (
        "signatures", "explained", "request_log", "methods", "uploads", "vertex", "generated",
        "clients", "manager",
    ),
    "_api": ("decorators", "scopes", "carrying", "configure"),
    "_diagnosis": (
        "provenance", "layout", "models", "references", "explain", "checks", "check_environment",
        "check_references", "check_credentials", "check_online", "doctor",
    ),
    "_clients": ("target", "resolve", "account", "errors", "signatures", "link", "http"),
    "openai": (),
    "google_genai": (),
    "_migrate": (
        "masked_code", "report", "source", "imports", "adopt", "unit", "lifetimes", "variables",
        "tuned", "values", "settings", "follow", "parts", "answers", "calls", "chats", "models",
        "functions", "errors", "moving", "files",
    ),
    "_compare": ("schemas", "meaning", "differences", "relay", "guard", "running"),
    "_proxy": ("rules", "metrics", "connection", "exchange", "server"),
    "pytest_plugin": (),
    "_cli": (
        "console", "demo", "diagnosis", "shells", "programs", "openai", "proxy", "trust", "migrate",
        "compare", "app",
    ),
    "__main__": (),
}  # fmt: skip
"""The rooms and the modules in each: a module may import those before it, in its room and above.

`testing` stands beside them, `__init__` above.
"""

ORDER = [
    f"{room}.{module}" if module else room
    for room, modules in ROOMS.items()
    for module in (modules or ("",))
]
FOUND = sorted(
    ".".join(path.relative_to(FOLDER).with_suffix("").parts)
    for path in FOLDER.rglob("*.py")
    if path.stem != "__init__" and "testing" not in path.parts
)


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


def parsed(module: str) -> ast.Module:
    """A module of this package, by its name below the package's."""
    path = FOLDER / f"{module.replace('.', '/')}.py"
    return ast.parse(path.read_text(encoding="utf-8"))


def modules_imported_by(module: str) -> set[str]:
    """The modules of this package that one of them imports."""
    prefix = "genai_config."
    names = {
        name.removeprefix(prefix) for name in imports(parsed(module)) if name.startswith(prefix)
    }
    return names & set(ORDER)


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


@pytest.mark.parametrize("module", FOUND)
def test_each_module_imports_only_those_before_it(module: str) -> None:
    """Whoever reads them in this order never has to look ahead."""
    assert modules_imported_by(module) <= set(ORDER[: ORDER.index(module)])


@pytest.mark.parametrize("room", [room for room, modules in ROOMS.items() if modules])
def test_each_room_says_in_one_sentence_what_it_is(room: str) -> None:
    """Its `__init__` holds that sentence and nothing else."""
    (sentence,) = ast.parse((FOLDER / room / "__init__.py").read_text(encoding="utf-8")).body
    assert isinstance(sentence, ast.Expr)
    assert "\n" not in ast.literal_eval(sentence.value)


@pytest.mark.parametrize("module", FOUND)
def test_only_the_sdks_side_imports_the_sdk(module: str) -> None:
    """The seam is in one place; types are free, and the demonstration shows what a user writes."""
    tree = parsed(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    sdk = [name for name in imports(tree) if name.startswith(("google.generativeai", "google.ai"))]
    assert not sdk or module.startswith("_sdk.") or module == "_cli.demo"


@pytest.mark.parametrize(
    "module",
    [
        "_settings.environment",
        "_settings.callables",
        "_settings.patch",
        "_settings.primitives",
        "_settings.addresses",
        "_settings.validation",
        "_settings.secrets",
        "_settings.keys",
        "_settings.googles_endpoint",
        "_routing.decision",
        "_clients.target",
        "_clients.resolve",
    ],
)
def test_the_pure_modules_import_no_io(module: str) -> None:
    """They are functions of what they are given."""
    outside = {name.split(".")[0] for name in imports(parsed(module))}
    assert not outside & {"google", "grpc", "requests", "socket", "ssl", "subprocess", "logging"}
