"""The routing: which credentials, transport and scopes each request gets, as tables."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple

import google.ai.generativelanguage as glm
import pytest

from genai_config import GenAIConfig
from genai_config._routing import decision
from genai_config._routing.decision import (
    BASE_SCOPES,
    RETRIEVER_SCOPES,
    RULES,
    TUNED_SCOPES,
    Rule,
    find_rule,
    is_decisive,
    resources,
    route,
)
from genai_config._sdk.generated import client_class
from genai_config.exceptions import (
    APIKeyRequiredError,
    ConfigurationError,
    GenAIConfigError,
    OAuthRequiredError,
)

# What the clients of the first 0.8 releases do not have.
LATER = {
    ("prediction", "predict"),
    *(
        (rule.service, method)
        for rule in RULES
        if rule.service != "operations"
        for method in ("get_operation", "list_operations")
    ),
}
SERVICES = tuple(
    service
    for service in (
        "generative", "model", "file", "cache", "retriever", "permission", "prediction",
    )
    if hasattr(glm, f"{service.title()}ServiceClient")
)  # fmt: skip


class Case(NamedTuple):
    """A request and a configuration; what comes of them."""

    service: str
    method: str
    resource: str
    auth: Literal["auto", "oauth", "api_key"]
    key: Literal["key", "no key"]
    transport: Any
    called: Literal["sync", "async"]
    result: tuple[str, str, tuple[str, ...]] | type[GenAIConfigError]


CASES = [
    # What takes either: the key if there is one.
    Case("generative", "generate_content", "", "auto", "key", None, "sync",
         ("api_key", "grpc", ())),
    Case("generative", "generate_content", "", "auto", "key", None, "async",
         ("api_key", "grpc_asyncio", ())),
    Case("generative", "generate_content", "", "auto", "key", "grpc", "sync",
         ("api_key", "grpc", ())),
    Case("generative", "generate_content", "", "auto", "key", "grpc", "async",
         ("api_key", "grpc_asyncio", ())),
    Case("generative", "generate_content", "", "auto", "key", "grpc_asyncio", "sync",
         ("api_key", "grpc", ())),
    Case("generative", "generate_content", "", "auto", "key", "grpc_asyncio", "async",
         ("api_key", "grpc_asyncio", ())),
    Case("generative", "generate_content", "", "auto", "key", "rest", "sync",
         ("api_key", "rest", ())),
    Case("generative", "generate_content", "", "auto", "key", "rest", "async",
         ("api_key", "rest", ())),
    Case("generative", "generate_content", "", "auto", "no key", None, "sync",
         ("oauth", "grpc", BASE_SCOPES)),
    Case("generative", "generate_content", "", "auto", "no key", "rest", "async",
         ("oauth", "rest", BASE_SCOPES)),
    Case("generative", "generate_content", "", "oauth", "key", None, "sync",
         ("oauth", "grpc", BASE_SCOPES)),
    Case("generative", "generate_content", "", "oauth", "no key", None, "async",
         ("oauth", "grpc_asyncio", BASE_SCOPES)),
    Case("generative", "generate_content", "", "api_key", "key", None, "sync",
         ("api_key", "grpc", ())),
    Case("generative", "generate_content", "", "api_key", "no key", None, "sync",
         APIKeyRequiredError),
    Case("model", "list_models", "", "auto", "key", None, "sync", ("api_key", "grpc", ())),
    Case("file", "list_files", "", "auto", "no key", None, "sync",
         ("oauth", "grpc", BASE_SCOPES)),
    Case("cache", "list_cached_contents", "", "auto", "key", "rest", "sync",
         ("api_key", "rest", ())),
    # A tuned model: OAuth, by gRPC whatever the transport of the others.
    Case("generative", "generate_content", "tunedModels/m", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("generative", "generate_content", "tunedModels/m", "auto", "no key", None, "async",
         ("oauth", "grpc_asyncio", TUNED_SCOPES)),
    Case("generative", "generate_content", "tunedModels/m", "auto", "key", "rest", "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("generative", "generate_content", "tunedModels/m", "oauth", "no key", "rest", "async",
         ("oauth", "grpc_asyncio", TUNED_SCOPES)),
    Case("generative", "generate_content", "tunedModels/m", "api_key", "key", None, "sync",
         ("api_key", "grpc", ())),
    Case("generative", "generate_content", "tunedModels/m", "api_key", "no key", None, "sync",
         APIKeyRequiredError),
    Case("generative", "count_tokens", "tunedModels/m", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("model", "get_model", "tunedModels/m", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("model", "create_tuned_model", "", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("model", "list_tuned_models", "", "api_key", "key", None, "sync",
         ("api_key", "grpc", ())),
    Case("operations", "get_operation", "", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    Case("permission", "list_permissions", "tunedModels/m", "auto", "key", "rest", "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
    # Corpora and permissions: OAuth with the retriever's scope, by the configured transport.
    Case("retriever", "get_corpus", "", "auto", "key", None, "sync",
         ("oauth", "grpc", RETRIEVER_SCOPES)),
    Case("retriever", "query_corpus", "", "auto", "key", "rest", "sync",
         ("oauth", "rest", RETRIEVER_SCOPES)),
    Case("retriever", "create_chunk", "", "auto", "no key", None, "async",
         ("oauth", "grpc_asyncio", RETRIEVER_SCOPES)),
    Case("retriever", "create_corpus", "", "api_key", "key", None, "sync", OAuthRequiredError),
    Case("permission", "list_permissions", "corpora/c", "auto", "key", None, "sync",
         ("oauth", "grpc", RETRIEVER_SCOPES)),
    Case("permission", "create_permission", "", "auto", "key", None, "sync",
         ("oauth", "grpc", RETRIEVER_SCOPES)),
    Case("generative", "generate_answer", "corpora/c", "auto", "key", None, "sync",
         ("oauth", "grpc", RETRIEVER_SCOPES)),
    Case("generative", "generate_answer", "corpora/c", "api_key", "key", None, "sync",
         OAuthRequiredError),
    Case("generative", "generate_answer", "", "auto", "key", None, "sync",
         ("api_key", "grpc", ())),
    # The upload of a file: the key and nothing else.
    Case("file", "create_file", "", "auto", "key", None, "sync", ("api_key", "grpc", ())),
    Case("file", "create_file", "", "api_key", "key", "rest", "sync", ("api_key", "rest", ())),
    Case("file", "create_file", "", "auto", "no key", None, "sync", APIKeyRequiredError),
    Case("file", "create_file", "", "oauth", "key", None, "sync", APIKeyRequiredError),
    # A method that no row names: as if it took either.
    Case("generative", "a_later_method", "", "auto", "key", None, "sync",
         ("api_key", "grpc", ())),
    Case("a_later_service", "get", "tunedModels/m", "auto", "key", None, "sync",
         ("oauth", "grpc", TUNED_SCOPES)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[:-1])))
def test_a_request_gets_its_route(case: Case) -> None:
    """One line per kind of request, authorization mode, key and transport."""
    config = GenAIConfig().merge(
        auth=case.auth,
        api_key="made-up" if case.key == "key" else None,
        transport=case.transport,
    )
    call = (config, case.service, case.method, case.resource)
    asynchronous = case.called == "async"
    if isinstance(case.result, type):
        with pytest.raises(case.result) as caught:
            route(*call, asynchronous=asynchronous)
        assert f"{case.service}.{case.method}" in caught.value.problem
        assert caught.value.remedy
    else:
        decided = route(*call, asynchronous=asynchronous)
        assert decided[:3] == case.result
        assert all(reason.endswith(".") for reason in decided.reasons)


@pytest.mark.parametrize(
    ("tuned_transport", "transport", "asynchronous", "expected"),
    [
        ("grpc", "rest", False, "grpc"),
        ("rest", None, False, "rest"),
        ("rest", "grpc", False, "rest"),
        ("rest", "grpc", True, "rest"),
        ("grpc", "rest", True, "grpc_asyncio"),
    ],
)
def test_tuned_models_have_a_transport_of_their_own(
    tuned_transport: Any, transport: Any, expected: str, *, asynchronous: bool
) -> None:
    """`tuned_transport` decides, `transport` has no say."""
    config = GenAIConfig().merge(tuned_transport=tuned_transport, transport=transport)
    decided = route(
        config, "generative", "generate_content", "tunedModels/m", asynchronous=asynchronous
    )
    assert decided.transport == expected
    assert f'tuned_transport="{tuned_transport}".' in decided.reasons


@pytest.mark.parametrize("resource", ["", "tunedModels/m", "corpora/c"])
def test_configured_scopes_replace_those_of_the_need(resource: str) -> None:
    """Whoever sets them knows what their service account was granted."""
    config = GenAIConfig().merge(scopes=["https://mine"])
    assert route(config, "generative", "generate_answer", resource).scopes == ("https://mine",)


@pytest.mark.parametrize(
    ("api_endpoint", "grpc_can"),
    [
        (None, True),
        ("host", True),
        ("host:443", True),
        ("https://host", True),
        ("https://host/", True),
        ("http://localhost:8080", True),
        ("host/path", False),
        ("https://host/path", False),
        ("http://localhost:8080/path", False),
    ],
)
@pytest.mark.parametrize(
    ("resource", "setting"), [("", "transport"), ("tunedModels/m", "tuned_transport")]
)
def test_grpc_has_no_path(
    api_endpoint: str | None, resource: str, setting: str, *, grpc_can: bool
) -> None:
    """An endpoint with a path is for REST, and the error names the setting that makes it so."""
    config = GenAIConfig().merge(client_options={"api_endpoint": api_endpoint})
    call = ("generative", "generate_content", resource)
    if grpc_can:
        assert route(config, *call).transport == "grpc"
    else:
        with pytest.raises(ConfigurationError, match=f'safe_configure\\({setting}="rest"\\)'):
            route(config, *call)
    rest: dict[str, Any] = {setting: "rest"}
    assert route(config.merge(**rest), *call).transport == "rest"


def test_the_reasons_tell_the_story() -> None:
    """They are what `explain` prints."""
    config = GenAIConfig().merge(api_key="made-up", transport="rest")
    assert route(config, "generative", "generate_content").reasons == (
        "generative.generate_content takes an API key, and there is one.",
        'transport="rest".',
    )
    decided = route(config, "generative", "generate_content", "tunedModels/mine", asynchronous=True)
    assert decided.reasons == (
        "generative.generate_content on tunedModels/mine takes only OAuth credentials.",
        'tuned_transport="grpc".',
        "The caller awaits: grpc_asyncio.",
    )


def requests_of(service: str, *, asynchronous: bool) -> list[str]:
    """The methods of the SDK's client that send a request."""
    return [
        name
        for name, method in inspect.getmembers(client_class(service, asynchronous=asynchronous))
        if not name.startswith("_")
        and callable(method)
        and "metadata" in inspect.signature(method).parameters
    ]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("service", [*SERVICES, "operations"])
