"""Who may call what: the rules of the service as a table, and the verdict on one request.

Sources: [D] the documentation, https://ai.google.dev/gemini-api/docs; [I] what users of the
service reported, by repository and issue; [G] Google's error reasons,
https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto.
"""

from __future__ import annotations

import fnmatch
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

from genai_config.testing._service.errors import SERVICE, VERTEX, ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterable

_BASE = "https://www.googleapis.com/auth/"
CLOUD_PLATFORM = _BASE + "cloud-platform"
GENERATIVE = _BASE + "generative-language"
TUNING = _BASE + "generative-language.tuning"
RETRIEVER = _BASE + "generative-language.retriever"

PREDICT = "aiplatform.endpoints.predict"
"""The IAM permission to ask a model on Vertex AI."""

RESOURCE_FIELDS = tuple(
    tuple(path.split("."))
    for path in (
        "model",
        "name",
        "parent",
        "tuned_model.name",
        "permission.name",
        "corpus.name",
        "document.name",
        "chunk.name",
        "cached_content.name",
        "cached_content.model",
        "cached_content",
        "generate_content_request.model",
        "requests.model",
        "requests.parent",
        "requests.name",
        "requests.chunk.name",
        "semantic_retriever.source",
        "tuned_model.tuned_model_source.tuned_model",
        "tuned_model.base_model",
    )
)
"""Where requests name resources; a request's own fields are those of these that it has."""

Auth = Literal["api_key", "oauth", "both", "none"]
KeyKind = Literal["standard", "auth", "express"]
KeyState = Literal[
    "valid", "expired", "leaked", "blocked", "flagged", "suspended", "unsupported", "no_bearer"
]


class Rule(NamedTuple):
    """One row; of the rows that match a request the first counts.

    Attributes:
        methods: A shell pattern for "Service.Method".
        resource: What one of the request's resources starts with.
        key: What becomes of an API key: "taken", "no access" (403) or "not supported" (401);
            "express": of those made for Vertex AI it is taken.
        scopes: The OAuth scopes of which a token needs one.
        source: Where this is from.
    """

    methods: str
    resource: str
    key: Literal["taken", "no access", "not supported", "express"]
    scopes: tuple[str, ...]
    source: str


