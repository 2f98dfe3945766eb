"""Where a request goes, with which credentials and over which transport: the rules, as a table.

`route` is a pure function of the configuration, the service, the method and the resource that the
request names. Requests, `explain`, `doctor` and the scopes for one model type all ask it. Sources:
[F] the behaviour of the service, https://ai.google.dev/gemini-api/docs and the issue threads named;
[S] the source of google-generativeai 0.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from genai_config._routing import places
from genai_config.exceptions import (
    APIKeyRequiredError,
    ConfigurationError,
    OAuthRequiredError,
    UnsupportedRequestError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_config._routing.places import Backend
    from genai_config._settings.model import GenAIConfig

CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
TUNING = "https://www.googleapis.com/auth/generative-language.tuning"
RETRIEVER = "https://www.googleapis.com/auth/generative-language.retriever"

VERTEX_SCOPES = (CLOUD_PLATFORM,)
BASE_SCOPES = (CLOUD_PLATFORM, RETRIEVER)
TUNED_SCOPES = (CLOUD_PLATFORM, TUNING)
RETRIEVER_SCOPES = (CLOUD_PLATFORM, RETRIEVER)

TUNED_PREFIX = places.TUNED_PREFIX

Need = Literal["resource", "tuned", "retriever", "api_key"]
"""What a method needs: OAuth if it names a tuned model ("resource"), always OAuth with the scopes
of tuning ("tuned") or of corpora ("retriever"), or an API key."""


class Rule(NamedTuple):
    """One row: methods of a service, the request's fields that name a resource, the need.

    `vertex` says whether Vertex AI has the methods too.
    """

    service: str
    methods: tuple[str, ...]
    fields: tuple[str, ...]
    need: Need
    source: str
    vertex: bool = False


_TUNED = "[F] generative-ai-docs#317, deprecated-generative-ai-js#100: a key is refused with 403"
_OWN = "[F] docs/oauth: private data needs OAuth; a key is refused with 401"
_ANY = "[F] docs/api-key: a key is enough"

RULES = (
    Rule("generative", ("generate_content", "stream_generate_content"), ("model",), "resource",
         _TUNED, vertex=True),
    Rule("generative", ("count_tokens",), ("model", "generate_content_request.model"), "resource",
         _TUNED, vertex=True),
    Rule("generative", ("embed_content",), ("model",), "resource", _TUNED, vertex=True),
    Rule("generative", ("batch_embed_contents",), ("model", "requests.model"), "resource", _TUNED,
         vertex=True),
    Rule("generative", ("generate_answer",), ("model", "semantic_retriever.source"), "resource",
         "[F] docs/semantic_retrieval: a corpus is private data"),
    Rule("model", ("get_model",), ("name",), "resource", _TUNED),
    Rule("model", ("list_models",), (), "resource", _ANY),
    Rule("model", ("get_tuned_model", "list_tuned_models", "create_tuned_model",
                   "update_tuned_model", "delete_tuned_model"), (), "tuned", _TUNED),
    Rule("operations", ("get_operation", "list_operations", "delete_operation",
                        "cancel_operation"), (), "tuned",
         "[S] operations.py: the SDK's operations are those of create_tuned_model"),
    Rule("file", ("create_file",), (), "api_key",
         "[S] client.py: FileServiceClient.create_file signs its upload with the key alone"),
    Rule("file", ("get_file", "list_files", "delete_file"), (), "resource", _ANY),
    Rule("cache", ("create_cached_content", "update_cached_content"),
         ("cached_content.model", "cached_content.name"), "resource", _TUNED, vertex=True),
    Rule("cache", ("get_cached_content", "delete_cached_content"), ("name",), "resource", _ANY,
         vertex=True),
    Rule("cache", ("list_cached_contents",), (), "resource", _ANY, vertex=True),
    Rule("permission", ("create_permission", "list_permissions"), ("parent",), "retriever", _OWN),
    Rule("permission", ("get_permission", "delete_permission", "transfer_ownership"), ("name",),
         "retriever", _OWN),
    Rule("permission", ("update_permission",), ("permission.name",), "retriever", _OWN),
    Rule("retriever", ("create_corpus", "get_corpus", "update_corpus", "delete_corpus",
                       "list_corpora", "query_corpus", "create_document", "get_document",
                       "update_document", "delete_document", "list_documents", "query_document",
                       "create_chunk", "batch_create_chunks", "get_chunk", "update_chunk",
                       "batch_update_chunks", "delete_chunk", "batch_delete_chunks",
                       "list_chunks"), (), "retriever", _OWN),
    Rule("prediction", ("predict",), ("model",), "resource", _TUNED),
    *(Rule(service, ("get_operation", "list_operations"), ("name",), "resource", _TUNED)
      for service in ("cache", "file", "generative", "model", "permission", "prediction",
                      "retriever")),
)  # fmt: skip

DECISIVE = (TUNED_PREFIX, "corpora/", *places.VERTEX_PREFIXES)
"""How the names of resources begin that decide; see `is_decisive`."""

_BY_METHOD = {(rule.service, method): rule for rule in RULES for method in rule.methods}


class Route(NamedTuple):
    """How one request is sent, and why.

    Attributes:
        auth: "api_key" or "oauth".
        transport: "grpc", "grpc_asyncio" or "rest"; an async caller of "rest" is served off
            the event loop.
        scopes: The OAuth scopes; empty with an API key.
        reasons: Sentences, in the order in which the decision was made.
        place: "gemini" (the Gemini API) or "vertex" (Vertex AI).
    """

    auth: Literal["api_key", "oauth"]
    transport: Literal["grpc", "grpc_asyncio", "rest"]
    scopes: tuple[str, ...]
    reasons: tuple[str, ...]
    place: Backend = "gemini"


def find_rule(service: str, method: str) -> Rule | None:
    """The row for a method; None for one that no row names."""
    return _BY_METHOD.get((service, method))


def is_decisive(resource: str) -> bool:
    """Whether a resource's name changes the route: tuned models, corpora, Vertex AI's names do."""
    return resource.startswith(DECISIVE)


def resources(rule: Rule, request: Any, arguments: dict[str, Any]) -> list[str]:
    """The resource names in a request: a message, a dict, or None with flattened arguments."""
    found: list[str] = []
    for path in rule.fields:
        first, _, rest = path.partition(".")
        holder = arguments.get(first)
        if holder is None:
            of_dict = isinstance(request, dict)
            holder = request.get(first) if of_dict else getattr(request, first, None)
        if isinstance(holder, str):
            found.append(holder)
        else:
            found.extend(_names(holder, rest))
    return found


def _get(holder: Any, field: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(field)
    return getattr(holder, field, None)


def _names(holder: Any, path: str) -> Iterable[str]:
    if isinstance(holder, str):
        return (holder,)
    if not path or holder is None:
        return ()
    first, _, rest = path.partition(".")
    if isinstance(holder, dict) or hasattr(holder, first):
        return _names(_get(holder, first), rest)
    return [name for item in holder for name in _names(item, path)]


def route(
    config: GenAIConfig,
    service: str,
    method: str,
    resource: str = "",
    *,
    asynchronous: bool = False,
) -> Route:
    """Decides how a request is sent.

    Args:
        config: The configuration in force.
        service: The SDK's name of the service: "generative", "model", "operations" ...
        method: The client's method: "generate_content" ...
        resource: The resource that decides, see `is_decisive`; "" if there is none.
        asynchronous: Whether the caller awaits the call.

    Raises:
        OAuthRequiredError: The request needs OAuth and ``auth="api_key"`` rules it out.
        APIKeyRequiredError: The request needs an API key and there is none, or
            ``auth="oauth"`` rules it out.
        ConfigurationError: The endpoint cannot be reached over the transport, or Vertex AI knows
            no resource of that name.
        UnsupportedRequestError: Vertex AI does not have the method.
    """
    if places.backend_of(config, resource) == "vertex":
        return _vertex_route(config, service, method, resource)
    rule = find_rule(service, method)
    need = rule.need if rule else "resource"
    if resource.startswith(TUNED_PREFIX):
        need = "tuned"
    elif resource.startswith("corpora/"):
        need = "retriever"
    reasons: list[str] = []
    auth = _auth(config, f"{service}.{method}", need, resource, reasons)
    transport = _transport(config, need, reasons, asynchronous=asynchronous)
    scopes: tuple[str, ...] = ()
    if auth == "oauth":
        per_need = {"tuned": TUNED_SCOPES, "retriever": RETRIEVER_SCOPES}.get(need, BASE_SCOPES)
        scopes = config.scopes or per_need
    return Route(auth, transport, scopes, tuple(reasons))


def tuned_scopes(config: GenAIConfig) -> tuple[str, ...]:
    """The scopes that requests to tuned models need where they are served."""
    on_vertex = config.backend == "vertex" or config.tuned_endpoints
    return config.scopes or (VERTEX_SCOPES if on_vertex else TUNED_SCOPES)


def _vertex_route(config: GenAIConfig, service: str, method: str, resource: str) -> Route:
    what = f"{service}.{method}"
    rule = find_rule(service, method)
    if rule is None or not rule.vertex:
        instead = "with override(backend='gemini'): …"
        if service == "file":
            instead = (
                "put the file into Cloud Storage and give its gs:// address, or send the bytes; "
                f"or, for the Gemini API: {instead}"
            )
        raise UnsupportedRequestError(f"Vertex AI has no {what}.", instead)
    reasons = []
    mapped = places.endpoint_of(config, resource)
    if mapped is not None:
        reasons.append(f"tuned_endpoints maps {resource} to {mapped}: Vertex AI.")
    elif places.is_vertex_name(resource):
        reasons.append(f"{resource} is a name of Vertex AI.")
    else:
        reasons.append('backend="vertex".')
    if config.auth == "api_key":
        raise OAuthRequiredError(
            f'{what} goes to Vertex AI, which takes OAuth credentials, and auth="api_key" rules '
            "them out.",
            'with override(auth="auto"): …',
        )
    # Refuses a name here, where explain and doctor see it as well.
    places.resource(config, resource, config.project or "the-credentials-own")
    reasons.append("Vertex AI takes only OAuth credentials.")
    reasons.append("Requests to Vertex AI are JSON over HTTPS, whatever the transport.")
    return Route("oauth", "rest", config.scopes or VERTEX_SCOPES, tuple(reasons), "vertex")


def _auth(
    config: GenAIConfig, call: str, need: Need, resource: str, reasons: list[str]
) -> Literal["api_key", "oauth"]:
    what = f"{call} on {resource}" if resource else call
    if need == "api_key":
        if config.auth == "oauth" or config.api_key is None:
            found = 'auth="oauth" rules it out' if config.auth == "oauth" else "there is none"
            raise APIKeyRequiredError(
                f"{what} needs an API key (the SDK's upload accepts nothing else), and {found}.",
                'with override(auth="auto", api_key="…"): …',
            )
        reasons.append(f"{what} takes only an API key.")
        return "api_key"
    if config.auth == "api_key" and need == "tuned":
        if config.api_key is None:
            raise APIKeyRequiredError(
                f'{what}: auth="api_key", and there is no API key.',
                'safe_configure(api_key="…") or export GEMINI_API_KEY=…',
            )
        reasons.append(f'auth="api_key": {what} is sent the key, and the service decides.')
        return "api_key"
    if need in ("tuned", "retriever"):
        if config.auth == "api_key":
            raise OAuthRequiredError(
                f'{what} needs OAuth credentials, and auth="api_key" rules them out.',
                'with override(auth="auto"): …',
            )
        reasons.append(f"{what} takes only OAuth credentials.")
        return "oauth"
    if config.auth == "oauth":
        reasons.append('auth="oauth": OAuth for every request.')
        return "oauth"
    if config.api_key is not None:
        reasons.append(f"{what} takes an API key, and there is one.")
        return "api_key"
    if config.auth == "api_key":
        raise APIKeyRequiredError(
            f'{what}: auth="api_key", and there is no API key.',
            'safe_configure(api_key="…") or export GEMINI_API_KEY=…',
        )
    reasons.append(f"{what} takes either, and there is no API key: OAuth.")
    return "oauth"


def _transport(
    config: GenAIConfig, need: Need, reasons: list[str], *, asynchronous: bool
) -> Literal["grpc", "grpc_asyncio", "rest"]:
    if need == "tuned":
        rest = config.tuned_transport == "rest"
        setting = f'tuned_transport="{config.tuned_transport}"'
    else:
        rest = config.transport == "rest"
        setting = f'transport="{config.transport or "grpc"}"'
    reasons.append(f"{setting}.")
    if rest:
        return "rest"
    endpoint = config.client_options.api_endpoint or ""
    if "/" in endpoint.partition("://")[2] or ("://" not in endpoint and "/" in endpoint):
        fix = "tuned_transport" if need == "tuned" else "transport"
        raise ConfigurationError(
            f"The endpoint {endpoint!r} has a path, which gRPC cannot send.",
            f'safe_configure({fix}="rest"), or give the endpoint as host:port.',
        )
    if asynchronous:
        reasons.append("The caller awaits: grpc_asyncio.")
        return "grpc_asyncio"
    return "grpc"
