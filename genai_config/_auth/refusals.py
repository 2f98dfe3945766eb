"""What a refusal of the service means, and what to do: one table for all who tell people. Pure.

The same answer means one thing to a key and another to a token, so each row says what was sent.
Sources: [F] https://discuss.ai.google.dev, by thread; [I] issues, by repository; [G] Google's error
reasons, https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from genai_config import _models
from genai_config._auth.credentials import login_command
from genai_config._masking import scrub
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER, TUNED_PREFIX, TUNED_SCOPES
from genai_config._settings.keys import AI_STUDIO, Kind, vendor

Credential = Literal[Kind, "token", "none"]
Place = Literal["gemini", "vertex"]

VERTEX_AI = "Vertex AI (Gemini Enterprise Agent Platform)"
"""What it has been called since April 2026; hosts and paths are as before."""


class Sent(NamedTuple):
    """What a request carried, and where it went.

    Attributes:
        credential: The kind of the credential.
        place: The service.
        resource: The model or other resource; "": what the answer names.
        project: The Google Cloud project; "": not known.
        location: The location of Vertex AI; "": not known.
        endpoint: The endpoint of Vertex AI; "": not known.
    """

    credential: Credential
    place: Place = "gemini"
    resource: str = ""
    project: str = ""
    location: str = ""
    endpoint: str = ""


class Answer(NamedTuple):
    """An error of the service: HTTP status, the reason in its details, and its text."""

    status: int
    reason: str = ""
    message: str = ""


class Meaning(NamedTuple):
    """What an answer means.

    Attributes:
        name: What the case is called, for machines.
        means: What has happened.
        remedy: What to do next.
    """

    name: str
    means: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.means}\n  Remedy: {self.remedy}"


class Row(NamedTuple):
    """One row; the first that fits counts.

    Attributes:
        name: What the case is called.
        sent: The credentials that it is about.
        place: The service; None: both.
        status: The HTTP status.
        sign: What the reason or the text holds: a regular expression.
        about: "tuned": a tuned model; "retired": a model that is known to be retired.
        means: What has happened.
        remedy: What to do next.
        source: Where this is from.
    """

    name: str
    sent: tuple[Credential, ...]
    place: Place | None
    status: int
    sign: str
    means: str
    remedy: str
    source: str
    about: Literal["", "tuned", "retired"] = ""


_KEYS: tuple[Credential, ...] = get_args(Kind)
_TOKEN: tuple[Credential, ...] = ("token",)
_NONE: tuple[Credential, ...] = ("none",)
_ANY = (*_KEYS, *_TOKEN, *_NONE)

_NEW_KEY = f"make a new key ({AI_STUDIO}), and give it as api_key= or export GEMINI_API_KEY=…"
_LOGIN = "gcloud auth application-default login"
_ROLE = (
    "gcloud projects add-iam-policy-binding {project} "
    "--member='user:YOU or serviceAccount:NAME' --role=roles/aiplatform.user"
)

ROWS = (
    # Conversations
    Row("signature missing", _ANY, None, 400, r"(?i)missing a thought.?signature",
        "The model signs its function calls, and the request repeats one without its signature.",
        "send the model's own parts back unchanged (a chat does): append "
        "response.candidates[0].content to the history; do not rebuild a Part from name and "
        "arguments.", "Gemini 3, docs/thought-signatures"),
    Row("signature foreign", _ANY, None, 400, r"(?i)(invalid|corrupted) thought.?signature"
        r"|thought.?signature is not valid",
        "The conversation holds signatures that were made for another key, account or service.",
        "keep a conversation on one identity and one service, or start a new chat.",
        "[I] gemini-cli#13467"),
    Row("role missing", _ANY, None, 400, r"valid role",
        "Each content needs a role, which Vertex AI does not fill in.",
        'give each content role="user" or role="model".', "Vertex AI"),
    Row("two credentials", _ANY, None, 400, r"(?i)multiple authentication|INVALID_CREDENTIALS",
        "The request carried a key and a token.",
        "remove Authorization and x-goog-api-key from default_metadata or default_headers: the "
        "library adds the one that is needed.", "[I] hermes-agent#7893"),
    # Models
    Row("tuned model gone", _ANY, "gemini", 404, "",
        f"The Gemini API stopped serving tuned models in {_models.TUNING_ENDED}; "
        "list_tuned_models() still lists them.",
        f"tune the model on {VERTEX_AI}, and give its endpoint: "
        "safe_configure(project=…, location=…, tuned_endpoints={{'{resource}': 'ENDPOINT_ID'}}), "
        "or endpoint='ENDPOINT_ID' for OpenAI's clients.",
        "[I] python-genai#969", about="tuned"),
    Row("closed to new users", _ANY, None, 404, r"no longer available to new users",
        "The model is served only to accounts that used it before.",
        "use {successor}.", "[I] cheating-daddy#444"),
    Row("retired model", _ANY, None, 404, "", "The model was retired on {day}.",
        "use {successor}.", "https://ai.google.dev/gemini-api/docs/deprecations",
        about="retired"),
    Row("unknown model", _ANY, "gemini", 404, "",
        "The Gemini API has no such model, or the model does not support this method.",
        "list the models: genai.list_models(), client.models.list() of OpenAI's clients; "
        f"{_models.MODEL} is one.", "[I] gptel#667"),
    Row("unknown model", _ANY, "vertex", 404, "",
        "Vertex AI has no such model or endpoint there.",
        "check whether the model is served in location={location}, and whether project={project} "
        "and endpoint={endpoint} are right: gcloud ai endpoints list --region={location} "
        "--project={project}", "Vertex AI"),
    Row("malformed model", _ANY, "vertex", 400, r"Malformed publisher model",
        "The name of the model is not in Vertex AI's form.",
        f"give model='google/{_models.MODEL}', for example.", "Vertex AI"),
    # Projects
    Row("project suspended", _ANY, None, 403, r"CONSUMER_SUSPENDED|has been suspended",
        "Google has suspended the project of the key or account.",
        "see the notices in https://console.cloud.google.com, or use a key of another project.",
        "[G]"),
    Row("project denied", _ANY, None, 403, r"project has been denied access",
        "Google has blocked the project. Listing models may still work.",
        "use a key of another project, or contact Google Cloud's support.", "[F] 180234"),
    Row("quota project", _TOKEN, None, 403, r"(?i)quota.project",
        "A personal login needs a project to bill, and none is set.",
        "gcloud auth application-default set-quota-project {project}, or give "
        "quota_project='{project}'.", "[I] deprecated-generative-ai-python#676"),
    Row("service disabled", _ANY, None, 403,
        r"SERVICE_DISABLED|has not been used in project|is disabled",
        "The API is not enabled in the project.",
        "gcloud services enable {host} --project={project}", "[G]"),
    Row("billing", _ANY, None, 403, r"BILLING", "The project has no billing.",
        "enable billing for the project {project}.", "[G]"),
    Row("consumer", _TOKEN, None, 403, r"CONSUMER_INVALID|USER_PROJECT_DENIED|serviceusage",
        "The account may not use the project that is billed.",
        "check whether the project is right: {project} (and the quota project, if one is set); "
        "the account needs roles/serviceusage.serviceUsageConsumer.", "[G]"),
    # Keys
    Row("leaked key", _KEYS, None, 403, r"reported as leaked",
        "The key was found in public, and Google has blocked it.",
        f"{_NEW_KEY}; delete the old one there.", "[I] python-genai#1764"),
    Row("blocked key", _KEYS, None, 403, r"API_KEY_\w+_BLOCKED|are blocked",
        "The key's restrictions exclude this API, address or application.",
        "allow the Generative Language API for the key: "
        "https://console.cloud.google.com/apis/credentials", "[G]"),
    Row("expired key", _KEYS, None, 400, r"(?i)key expired", "The key has expired.",
        f"{_NEW_KEY}.", "[G] API_KEY_INVALID"),
    Row("unknown key", _KEYS, None, 400, r"(?i)API_KEY_INVALID|API key not (valid|found)",
        "Google does not know the key: it is mistyped, incomplete or deleted.{looks}",
        f"copy the key again, or {_NEW_KEY}.", "[G] API_KEY_INVALID"),
    Row("key on a tuned model", _KEYS, "gemini", 403, r"access tuned model",
        "An API key does not open this tuned model.",
        f'leave auth="auto", and log in: {login_command()}',
        "[I] generative-ai-docs#317"),
    Row("key on Vertex AI", _KEYS, "vertex", 401, "",
        "Vertex AI takes OAuth credentials for this; an API key opens Google's own models alone, "
        "in express mode.",
        f'set auth="auto", and log in ({_LOGIN}) or give credentials=….',
        "[I] python-genai#1404"),
    Row("OAuth only", _KEYS, "gemini", 401, r"CREDENTIALS_MISSING|API keys are not supported",
        "This method takes only OAuth credentials.",
        f'set auth="auto", and log in: {login_command(TUNED_SCOPES)}', "[G] CREDENTIALS_MISSING"),
    Row("standard key refused", ("standard key",), "gemini", 401, "",
        "The service no longer accepts this kind of key: a standard key (AIza…). Those without "
        "restrictions are refused since June 2026.",
        f"make an auth key (AQ.…) at {AI_STUDIO}, and give it as api_key= or export "
        "GEMINI_API_KEY=….", "[F] 171786, 174585"),
    Row("auth key refused", ("auth key",), "gemini", 401, "",
        "The service refuses this auth key (AQ.…): it is incomplete or deleted, its service "
        "account is disabled, or this method does not accept auth keys.",
        f"copy the key again from {AI_STUDIO}; if it is refused again, use OAuth: {_LOGIN}",
        "[F] 187509"),
    Row("key refused", _KEYS, "gemini", 401, "",
        "The service does not accept this key, which does not look like a Google key.{looks}",
        f"{_NEW_KEY}.", "[F] 174585"),
    # Tokens
    Row("no credentials", _NONE, "vertex", 401, "", "The request carried no credentials.",
        f"log in ({_LOGIN}) or give credentials=….", "[G] CREDENTIALS_MISSING"),
    Row("no credentials", _NONE, None, 401, "", "The request carried no credentials.",
        "give api_key= or export GEMINI_API_KEY=….", "[G] CREDENTIALS_MISSING"),
    Row("no credentials", _ANY, None, 403, r"unregistered callers",
        "The request carried no credentials.",
        "give api_key= or export GEMINI_API_KEY=….", "docs/api-key"),
    Row("token refused", _TOKEN, None, 401, "",
        "The access token is expired, revoked or not one of Google's.",
        f"log in again: {_LOGIN}; a service account's key may have been deleted: create a new "
        "one.", "[G] ACCESS_TOKEN_EXPIRED"),
    Row("missing scope", _TOKEN, "vertex", 403, r"SCOPE|authentication scopes",
        "The access token does not have the scope that Vertex AI needs.",
        f"give scopes=['{CLOUD_PLATFORM}'], and log in again: {_LOGIN}",
        "[G] ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    Row("missing scope", _TOKEN, "gemini", 403, r"SCOPE|authentication scopes",
        "The access token does not have a scope that this method needs.",
        "log in with the scopes that are needed: {login} (an API key needs none).",
        "[G] ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
    Row("missing permission", _TOKEN, "vertex", 403, "",
        "The account has no permission for this in the project.",
        f"grant the role: {_ROLE} (and check whether the project is right).",
        "[G] IAM_PERMISSION_DENIED"),
    Row("missing permission", _TOKEN, "gemini", 403, "",
        "The account has no permission for this.",
        "check whether the account's roles allow it, and whether the resource is shared with it.",
        "[G] IAM_PERMISSION_DENIED"),
    Row("key not allowed", _KEYS, None, 403, "", "The key may not do this.",
        "check whether the key's restrictions allow it: "
        "https://console.cloud.google.com/apis/credentials", "[G]"),
)  # fmt: skip

_HOSTS = {"gemini": "generativelanguage.googleapis.com", "vertex": "aiplatform.googleapis.com"}
_NAMED = re.compile(r"(?:tunedModels|models)/[\w.@-]+")


# The cases that end with another key.
_ANOTHER_KEY = frozenset(
    {
        "auth key refused", "expired key", "key refused", "leaked key", "project denied",
        "project suspended", "standard key refused", "unknown key",
    }
)  # fmt: skip


def wants_another_key(kind: Kind, status: int, text: str) -> bool:
    """Whether an error of the service says that a key is of no use any more.

    Args:
        kind: The kind of the key.
        status: The HTTP status.
        text: What the service said, its reason included.
    """
    means = meaning(Sent(kind), Answer(status, "", text))
    return means is not None and means.name in _ANOTHER_KEY


def meaning(sent: Sent, answer: Answer) -> Meaning | None:
    """What an error of the service means; None: its own words say all that is known."""
    signs = f"{answer.reason} {answer.message}"
    named = sent.resource or next(iter(_NAMED.findall(answer.message)), "")
    retirement = _models.retirement(named)
    day: str = getattr(retirement, sent.place, "")
    if retirement is not None and retirement.rerouted and sent.place == "gemini":
        day = ""  # the successor answers: what is not found is something else
    about = {"": True, "tuned": named.startswith(TUNED_PREFIX), "retired": bool(day)}
    for row in ROWS:
        fits = (
            row.status == answer.status
            and sent.credential in row.sent
            and row.place in (None, sent.place)
            and about[row.about]
            and re.search(row.sign, signs)
        )
        if fits:
            break
    else:
        return None
    other = vendor(sent.credential)
    words = {
        "looks": f" It looks like a key of {other}." if other else "",
        "resource": scrub(named),
        "successor": _models.MODEL if retirement is None else retirement.successor,
        "day": day,
        "project": sent.project or "PROJECT",
        "location": sent.location or "LOCATION",
        "endpoint": sent.endpoint or "ENDPOINT",
        "host": _HOSTS[sent.place],
        "login": login_command((RETRIEVER,) if named.startswith("corpora/") else TUNED_SCOPES),
    }
    return Meaning(row.name, row.means.format(**words), row.remedy.format(**words))