RULES = (
    Rule("OpenAI.*", "projects/", "not supported", (CLOUD_PLATFORM,),
         "[D] Vertex AI, docs/authentication: of the scopes, cloud-platform alone"),
    Rule("*", "endpoints/", "not supported", (CLOUD_PLATFORM,),
         "[D] Vertex AI, docs/start/express-mode: tuned models are not part of it"),
    Rule("*", "publishers/", "express", (CLOUD_PLATFORM,),
         "[D] Vertex AI, docs/start/express-mode: models of publishers take its keys"),
    Rule("*", "projects/", "not supported", (CLOUD_PLATFORM,),
         "[D] Vertex AI, docs/authentication"),
    Rule("ModelService.*TunedModel*", "", "not supported", (TUNING,),
         "[D] docs/oauth: tuned models are private and need the scope of tuning"),
    Rule("PermissionService.*", "tunedModels/", "not supported", (TUNING,),
         "[D] docs/model-tuning/permissions"),
    Rule("PermissionService.*", "", "not supported", (RETRIEVER, TUNING),
         "[D] docs/semantic_retrieval: sharing a corpus"),
    Rule("RetrieverService.*", "", "not supported", (RETRIEVER,),
         "[D] docs/semantic_retrieval: a corpus is private, its scope is asked for by name"),
    Rule("*", "corpora/", "not supported", (RETRIEVER,),
         "[D] docs/semantic_retrieval: generate_answer on a corpus"),
    Rule("*", "tunedModels/", "no access", (CLOUD_PLATFORM, TUNING),
         "[I] generative-ai-docs#317, deprecated-generative-ai-js#100"),
    Rule("Operations.*", "", "not supported", (CLOUD_PLATFORM, TUNING),
         "[D] docs/oauth: the operations are those of tuned models"),
    Rule("ModelService.ListModels", "", "taken", (GENERATIVE, TUNING, RETRIEVER),
         "[I] OmniRoute#3922: cloud-platform alone is refused for listing models"),
    Rule("*", "", "taken", (CLOUD_PLATFORM, GENERATIVE, TUNING, RETRIEVER),
         "[D] docs/api-key, docs/oauth"),
)  # fmt: skip


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as far as its credentials could be verified.

    Attributes:
        auth: What was sent.
        identity: The name of the key or account; None if unknown.
        scopes: The scopes of the token.
        end_user: Whether the token is a person's.
        kind: The kind of the key.
        state: What is wrong with the key.
        key: The key itself: some answers quote it.
        service: The one service that the token is for; "": any.
        problem: Why the credentials are refused; None if they are good.
    """

    auth: Auth
    identity: str | None = None
    scopes: frozenset[str] = frozenset()
    end_user: bool = False
    kind: KeyKind = "standard"
    state: KeyState = "valid"
    key: str = field(default="", repr=False)
    service: str = ""
    problem: ServiceError | None = None


def check(
    method: str, rpc: str, resources: Iterable[str], caller: Caller, quota_project: str | None
) -> None:
    """Lets a request pass or raises what the service answers.

    Args:
        method: "Service.Method".
        rpc: The method's full name.
        resources: The resources that the request names.
        caller: Who sent it.
        quota_project: The value of the header ``x-goog-user-project``.

    Raises:
        ServiceError: The request is refused.
    """
    service = _service(rpc)
    problem = caller.problem or _meant_for_another(caller, service)
    if problem is not None:
        raise problem.of(service)
    if caller.auth == "none":
        raise token_missing(rpc) if service == VERTEX else unregistered()
    if caller.state != "valid":
        refused = key_refusal(caller, method, rpc)
        if refused is not None:
            raise refused.of(service) if refused.reason else refused
    kinds = {kind: name for name in reversed(list(resources)) for kind in _kinds(name)}
    rule = _find(method, frozenset(kinds))
    if caller.auth == "api_key":
        if rule.key == "not supported" or (rule.key == "express" and caller.kind != "express"):
            raise key_not_supported(rpc)
        if rule.key == "no access":
            raise no_access(kinds[rule.resource])
    elif caller.scopes.isdisjoint(rule.scopes):
        raise insufficient_scope(rpc)
    elif caller.end_user and not quota_project:
        raise quota_project_missing(service)


def _meant_for_another(caller: Caller, service: str) -> ServiceError | None:
    """The answer to a token that was signed for one service, and sent to the other."""
    if caller.service in ("", service):
        return None
    return bad_token("ACCESS_TOKEN_TYPE_UNSUPPORTED")


def _kinds(name: str) -> set[str]:
    """What a resource is in, as the table writes it: collections, outermost and innermost."""
    parts = name.split("/")
    return {parts[0] + "/"} | {f"{one}/" for one in parts if one in ("publishers", "endpoints")}


@functools.lru_cache(maxsize=1024)
def _find(method: str, kinds: frozenset[str]) -> Rule:
    return next(
        rule
        for rule in RULES
        if fnmatch.fnmatchcase(method, rule.methods)
        and (not rule.resource or rule.resource in kinds)
    )


def _service(rpc: str) -> str:
    return VERTEX if rpc.startswith("google.cloud.aiplatform.") else SERVICE


def unregistered() -> ServiceError:
    """The answer to a request without credentials."""
    return ServiceError(
        "PERMISSION_DENIED",
        "Method doesn't allow unregistered callers (callers without established identity). "
        "Please use API Key or other form of API consumer identity to call this API.",
    )


def token_missing(rpc: str) -> ServiceError:
    """Vertex AI's answer to a request without credentials [G] CREDENTIALS_MISSING."""
    return ServiceError(
        "UNAUTHENTICATED",
        "Request is missing required authentication credential. Expected OAuth 2 access token, "
        "login cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project.",
        "CREDENTIALS_MISSING",
        {"service": _service(rpc), "method": rpc},
    )


def unknown_key() -> ServiceError:
    """The answer to a key that is not valid [G] API_KEY_INVALID."""
    return ServiceError(
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        "API_KEY_INVALID",
        {"service": SERVICE},
    )


