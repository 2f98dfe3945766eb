"""The engines: each is started once, and what the tests show of it is printed as a table."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
PAGE = HERE.parents[1] / "docs" / "workers.md"

# They take minutes, and packages that the other tests do without: `nox -s engines` runs them.
collect_ignore_glob = [] if os.environ.get("GENAI_CONFIG_ENGINES") else ["*.py"]

# Where the workers of all engines find it, too.
sys.path.insert(0, str(PROGRAMS))

COLUMNS = ("bind", "scope", "secret never on the wire", "rotation", "worker killed", "µs a call")
RESULTS: dict[str, dict[str, str]] = {}


class Engine(NamedTuple):
    """An engine, and how it is started.

    Attributes:
        name: Its name in the table.
        package: The distribution that it is; None: Python itself.
        start: Starts it; the argument is a folder where the programs of the page are.
        replaces: Whether it replaces a worker that was killed, and has its work done by another.
    """

    name: str
    package: str | None
    start: Callable[[Path], Any]
    replaces: bool = False


def _in(module: str, name: str, *arguments: Any) -> Callable[[Path], Any]:
    return lambda _: getattr(importlib.import_module(module), name)(*arguments)


def _executor(name: str) -> Callable[[Path], Any]:
    def start(_: Path) -> Any:
        on_processes = importlib.import_module("on_processes")
        return on_processes.Executor(getattr(on_processes, name))

    return start


def _celery(pool: str) -> Callable[[Path], Any]:
    def start(folder: Path) -> Any:
        on_celery = importlib.import_module("on_celery")
        if on_celery.redis_server() is None:
            pytest.skip("no redis-server, and no package that has one")
        return on_celery.Celery(pool, folder)

    return start


ENGINES = [
    Engine("threads", None, _executor("thread_pool")),
    Engine("process pool", None, _executor("process_pool")),
    Engine("spawn", None, _in("on_processes", "Multiprocessing", "spawn")),
    Engine("forkserver", None, _in("on_processes", "Multiprocessing", "forkserver")),
    Engine("Dask", "distributed", _in("on_dask", "Dask"), replaces=True),
    Engine("Ray", "ray", _in("on_ray", "Ray"), replaces=True),
    Engine("Spark", "pyspark", _in("on_spark", "Spark"), replaces=True),
    Engine("Celery, prefork", "celery", _celery("prefork"), replaces=True),
    Engine("Celery, threads", "celery", _celery("threads")),
]


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs of the page, each under its name, and with one for secrets."""
    folder = tmp_path_factory.mktemp("programs")
    (folder / "secrets").mkdir()
    text = PAGE.read_text(encoding="utf-8")
    for name, code in re.findall(
        r"```\{code-block\} python\n:caption: (\w+\.py)\n\n(.*?)```", text, re.DOTALL
    ):
        here = code.replace("/run/secrets", str(folder / "secrets"))
        (folder / name).write_text(here, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def environment(programs: Path) -> Iterator[None]:
    """What the workers of all engines are started with."""
    before = dict(os.environ)
    sys.path.insert(0, str(programs))
    inherited = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(programs), str(PROGRAMS), inherited])
    # The messages of the tests' own end in a pytest process, where a warning is an error.
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["PYSPARK_PYTHON"] = sys.executable  # else the first python3 of the PATH
    os.environ["C_FORCE_ROOT"] = "1"  # Celery takes no pickles as root, and containers are root
    yield
    sys.path.remove(str(programs))
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session", params=ENGINES, ids=lambda engine: engine.name)
def started(
    request: pytest.FixtureRequest, environment: None, programs: Path
) -> Iterator[tuple[Engine, Any]]:
    """An engine, and what it is started as."""
    del environment
    chosen: Engine = request.param
    if chosen.package is not None:
        pytest.importorskip(chosen.package, reason=f"{chosen.package} could not be installed")
    with contextlib.closing(chosen.start(programs)) as running:
        yield chosen, running


@pytest.fixture
def engine(started: tuple[Engine, Any]) -> Any:
    """A running engine: it maps a function over items, and tells what went over its wire."""
    return started[1]


@pytest.fixture
def replaces(started: tuple[Engine, Any]) -> None:
    """Skips the engines whose work ends with a worker that is killed."""
    if not started[0].replaces:
        pytest.skip("it does not replace a worker that is killed")


def note(name: str, column: str, value: str) -> None:
    """Writes into the table."""
    RESULTS.setdefault(name, {})[column] = value


@pytest.fixture
def measured(started: tuple[Engine, Any]) -> Callable[[str], None]:
    """Takes a number for the table."""
    return lambda value: note(started[0].name, "µs a call", value)


def pytest_configure(config: pytest.Config) -> None:
    """Declares the mark that says which column of the table a test fills."""
    config.addinivalue_line("markers", "column(name): what the test shows, in the table")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """Notes in the table what each test has shown; a column may need several."""
    report: Any = yield
    column = item.get_closest_marker("column")
    callspec: Any = getattr(item, "callspec", None)
    if column is None or callspec is None or "started" not in callspec.params:
        return report
    row = RESULTS.setdefault(callspec.params["started"].name, {})
    if report.failed:
        row[column.args[0]] = "NO"
    elif report.skipped:
        row.setdefault(column.args[0], "-" if "replace" in str(report.longrepr) else "skipped")
    elif report.when == "call":
        row.setdefault(column.args[0], "yes")
    return report


def _versions() -> Iterator[tuple[str, str]]:
    for engine in ENGINES:
        found = "Python's own"
        if engine.package is not None:
            found = "not installed"
            with contextlib.suppress(PackageNotFoundError):
                found = version(engine.package)
        yield engine.name, found


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Prints the table."""
    if not RESULTS:
        return
    rows: list[Sequence[str]] = [("engine", "version", *COLUMNS)]
    for name, found in _versions():
        shown = RESULTS.get(name, {})
        rows.append((name, found, *(shown.get(column, "-") for column in COLUMNS)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    terminalreporter.section("engines")
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        terminalreporter.line("  ".join(cells).rstrip())
