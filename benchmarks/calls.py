"""What a call costs: imports, one request, one kind of credentials after the other, a scope."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.local import BASE, TUNED, a_request
from benchmarks.measure import Ratio, Row, compare, compare_async, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

# The SDK asks for no scopes, and a token without any is refused: it gets ours.
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]


def imports() -> Iterator[Row]:
    """Whole processes that import and end."""

    def python(code: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 -- our own

    for code in ("import genai_config", "from genai_config import safe_configure"):
        against = "from pydantic import BaseModel"
        yield timed(
            f"`{code}`", f"`{against}`", compare(python(code), python(against), calls=3), 1.5
        )


def calls(info: dict[str, Any], key: str) -> Iterator[Row]:
    """One request through a routing client and through the bare SDK's client."""
    import google.ai.generativelanguage as glm
    import google.auth
    from google.generativeai import client as client_lib

    from genai_config import override, safe_configure

    options = {"api_endpoint": info["grpc"]}
    adc, _ = google.auth.default(scopes=_SCOPES)
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


def alternating(info: dict[str, Any], key: str) -> Iterator[Row]:
    """A call of a base model and one of a tuned model, again and again."""
    import google.auth
    from google.generativeai import client as client_lib

    from genai_config import safe_configure

    options = {"api_endpoint": info["grpc"]}
    adc, _ = google.auth.default(scopes=_SCOPES)
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
