"""The programs of docs/workers.md run as printed, but for where the secrets and the server are."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("environment"),
]


@pytest.fixture
def secrets(server: GeminiServer, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that the programs refer to, and a server in the place of Google's."""
    for name in ("key", "tenant"):
        secret = programs / "secrets" / name
        secret.write_text(server.api_key(name), encoding="utf-8")
    server.respond("*", lambda request: f"re: {request.contents[0].parts[0].text}")
    here = json.dumps([server.grpc_endpoint, str(server.ca_file)])
    monkeypatch.setenv("GENAI_CONFIG_ENGINES_SERVER", here)


def run(program: Path) -> list[str]:
    """The lines that a program prints."""
    done = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, str(program)],
        cwd=program.parent,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("re: ")]


def whose(server: GeminiServer) -> Counter[tuple[str, str | None]]:
    """What was asked, with whose key."""
    return Counter((r.message.contents[0].parts[0].text, r.identity) for r in server.requests)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("name", "package", "printed"),
    [
        ("processes", None, ["re: one re: two", "re: three"]),
        ("dask", "distributed", ["re: one re: two", "re: three"]),
        ("ray", "ray", ["re: one", "re: two", "re: three"]),
    ],
)
def test_a_program_with_a_tenant(
    name: str, package: str | None, printed: list[str], server: GeminiServer, programs: Path
) -> None:
    """The process's key by what configures the workers, the tenant's by `bind`."""
    if package is not None:
        pytest.importorskip(package, reason=f"{package} could not be installed")
    assert run(programs / f"with_{name}.py") == printed
    assert whose(server) == Counter({("one", "key"), ("two", "key"), ("three", "tenant")})


@pytest.mark.usefixtures("secrets")
def test_spark(server: GeminiServer, programs: Path) -> None:
    """A generator function over batches."""
    pytest.importorskip("pyspark", reason="pyspark could not be installed")
    assert run(programs / "with_spark.py") == ["re: one re: three re: two"]
    assert whose(server) == Counter((word, "key") for word in ("one", "two", "three"))


@pytest.mark.usefixtures("secrets")
def test_celery(server: GeminiServer, programs: Path) -> None:
    """A task that is told the tenant's name, and one that takes a bound function."""
    pytest.importorskip("celery", reason="celery could not be installed")
    import on_celery

    if on_celery.redis_server() is None:
        pytest.skip("no redis-server, and no package that has one")
    with contextlib.closing(on_celery.Celery("prefork", programs)):
        assert run(programs / "with_celery.py") == ["re: one", "re: two"]
    assert whose(server) == Counter({("one", "tenant"), ("two", "key")})
