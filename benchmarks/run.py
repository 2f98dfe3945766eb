"""Measures this library against the bare SDK on a local server and writes docs/benchmarks.md.

Run as `nox -s bench`; `nox -s bench -- --long` also waits 100 seconds for the bare SDK on a dead
token endpoint. Exit code 1 if a bound is missed by more than noise: if even the first quartile of
the rounds lies above it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.calls import alternating, calls, imports
from benchmarks.dead import dead
from benchmarks.growth import growth
from benchmarks.local import ROOT, local_server
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
        yield from calls(server.info, key)
        yield from alternating(server.info, key)
        yield from tenants(server)
        yield from growth(server)
        yield from tokens(server)
        # Last: the bare SDK's call goes on waiting in its thread.
        yield from dead(server.info, patience=patience)


def main() -> int:
    """Measures, prints and writes the table; 1 if a bound is missed."""
    warnings.simplefilter("ignore")
    os.environ.pop("GEMINI_API_KEY", None)
    os.environ.pop("GOOGLE_API_KEY", None)
    start, table, kept = time.monotonic(), [_line(*HEAD), "|---" * len(HEAD) + "|"], True
    print(*table, sep="\n")
    for row in rows(patience=100.0 if "--long" in sys.argv else 5.0):
        table.append(_line(*row[:-1], "yes" if row.kept else "**no**"))
        kept = kept and row.kept
        print(table[-1])
    took = f"{(time.monotonic() - start) / 60:.1f} minutes"
    versions = f"Python {platform.python_version()}, {os.cpu_count()} cores, in {took}"
    page = Path(__file__).with_name("page.md").read_text(encoding="utf-8")
    (ROOT / "docs" / "benchmarks.md").write_text(
        page.format(table="\n".join(table), versions=versions, **SETTINGS), encoding="utf-8"
    )
    return 0 if kept else 1


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    code = main()
    sys.stdout.flush()
    # The bare SDK's call on the dead endpoint is still waiting; it would hold up the exit.
    os._exit(code)