def test_every_request_of_the_sdk_has_a_row(service: str, *, asynchronous: bool) -> None:
    """Whatever the installed SDK can send is in the table."""
    methods = requests_of(service, asynchronous=asynchronous)
    assert methods
    assert [name for name in methods if find_rule(service, name) is None] == []


def test_every_row_names_methods_that_exist() -> None:
    """No row has outlived its method, and no method has two rows."""
    named = [(rule.service, method) for rule in RULES for method in rule.methods]
    assert len(named) == len(set(named))
    missing = {
        (service, method)
        for service, method in named
        if service not in (*SERVICES, "operations")
        or not hasattr(client_class(service, asynchronous=False), method)
    }
    assert missing in (set(), LATER)


def test_every_row_has_a_source() -> None:
    """The service's behaviour [F], or the SDK's code [S]."""
    assert all(rule.source.startswith(("[F] ", "[S] ")) for rule in RULES)


@pytest.mark.parametrize(
    ("resource", "decisive"),
    [
        ("tunedModels/mine", True),
        ("tunedModels/mine/operations/o", True),
        ("corpora/c/documents/d", True),
        ("models/gemini-3.6-flash", False),
        ("models/tunedModels/x", False),
        ("tunedmodels/x", False),
        ("tunedModels", False),
        ("files/f", False),
        ("projects/p/locations/l/endpoints/1", True),
        ("publishers/google/models/m", True),
        ("", False),
    ],
)
def test_which_names_decide(resource: str, *, decisive: bool) -> None:
    """Tuned models and corpora change the route, by their prefix alone."""
    assert is_decisive(resource) is decisive


