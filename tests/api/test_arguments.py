"""Errors of every function that takes settings carry no frame that holds what it was given."""

from __future__ import annotations

import inspect
import traceback
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest

import genai_config
from genai_config import GenAIConfig, base_models, openai, override, safe_configure, tuned_models
from genai_config.exceptions import ConfigurationError, GenAIConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "hunter2-hunter2-hunter2"

REFUSED: dict[str, dict[str, Any]] = {
    "a good key beside a bad setting": {"api_key": SECRET, "auth": "none"},
    "an unknown name": {"api_key": SECRET, "api_keys": SECRET},
    "a bad key": {"api_key": f"{SECRET} {SECRET}"},
    "a key file's content": {"credentials": f'{{"private_key": "{SECRET}"}}'},
    "a mapping that is no key file": {"credentials": {"private_key": SECRET}},
    "a missing key file": {"credentials": "/nowhere/key.json", "api_key": SECRET},
    "a client option": {"api_key": SECRET, "client_options": {"api_endpoint": f"{SECRET}/ x"}},
    "a proxy": {"proxy": f"ftp://me:{SECRET}@proxy:1"},
}

PLAIN: dict[str, Callable[..., Any]] = {
    "safe_configure": safe_configure,
    "override": override,
    "base_models": base_models,
    "tuned_models": tuned_models,
    "GenAIConfig": GenAIConfig,
}
MORE: dict[str, Callable[..., Any]] = {
    "safe_configure, a mapping": lambda **settings: safe_configure(settings),
    "GenAIConfig.merge": GenAIConfig().merge,
    "GenAIConfig.model_copy": lambda **settings: GenAIConfig().model_copy(update=settings),
    "GenAIConfig.model_validate": lambda **settings: GenAIConfig.model_validate(settings),
    "openai.client": openai.client,
    "openai.async_client": openai.async_client,
    "openai.OpenAI": openai.OpenAI,
    "openai.AsyncOpenAI": openai.AsyncOpenAI,
    "openai.http_client": openai.http_client,
    "openai.async_http_client": openai.async_http_client,
}


def shown(error: BaseException) -> Iterator[str]:
    """What a report with local variables has of an error, but for the frames of this file."""
    report: traceback.TracebackException | None = traceback.TracebackException.from_exception(
        error, capture_locals=True
    )
    while report is not None:
        yield str(report)
        for frame in report.stack:
            if frame.filename != __file__:
                yield f"{frame.name}: {frame.locals}"
        report = report.__cause__ or report.__context__


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("name", [*PLAIN, *MORE])
def test_a_refused_value_is_in_no_frame(name: str, what: str) -> None:
    """Nor is what was given beside it."""
    if what == "a missing key file" and name.startswith("GenAIConfig"):
        pytest.skip("a configuration reads no file: what uses it does")
    function = {**PLAIN, **MORE}[name]
    place = {"project": "my-project", "location": "us-central1"} if "penai." in name else {}
    settings = {**REFUSED[what], **place}
    with pytest.raises(GenAIConfigError) as caught:
        function(**settings)
    assert not [text for text in shown(caught.value) if SECRET in text]


def test_no_public_function_is_missing() -> None:
    """Every one that takes a key is tried."""
    taking = set()
    for name in genai_config.__all__:
        member = getattr(genai_config, name)
        if callable(member) and not inspect.ismodule(member):
            parameters = inspect.signature(member).parameters
            rest = [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]
            if rest and not isinstance(member, type):
                taking.add(name)
    assert taking | {"GenAIConfig"} == PLAIN.keys()


def test_a_raw_configure() -> None:
    """The frames of the SDK are its own; ours hold nothing."""
    safe_configure()
    with pytest.raises(GenAIConfigError) as caught:
        genai.configure(api_key=SECRET, transport="none")
    ours = [text for text in shown(caught.value) if not text.startswith("configure: ")]
    assert not [text for text in ours if SECRET in text]


def test_a_copy_of_a_client() -> None:
    """It refuses another key."""
    with (
        openai.client(backend="gemini", api_key="made-up") as client,
        pytest.raises(GenAIConfigError) as caught,
    ):
        client.with_options(api_key=SECRET)
    assert not [text for text in shown(caught.value) if SECRET in text]


def test_googles_newer_sdk() -> None:
    """Its clients are made from the same settings."""
    pytest.importorskip("google.genai", reason="the SDK's successor is not installed")
    from genai_config import google_genai

    with pytest.raises(GenAIConfigError) as caught:
        google_genai.client(api_key=SECRET, backend="none")
    assert not [text for text in shown(caught.value) if SECRET in text]


@pytest.mark.parametrize("call", [override, base_models, tuned_models, GenAIConfig().merge])
@pytest.mark.parametrize("given", [SECRET, {"api_key": SECRET}, lambda: SECRET])
def test_settings_are_given_by_name(call: Callable[..., Any], given: object) -> None:
    """What comes without one is refused unseen, and the error shows what to write."""
    before = genai_config.get_config()
    with pytest.raises(ConfigurationError) as caught:
        call(given)
    name = call.__name__
    expected = f"@{name}(" if callable(given) and name != "merge" else f"{name}("
    assert expected in caught.value.remedy
    assert type(given).__name__ in caught.value.problem
    assert not any(SECRET in text for text in shown(caught.value))
    assert genai_config.get_config() == before


def test_a_configuration_in_place_of_settings() -> None:
    """The error shows how it is put in force in a scope, and so it is."""
    config = GenAIConfig(api_key="made-up", transport="rest", timeout=5)
    with pytest.raises(ConfigurationError, match=r"override\(\*\*dict\(config\)\)"):
        override(config)  # type: ignore[arg-type] # that is what is tested
    with override(**dict(config)) as inside:
        assert inside == config
