"""User code that is right: neither mypy nor pyright, both strict, finds anything in it."""

from __future__ import annotations

import asyncio
import datetime as dt
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, SecretStr

from genai_config import (
    UNSET,
    GenAIConfig,
    TokenEvent,
    base_models,
    bind,
    carry,
    exceptions,
    explain,
    from_command,
    from_env,
    from_file,
    from_keyring,
    from_secret_manager,
    get_config,
    override,
    safe_configure,
    tuned_models,
    watch_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Mine(BaseModel):
    """Settings of one's own."""

    genai: GenAIConfig = GenAIConfig()


def token() -> tuple[str, dt.datetime]:
    """Gives an access token."""
    return "made-up", dt.datetime.now(dt.timezone.utc)


def configure(key: str | None) -> GenAIConfig:
    """Every kind of value that a setting takes."""
    safe_configure(api_key=key, transport="rest", timeout=5)
    safe_configure(credentials=token, client_options={"api_endpoint": "host"}, timeout=UNSET)
    safe_configure(credentials=Path("/key.json"), default_metadata=[("x-tenant", "a")])
    safe_configure({"transport": "rest"}, auth="oauth", raw_configure="isolate")
    safe_configure(backend="vertex", tuned_endpoints={"tunedModels/a": "1", "tunedModels/b": UNSET})
    config = safe_configure(GenAIConfig(timeout=1), existing_models="follow")
    return config.merge(auth="auto", scopes=["email"]).merge(timeout=3)


def references() -> GenAIConfig:
    """Every kind of reference, wherever a key or credentials are given; a pydantic secret, too."""
    safe_configure(api_key=from_env("KEY"), credentials=from_file(Path("/key.json")))
    safe_configure(api_key=SecretStr("made-up"), credentials=from_keyring("service", "me"))
    with override(api_key=from_command(["pass", "show", "gemini"])):
        name = "projects/p/secrets/s/versions/latest"
        return GenAIConfig(api_key=from_secret_manager(name, endpoint="mine.example"))


def carried() -> float | None:
    """A configuration that travels: as a context manager, and as an initializer."""
    with carry() as config:
        ProcessPoolExecutor(1, initializer=carry()).shutdown()
        return config.timeout


def scopes() -> str:
    """Each scope gives the configuration inside."""
    with override(transport="rest") as config, tuned_models(transport="grpc") as inner:
        seconds: float | None = config.timeout
        name: str | None = inner.project
    with override(profile="prod"), tuned_models(profile="prod"), base_models(profile=UNSET):
        safe_configure(profile="prod", timeout=5)
    return f"{seconds} {name}"


@override(timeout=5)
def function(number: int) -> str:
    """Keeps its signature."""
    return str(number)


@base_models(auth="api_key")
async def coroutine(number: int) -> str:
    """Keeps its signature."""
    await asyncio.sleep(0)
    return str(number)


@tuned_models()
def generator(number: int) -> Iterator[int]:
    """Keeps its signature."""
    yield number


async def asynchronous() -> str:
    """Scopes, decorated coroutines, and functions bound for a thread."""
    async with override(quota_project="my-project") as config:
        bound = bind(function)
        text: str = await asyncio.to_thread(bound, 1)
        return text + await coroutine(number=2) + str(config.auth_timeout)


def events() -> list[TokenEvent]:
    """Watches, and stops in either way."""
    heard: list[TokenEvent] = []
    with watch_tokens(on_refresh=heard.append) as watch:
        watch()
    watch_tokens(on_failure=heard.append)()
    return heard


def reading() -> tuple[str, int]:
    """What is in force, and why."""
    try:
        key = get_config().api_key
    except exceptions.ConfigurationError as error:
        return error.remedy, 0
    explanation = explain("tunedModels/mine")
    shown = explanation.decision.auth if explanation.decision else ""
    return f"{shown}{key.variable if key else ''}", sum(generator(1)) + len(function(1))