TUNED = "tunedModels/mine"


@pytest.mark.parametrize(
    ("service", "method", "request_", "arguments", "found"),
    [
        ("generative", "generate_content", glm.GenerateContentRequest(model=TUNED), {}, [TUNED]),
        ("generative", "generate_content", {"model": TUNED}, {}, [TUNED]),
        ("generative", "generate_content", None, {"model": TUNED}, [TUNED]),
        ("generative", "generate_content", None, {}, []),
        ("generative", "generate_content", {}, {}, []),
        ("generative", "generate_content", {"model": None}, {}, []),
        ("generative", "generate_content", SimpleNamespace(), {}, []),
        ("generative", "generate_content", {"model": "models/a"}, {"model": TUNED}, [TUNED]),
        (
            "generative",
            "count_tokens",
            glm.CountTokensRequest(
                model="models/a", generate_content_request=glm.GenerateContentRequest(model=TUNED)
            ),
            {},
            ["models/a", TUNED],
        ),
        (
            "generative",
            "count_tokens",
            {"model": "models/a", "generate_content_request": {"model": TUNED}},
            {},
            ["models/a", TUNED],
        ),
        (
            "generative",
            "count_tokens",
            {"generate_content_request": glm.GenerateContentRequest(model=TUNED)},
            {},
            [TUNED],
        ),
        (
            "generative",
            "batch_embed_contents",
            glm.BatchEmbedContentsRequest(
                model="models/a",
                requests=[
                    glm.EmbedContentRequest(model="models/b"),
                    glm.EmbedContentRequest(model=TUNED),
                ],
            ),
            {},
            ["models/a", "models/b", TUNED],
        ),
        (
            "generative",
            "batch_embed_contents",
            None,
            {"requests": [{"model": TUNED}, glm.EmbedContentRequest(model="models/b"), {}]},
            [TUNED, "models/b"],
        ),
        (
            "generative",
            "generate_answer",
            glm.GenerateAnswerRequest(
                model="models/aqa",
                semantic_retriever=glm.SemanticRetrieverConfig(source="corpora/c"),
            ),
            {},
            ["models/aqa", "corpora/c"],
        ),
        ("model", "get_model", glm.GetModelRequest(name=TUNED), {}, [TUNED]),
        ("model", "list_models", glm.ListModelsRequest(), {}, []),
        (
            "cache",
            "create_cached_content",
            None,
            {"cached_content": glm.CachedContent(model=TUNED)},
            [TUNED],
        ),
        (
            "permission",
            "update_permission",
            glm.UpdatePermissionRequest(
                permission=glm.Permission(name="tunedModels/m/permissions/p")
            ),
            {},
            ["tunedModels/m/permissions/p"],
        ),
        ("permission", "list_permissions", {"parent": "corpora/c"}, {}, ["corpora/c"]),
        ("prediction", "predict", {"model": TUNED}, {}, [TUNED]),
    ],
)
def test_names_are_found_wherever_a_request_keeps_them(
    service: str, method: str, request_: Any, arguments: dict[str, Any], found: list[str]
) -> None:
    """In messages, dicts and flattened arguments; nested, repeated, or absent."""
    rule = find_rule(service, method)
    assert rule is not None
    assert [name for name in resources(rule, request_, arguments) if name] == found


