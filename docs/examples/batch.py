"""Asks many prompts for several tenants over a Dask cluster: ``python batch.py PROMPTS ANSWERS``.

PROMPTS is a folder with a text file for each tenant, a prompt per line; ANSWERS gets Parquet files.
Run it again after it was stopped: it asks what has no answer yet, and nothing else.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import google.generativeai as genai
import pyarrow as pa
import pyarrow.parquet as pq
from dask.distributed import Client, LocalCluster, as_completed
from google.api_core.exceptions import ResourceExhausted
from google.rpc.error_details_pb2 import RetryInfo

from genai_config import bind, from_env, override, safe_configure

WORKERS = 4
AT_ONCE = 8  # calls under way in each worker
PART = 32  # prompts in a file of answers: what each worker may have to ask again after a stop
TRIES = 10

TENANTS: dict[str, dict[str, Any]] = {
    "lab": {"api_key": from_env("GEMINI_API_KEY"), "auth": "api_key"},
    "work": {"auth": "oauth"},  # Application Default Credentials: a token per worker and lifetime
}


class Part(NamedTuple):
    """Some prompts of one tenant, and the file that their answers belong in."""

    number: int
    tenant: str
    prompts: list[str]
    file: Path


def seconds_to_wait(error: ResourceExhausted, tries: int) -> float:
    """What the service asks for (RetryInfo, or Retry-After over REST), else longer each time."""
    seconds = 2.0**tries
    for name, value in error.response.trailing_metadata():
        if name == "retry-after" and value.isdigit():
            seconds = float(value)
    for detail in error.details:
        if isinstance(detail, RetryInfo):
            seconds = detail.retry_delay.ToTimedelta().total_seconds()
    return seconds + random.uniform(0, 1)  # noqa: S311 -- so that not all come back at once


def ask(prompt: str) -> tuple[str | None, int]:
    """The answer, None if it has no text (it was blocked), and how often it was asked again."""
    model = genai.GenerativeModel("gemini-3.6-flash")
    for tries in range(TRIES):
        try:
            response = model.generate_content(prompt)
        except ResourceExhausted as error:
            seconds = seconds_to_wait(error, tries)
        else:
            return response.text if response.parts else None, tries
        time.sleep(seconds)
    raise RuntimeError(f"The quota was used up {TRIES} times in a row.")


def answer(part: Part) -> tuple[int, int]:
    """Runs on a worker: asks the prompts of a part, and writes their answers in one step."""
    with ThreadPoolExecutor(AT_ONCE) as threads:
        texts, retries = zip(*threads.map(bind(ask), part.prompts), strict=True)
    unfinished = part.file.with_suffix(".unfinished")
    pq.write_table(pa.table({"prompt": part.prompts, "answer": list(texts)}), unfinished)
    unfinished.replace(part.file)
    return len(texts), sum(retries)


def unanswered(prompts: Path, answers: Path) -> list[Part]:
    """The parts that have no file of answers yet, the tenants' by turns."""
    parts = []
    for tenant in TENANTS:
        lines = (prompts / f"{tenant}.txt").read_text(encoding="utf-8").splitlines()
        for number, start in enumerate(range(0, len(lines), PART)):
            file = answers.resolve() / f"{tenant}-{number:05}.parquet"
            parts.append(Part(number, tenant, lines[start : start + PART], file))
    return sorted(part for part in parts if not part.file.exists())


def show(done: int, total: int, retries: int, started: float) -> None:
    """A progress bar, on one line."""
    bar = "#" * (40 * done // total)
    speed = done / (time.monotonic() - started)
    print(f"\r[{bar:<40}] {done}/{total}, {retries} retries, {speed:.0f}/s", end="", flush=True)


def main(prompts: Path, answers: Path) -> int:
    """Asks what has no answer yet; the exit code."""
    answers.mkdir(exist_ok=True)
    parts = unanswered(prompts, answers)
    total = sum(len(part.prompts) for part in parts)
    print(f"{total} prompts to ask", flush=True)
    # The address of `genai-config serve`, if there is one; else Google's.
    server = os.environ.get("GEMINI_GRPC_ENDPOINT")
    safe_configure(timeout=60, client_options={"api_endpoint": server} if server else None)
    asking = {}
    for tenant, settings in TENANTS.items():
        with override(**settings):
            asking[tenant] = bind(answer)
    done, retried, errors, started = 0, 0, [], time.monotonic()
    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        futures = [client.submit(asking[part.tenant], part, pure=False) for part in parts]
        for future in as_completed(futures):
            if future.status == "error":
                errors.append(future.exception())
                continue
            answered, retries = future.result()
            done, retried = done + answered, retried + retries
            show(done, total, retried, started)
    print()
    for error in errors:
        print(f"A part failed, run this again: {error}", file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), Path(sys.argv[2])))
