"""User code that is wrong: mypy and pyright, both strict, find each line that is marked.

A marked line that a checker finds nothing in is an error to it: the mark would be unused.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# The SDK's classes, which the signature of generative_model names, are partially untyped.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from genai_config import (
    GenAIConfig,
    base_models,
    from_env,
    generative_model,
    get_config,
    override,
    safe_configure,
    tuned_models,
    watch_tokens,
)


def misspelt_settings() -> None:
    """Names that are no settings."""
    safe_configure(api_kye="k")  # type: ignore[arg-type]
    override(api_kye="k")  # type: ignore[call-arg]
    base_models(timout=3)  # type: ignore[call-arg]
    tuned_models(transprot="rest")  # type: ignore[call-arg]
    get_config().merge(api_kye="k")  # type: ignore[call-arg]
    get_config().merge(profile="prod")  # type: ignore[call-arg]
    GenAIConfig(api_kye="k")  # type: ignore[call-arg]
    generative_model(sytem_instruction="x")  # type: ignore[call-arg]


def settings_without_names() -> None:
    """Settings are given by name."""
    override("k")  # type: ignore[arg-type]
    base_models("k")  # type: ignore[arg-type]
    tuned_models("k")  # type: ignore[arg-type]
    get_config().merge("k")  # type: ignore[arg-type]


def misspelt_choices() -> None:
    """Values that are no choices."""
    safe_configure(transport="grcp")  # type: ignore[arg-type]
    safe_configure(auth="oath")  # type: ignore[arg-type]
    safe_configure(backend="vertx")  # type: ignore[arg-type]
    safe_configure(existing_models="kept")  # type: ignore[arg-type]
    override(raw_configure="ignore")  # type: ignore[arg-type]
    tuned_models(tuned_transport="grpc_asyncio")  # type: ignore[arg-type]


def wrong_types() -> None:
    """Values of another type."""
    safe_configure(timeout="5")  # type: ignore[arg-type]
    safe_configure("rest")  # type: ignore[arg-type]
    override(tuned_endpoints={"tunedModels/a": 5})  # type: ignore[dict-item]
    GenAIConfig(client_options="host")  # type: ignore[arg-type]
    safe_configure(credentials=5)  # type: ignore[arg-type]
    safe_configure(api_key=5)  # type: ignore[arg-type]
    from_env(5)  # type: ignore[arg-type]
    watch_tokens(print)  # type: ignore[call-arg]


def frozen(config: GenAIConfig) -> None:
    """A configuration never changes."""
    config.transport = "rest"  # type: ignore[misc]
    from_env("KEY").kind = "from_file"


@override(timeout=5)
def function(number: int) -> str:
    """Keeps its signature."""
    return str(number)


def a_decorated_function_keeps_its_signature() -> None:
    """And what it returns."""
    function("1")  # type: ignore[arg-type]
    length: int = function(1)  # type: ignore[assignment]
    del length
