"""Measures this library against the bare SDK on a local server and writes docs/benchmarks.md.

Run as `nox -s bench`; `nox -s bench -- --long` also waits 100 seconds for the bare SDK on a dead
token endpoint. Exit code 1 if a bound is missed by more than noise: if even the first quartile of
the rounds lies above it.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.measure import Ratio, compare, compare_async

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
BASE, TUNED = "models/gemini-1.5-flash", "tunedModels/mine"


class Row(NamedTuple):
    """One line of the table."""

    what: str
    against: str
    ours: str
    theirs: str
    ratio: str
    bound: str
    kept: bool


@contextmanager
def local_server() -> Iterator[dict[str, Any]]:
    """The server in a process of its own, trusted by the bare SDK too."""
    command = [sys.executable, str(HERE / "serve.py")]
    with subprocess.Popen(  # noqa: S603 -- our own script
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            info: dict[str, Any] = json.loads(process.stdout.readline())
            yield info
        finally:
            process.stdin.close()


def timed(what: str, against: str, ratio: Ratio, bound: float, unit: float = 1e3) -> Row:
    """A row for a ratio and its bound; times in milliseconds."""
    return Row(
        what,
        against,
        f"{ratio.ours * unit:.2f} ms",
        f"{ratio.theirs * unit:.2f} ms",
        f"{ratio.ratio:.2f} ({ratio.low:.2f} to {ratio.high:.2f})",
        f"≤ {bound:g}",
        ratio.low <= bound,
    )


def imports() -> Iterator[Row]:
    """Whole processes that import and end."""

    def python(code: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own

    for code in ("import genai_config", "from genai_config import safe_configure"):
        against = "from pydantic import BaseModel"
        yield timed(
            f"`{code}`", f"`{against}`", compare(python(code), python(against), calls=3), 1.5
        )


def calls(info: dict[str, Any]) -> Iterator[Row]:
    """One request through a routing client and through the bare SDK's client."""
    import google.ai.generativelanguage as glm
    import google.auth
    from google.generativeai import client as client_lib

    from genai_config import override, safe_configure

    options = {"api_endpoint": info["grpc"]}
    key = info["keys"][0]
    # The SDK asks for no scopes, and a token without any is refused: it gets ours.
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    adc, _ = google.auth.default(scopes=scopes)
    safe_configure(api_key=key, ca_certs=info["ca"], client_options=options)
    ours = client_lib.get_default_generative_client()
    ours_async = client_lib.get_default_generative_async_client()
    with_key = {**options, "api_key": key}

    for name, model, settings in (
        ("API key", BASE, {"client_options": with_key}),
        ("OAuth", TUNED, {"client_options": options, "credentials": adc}),
    ):
        request = glm.GenerateContentRequest(
            model=model, contents=[{"role": "user", "parts": [{"text": "hi"}]}]
        )
        bare = glm.GenerativeServiceClient(**settings)
        ratio = compare(
            lambda: ours.generate_content(request),  # noqa: B023 -- called in this turn
            lambda: bare.generate_content(request),  # noqa: B023 -- called in this turn
            calls=100,
        )
        yield timed(f"a call, gRPC, {name}, sync", "bare SDK client", ratio, 1.0)

        async def measured() -> Ratio:
            bare = glm.GenerativeServiceAsyncClient(**settings)  # noqa: B023 -- called in this turn
            return await compare_async(
                lambda: ours_async.generate_content(request),  # noqa: B023 -- likewise
                lambda: bare.generate_content(request),  # noqa: B023 -- likewise
                calls=100,
            )

        ratio = asyncio.run(measured())
        yield timed(f"a call, gRPC, {name}, async", "bare SDK client", ratio, 1.0)

    def nothing() -> None:
        with override(api_key=key):
            pass

    took = compare(nothing, lambda: None, calls=1000).ours
    yield Row(
        "entering and leaving a scope", "–", f"{took * 1e6:.1f} µs", "–", "–", "≤ 15 µs",
        took <= 15e-6,
    )  # fmt: skip


@contextmanager
def dead_token_endpoint() -> Iterator[Path]:
    """ADC whose token endpoint accepts connections and never answers."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        tempfile.TemporaryDirectory() as folder,
    ):
        subject, file = Path(folder, "subject"), Path(folder, "external_account.json")
        subject.write_text("subject", encoding="utf-8")
        port = listener.getsockname()[1]
        file.write_text(
            json.dumps(
                {
                    "type": "external_account",
                    "audience": "//iam.googleapis.com/projects/1/locations/global/workloads",
                    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                    "token_url": f"http://127.0.0.1:{port}/token",
                    "credential_source": {"file": str(subject)},
                }
            ),
            encoding="utf-8",
        )
        yield file


def dead(info: dict[str, Any], *, patience: float) -> Iterator[Row]:
    """A tuned call whose token endpoint never answers."""
    import google.ai.generativelanguage as glm
    import google.generativeai as genai
    from google.auth import identity_pool

    from genai_config import override
    from genai_config.exceptions import CredentialsTimeoutError

    bound = 2.0
    with dead_token_endpoint() as file:
        credentials = identity_pool.Credentials.from_file(str(file))
        returned = threading.Event()

        def bare() -> None:
            client = glm.GenerativeServiceClient(
                credentials=credentials, client_options={"api_endpoint": info["grpc"]}
            )
            try:
                client.generate_content(model=TUNED, contents=[])
            finally:
                returned.set()

        threading.Thread(target=bare, daemon=True).start()
        start = time.perf_counter()
        with override(credentials=file, auth_timeout=bound):
            try:
                genai.GenerativeModel(TUNED).generate_content("hi")
            except CredentialsTimeoutError as error:
                took = time.perf_counter() - start
                named = str(file) in str(error) and "/token" in str(error)
        bare_returned = returned.wait(patience)
    yield Row(
        "dead token endpoint", "bare SDK", f"our error after {took:.2f} s",
        "returned" if bare_returned else f"nothing after {patience:g} s", "–",
        f"auth_timeout = {bound:g} s", named and took < bound and not bare_returned,
    )  # fmt: skip


def main() -> int:
    """Measures, prints and writes the table; 1 if a bound is missed."""
    warnings.simplefilter("ignore")
    os.environ.pop("GEMINI_API_KEY", None)
    os.environ.pop("GOOGLE_API_KEY", None)
    patience = 100.0 if "--long" in sys.argv else 5.0
    rows = list(imports())
    with local_server() as info:
        # gRPC reads its roots once per process: before the first channel.
        os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = info["ca"]
        os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = info["adc"]
        rows += calls(info)
        rows += dead(info, patience=patience)
    table = [
        "| what | against | ours | theirs | ratio (quartiles) | bound | kept |",
        "|---" * 7 + "|",
    ]
    table += [f"| {' | '.join(row[:-1])} | {'yes' if row.kept else '**no**'} |" for row in rows]
    text = "\n".join(table)
    print(text)
    versions = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    page = (HERE / "page.md").read_text(encoding="utf-8")
    (HERE.parent / "docs" / "benchmarks.md").write_text(
        page.format(table=text, versions=versions), encoding="utf-8"
    )
    return 0 if all(row.kept for row in rows) else 1


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a text stream
    code = main()
    sys.stdout.flush()
    # The bare SDK's call on the dead endpoint is still waiting; it would hold up the exit.
    os._exit(code)