def key_and_token() -> ServiceError:
    """The answer to a key and a token on one request; a client that sends both leaks one."""
    return ServiceError(
        "INVALID_ARGUMENT",
        "API key and access token were both sent. Please send exactly one of them.",
        "INVALID_CREDENTIALS",
        {"service": SERVICE},
    )


def key_refusal(caller: Caller, method: str, rpc: str) -> ServiceError | None:
    """The answer to a key that exists, and with which something is wrong.

    Sources: [I] python-genai#1764 (leaked), forum 180234 (flagged), 174585, 187509 (unsupported).
    """
    if caller.state == "flagged" and method.endswith(".ListModels"):
        return None
    consumer = f"api_key:{caller.key}"
    denied, blocked = "PERMISSION_DENIED", f"Requests to this API {_service(rpc)} method {rpc}"
    return {
        "expired": ServiceError(
            "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "API_KEY_INVALID"
        ),
        "leaked": ServiceError(
            denied, "Your API key was reported as leaked. Please use another API key."
        ),
        "blocked": ServiceError(
            denied, f"{blocked} are blocked.", "API_KEY_SERVICE_BLOCKED", {"methodName": rpc}
        ),
        "suspended": ServiceError(
            denied,
            f"Permission denied: Consumer '{consumer}' has been suspended.",
            "CONSUMER_SUSPENDED",
            {"consumer": consumer},
        ),
        "flagged": ServiceError(
            denied, "Your project has been denied access. Please contact support."
        ),
        "unsupported": bad_token("ACCESS_TOKEN_TYPE_UNSUPPORTED"),
    }.get(caller.state)


def permission_denied(permission: str, resource: str) -> ServiceError:
    """The answer to an account without a role [G] IAM_PERMISSION_DENIED.

    The resource of a request in OpenAI's protocol is the endpoint [I] linux-mcp-server#450.
    """
    return ServiceError(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied on resource '//{VERTEX}/{resource}' (or it may not "
        "exist).",
        "IAM_PERMISSION_DENIED",
        {"permission": permission, "resource": resource},
        domain=VERTEX,
    )


def two_credentials() -> ServiceError:
    """The OpenAI path's answer to more than one credential [I] hermes-agent#7893."""
    return ServiceError(
        "INVALID_ARGUMENT",
        "Multiple authentication credentials received. Please pass only one.",
    )


def key_not_supported(rpc: str) -> ServiceError:
    """The answer to a key where only OAuth is taken [G] CREDENTIALS_MISSING."""
    return ServiceError(
        "UNAUTHENTICATED",
        "API keys are not supported by this API. Expected OAuth2 access token or other "
        "authentication credentials that assert a principal. "
        "See https://cloud.google.com/docs/authentication",
        "CREDENTIALS_MISSING",
        {"service": _service(rpc), "method": rpc},
    )


def no_access(resource: str) -> ServiceError:
    """The answer to a key on a tuned model."""
    name = "/".join(resource.split("/")[:2])
    return ServiceError(
        "PERMISSION_DENIED", f"You do not have permission to access tuned model {name}."
    )


def bad_token(reason: str) -> ServiceError:
    """The answer to a token that is not valid [G] ACCESS_TOKEN_*."""
    return ServiceError(
        "UNAUTHENTICATED",
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login "
        "cookie or other valid authentication credential. See "
        "https://developers.google.com/identity/sign-in/web/devconsole-project.",
        reason,
        {"service": SERVICE},
    )


def insufficient_scope(rpc: str) -> ServiceError:
    """The answer to a token without the scope [G] ACCESS_TOKEN_SCOPE_INSUFFICIENT."""
    return ServiceError(
        "PERMISSION_DENIED",
        "Request had insufficient authentication scopes.",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
        {"service": _service(rpc), "method": rpc},
    )


def quota_project_missing(service: str) -> ServiceError:
    """The answer to a person's token without a quota project."""
    return ServiceError(
        "PERMISSION_DENIED",
        "Your application is authenticating by using local Application Default Credentials. The "
        f"{service} API requires a quota project, which is not set by default. To learn how to "
        "set your quota project, see https://cloud.google.com/docs/authentication/"
        "adc-troubleshooting/user-creds .",
        "SERVICE_DISABLED",
        # The client id of the gcloud command line, whose project has no such API.
        {"service": service, "consumer": "projects/764086051850"},
    )
