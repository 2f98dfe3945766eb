"""What a call costs: imports, one request, one kind of credentials after the other, a scope."""

from __future__ import annotations

import asyncio
import compileall
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.local import BASE, ROOT, TUNED, a_request
from benchmarks.measure import Ratio, compare, compare_async, cpu_of_children, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.measure import Row

# The SDK asks for no scopes, and a token without any is refused: it gets ours.
_ASKED_FOR = ["https://www.googleapis.com/auth/cloud-platform"]

_SCOPES = 20
"""Configuration scopes to one call: a few take less time than a call leaves to gRPC's threads."""


def imports() -> Iterator[Row]:
    """Whole processes that import and end."""

    def python(code: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own

    for code in ("import genai_config", "from genai_config import safe_configure"):
        against = "from pydantic import BaseModel"
        yield timed(
            f"`{code}`", f"`{against}`", compare(python(code), python(against), calls=3), 1.5
        )


_COLD = """
import google.generativeai as genai
{configure}
genai.GenerativeModel({model!r}).generate_content("hi")
"""
_CONFIGURE = {
    "ours": "from genai_config import safe_configure; safe_configure(ca_certs={ca!r}, ",
    "bare": "genai.configure(",
}


def cold_start(info: dict[str, Any], key: str) -> Iterator[Row]:
    """Whole processes that import, configure, and make one call."""
    # As pip leaves a package: where Python writes no bytecode, a checkout would be compiled anew in
    # each process, and the SDK would not.
    compileall.compile_dir(ROOT / "genai_config", quiet=1)

    def process(side: str) -> Any:
        configure = _CONFIGURE[side].format(ca=info["ca"])
        configure += f"api_key={key!r}, client_options={{'api_endpoint': {info['grpc']!r}}})"
        code = _COLD.format(configure=configure, model=BASE)
        command = [sys.executable, "-W", "ignore", "-c", code]
        return lambda: subprocess.run(command, check=True, cwd=ROOT)  # noqa: S603 -- our own

    ratio = compare(process("ours"), process("bare"), calls=1, clock=cpu_of_children)
    yield timed("a cold start: import, configure, one call", "bare SDK", ratio, 1.02)


def calls(info: dict[str, Any], key: str) -> Iterator[Row]:
    """One request through a routing client and through the bare SDK's client."""
    import google.ai.generativelanguage as glm
    import google.auth
    from google.generativeai import client as client_lib

    from genai_config import override, safe_configure

    options = {"api_endpoint": info["grpc"]}
    adc, _ = google.auth.default(scopes=_ASKED_FOR)
    safe_configure(api_key=key, ca_certs=info["ca"], client_options=options)
    ours = client_lib.get_default_generative_client()
    ours_async = client_lib.get_default_generative_async_client()
    with_key = {**options, "api_key": key}

    for name, model, settings in (
        ("API key", BASE, {"client_options": with_key}),
        ("OAuth", TUNED, {"client_options": options, "credentials": adc}),
    ):
        request = a_request(model)
        bare = glm.GenerativeServiceClient(**settings)
        ratio = compare(
            lambda: ours.generate_content(request),  # noqa: B023 -- called in this turn
            lambda: bare.generate_content(request),  # noqa: B023 -- called in this turn
            calls=100,
            clock=time.process_time,
        )
        yield timed(f"a call, gRPC, {name}, sync", "bare SDK client", ratio, 0.6)

        async def measured() -> Ratio:
            bare = glm.GenerativeServiceAsyncClient(**settings)  # noqa: B023 -- called in this turn
            return await compare_async(
                lambda: ours_async.generate_content(request),  # noqa: B023 -- likewise
                lambda: bare.generate_content(request),  # noqa: B023 -- likewise
                calls=100,
                clock=time.process_time,
            )

        ratio = asyncio.run(measured())
        yield timed(f"a call, gRPC, {name}, async", "bare SDK client", ratio, 0.6)

    def scopes() -> None:
        for _ in range(_SCOPES):
            with override(api_key=key):
                pass

    request = a_request(BASE)
    bare = glm.GenerativeServiceClient(client_options=with_key)
    ratio = compare(
        scopes, lambda: bare.generate_content(request), calls=100, clock=time.process_time
    ).divided(_SCOPES)
    yield timed("entering and leaving a scope", "a call of the bare SDK", ratio, 0.02)


def alternating(info: dict[str, Any], key: str) -> Iterator[Row]:
    """A call of a base model and one of a tuned model, again and again."""
    import google.auth
    from google.generativeai import client as client_lib

    from genai_config import safe_configure

    options = {"api_endpoint": info["grpc"]}
    adc, _ = google.auth.default(scopes=_ASKED_FOR)
    base, tuned = a_request(BASE), a_request(TUNED)
    safe_configure(api_key=key, ca_certs=info["ca"], client_options=options)
    client = client_lib.get_default_generative_client()
    # What genai.configure() calls, and what a GenerativeModel takes its client from: this library
    # has put its own into the SDK of this process.
    bare = client_lib._ClientManager()  # noqa: SLF001 -- the SDK's seam

    def ours() -> None:
        client.generate_content(base)
        client.generate_content(tuned)

    def by_hand() -> None:
        bare.configure(api_key=key, client_options=dict(options))
        bare.get_default_client("generative").generate_content(base)
        bare.configure(credentials=adc, client_options=dict(options))
        bare.get_default_client("generative").generate_content(tuned)

    ratio = compare(ours, by_hand, calls=40)
    yield timed("a base and a tuned call, in turn", "`genai.configure()` between", ratio, 0.35)