def test_every_field_of_the_rows_is_found_in_the_sdks_messages() -> None:
    """A misspelt field would find nothing, and a tuned model would go out with a key."""
    for service in SERVICES:
        for method in requests_of(service, asynchronous=False):
            rule = find_rule(service, method)
            assert rule is not None
            if method.endswith(("_operation", "_operations")):
                continue
            name = "".join(part.title() for part in method.removeprefix("stream_").split("_"))
            message = getattr(glm, f"{name}Request")
            for path in rule.fields:
                assert _type_at(message, path) is str, (service, method, path)


def _type_at(message: Any, path: str) -> type:
    """The Python type of a field of a message class, by its path."""
    for field in path.split("."):
        descriptor = message.meta.fields[field]
        message = descriptor.message or str
    kind: type = message
    return kind


def test_the_fields_of_a_row_are_looked_through_in_their_order() -> None:
    """The first decisive name decides."""
    rule = Rule("x", ("y",), ("a", "b.c"), "resource", "[S]")
    request = SimpleNamespace(a="one", b=[SimpleNamespace(c="two"), {"c": "three"}])
    assert resources(rule, request, {}) == ["one", "two", "three"]


def test_the_route_depends_on_nothing_else() -> None:
    """The same question has the same answer."""
    config = GenAIConfig().merge(api_key="made-up")
    assert route(config, "generative", "generate_content") == route(
        config, "generative", "generate_content"
    )
    assert decision.route(GenAIConfig(), "model", "list_models").auth == "oauth"
