"""Measures this library against the bare SDK on a local server and writes docs/benchmarks.md.

Run as `nox -s bench`; `nox -s bench -- --long` also waits 100 seconds for the bare SDK on a dead
token endpoint. `nox -s bench -- --openai` measures OpenAI's clients instead and writes
docs/benchmarks-openai.md, `-- --google-genai` google-genai's client, `-- --proxy` the proxy. Exit
code 1 if a bound is missed by more than noise: if even the first quartile of the rounds lies above
it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import googles, openais, proxies
from benchmarks.calls import alternating, calls, cold_start, imports
from benchmarks.dead import dead
from benchmarks.growth import growth
from benchmarks.local import ROOT, local_server
from benchmarks.over_json import over_json
from benchmarks.tenants import tenants
from benchmarks.tokens import SETTINGS, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Row

HEAD = ("what", "against", "ours", "theirs", "ratio (quartiles)", "bound", "kept")


def rows(*, patience: float) -> Iterator[Row]:
    """All of the table."""
    yield from imports()
    with local_server() as server:
        # gRPC reads its roots once per process: before the first channel.
        os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = server.info["ca"]
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = server.info["adc"]
        (key,) = server.ask(keys=1)
        yield from cold_start(server.info, key)
        yield from calls(server.info, key)
        yield from alternating(server.info, key)
        yield from tenants(server)
        yield from growth(server)
        yield from tokens(server)
        yield from over_json(server, key)
        # Last: the bare SDK's call goes on waiting in its thread.
        yield from dead(server.info, patience=patience)


def main() -> int:
    """Measures, prints and writes the table; 1 if a bound is missed."""
    warnings.simplefilter("ignore")
    for name in list(os.environ):
        if name in ("GEMINI_API_KEY", "GOOGLE_API_KEY") or name.startswith("OPENAI_"):
            del os.environ[name]
    if "--openai" in sys.argv:
        return _written("benchmarks-openai", openais.HEAD, openais.rows(), openais.settings())
    if "--google-genai" in sys.argv:
        name = "benchmarks-google-genai"
        return _written(name, googles.HEAD, googles.rows(), googles.settings())
    if "--proxy" in sys.argv:
        return _written("benchmarks-proxy", proxies.HEAD, proxies.rows(), proxies.settings())
    found = rows(patience=100.0 if "--long" in sys.argv else 5.0)
    return _written("benchmarks", HEAD, found, SETTINGS)


def _written(
    name: str, head: tuple[str, ...], found: Iterator[tuple[Any, ...]], settings: dict[str, Any]
) -> int:
    """Prints the rows as they come, and writes the page; 1 if one of them is not kept."""
    start, table, all_kept = time.monotonic(), [_line(*head), "|---" * len(head) + "|"], True
    print(*table, sep="\n")
    for *cells, kept in found:
        table.append(_line(*cells, "yes" if kept else "**no**"))
        all_kept = all_kept and kept
        print(table[-1])
    took = f"{(time.monotonic() - start) / 60:.1f} minutes"
    versions = f"Python {platform.python_version()}, {os.cpu_count()} cores, in {took}"
    page = Path(__file__).with_name(_TEMPLATES[name]).read_text(encoding="utf-8")
    (ROOT / "docs" / f"{name}.md").write_text(
        page.format(table="\n".join(table), versions=versions, **settings), encoding="utf-8"
    )
    return 0 if all_kept else 1


_TEMPLATES = {
    "benchmarks": "page.md",
    "benchmarks-openai": "page_openai.md",
    "benchmarks-google-genai": "page_google_genai.md",
    "benchmarks-proxy": "page_proxy.md",
}


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    code = main()
    sys.stdout.flush()
    # The bare SDK's call on the dead endpoint is still waiting; it would hold up the exit.
    os._exit(code)
