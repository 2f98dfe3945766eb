"""How a request would be sent, and why: as data, without any network call."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import TYPE_CHECKING, Any

from genai_config._auth import credentials as _credentials
from genai_config._auth import headers as _headers
from genai_config._diagnosis import layout, models, provenance
from genai_config._diagnosis.references import missing
from genai_config._masking import scrub, without_secrets
from genai_config._routing import decision as _decision
from genai_config._routing.decision import (
    BASE_SCOPES,
    CLOUD_PLATFORM,
    RETRIEVER,
    RULES,
    TUNED_SCOPES,
    TUNING,
)
from genai_config._settings import primitives
from genai_config._settings.layers import set_by
from genai_config._settings.references import Reference
from genai_config._settings.state import Snapshot, state
from genai_config.exceptions import (
    ConfigurationError,
    GenAIConfigError,
    OAuthRequiredError,
    SecretReferenceError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.generativeai.generative_models import ChatSession, GenerativeModel

    from genai_config._diagnosis.layout import Section
    from genai_config._diagnosis.provenance import Held, Setting
    from genai_config._routing.decision import Rule
    from genai_config._settings.model import GenAIConfig

# What the SDK calls a method's function, where that is another name.
_ALIASES = {"upload_file": "create_file", "get_base_model": "get_model", "send_message":
            "generate_content"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Decision:
    """How the request is sent; the fields are those of `_decision.Route`."""

    auth: str
    transport: str
    scopes: tuple[str, ...]
    reasons: tuple[str, ...]
    place: str


@dataclasses.dataclass(frozen=True)
class Problem:
    """Why a request would fail.

    Attributes:
        kind: The exception that this library would raise; or for what the service would refuse it:
            "key", "scopes", "quota project", or a name of `_auth/refusals.py`.
        problem: What is wrong.
        remedy: What to do about it.
    """

    kind: str
    problem: str
    remedy: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """How a request would be sent: for people as a string, for notebooks, and as data.

    It holds no secret. It made no network calls, so what only the service knows is not in it.

    Attributes:
        model: The model that was asked about; None: a base model.
        method: The service and the method, such as "generative.generate_content".
        decision: How the request is sent; None: it is not.
        credentials: What is known of the credentials it carries; None: it carries none.
        problems: Why it would fail, as far as that can be known; empty: nothing is known to be
            wrong.
        settings: Every setting, its value, where it came from and what it won over.
        installed: Whether this library is in the SDK: it gets there with the first
            `safe_configure` or scope, and before that the SDK sends requests by itself.
        identity: For a model object, the key, credentials and client options that it holds, and
            where they were set; None: no object was asked about.
    """

    model: str | None
    method: str
    decision: Decision | None
    credentials: Held | None
    problems: tuple[Problem, ...]
    settings: tuple[Setting, ...]
    installed: bool
    identity: str | None = None

    def model_dump(self) -> dict[str, Any]:
        """The explanation as plain data, fit for JSON."""
        data: dict[str, Any] = json.loads(self.model_dump_json())
        return data

    def model_dump_json(self, indent: int | None = None) -> str:
        """The explanation as JSON.

        Args:
            indent: Spaces for each level; None: all in one line.
        """
        return json.dumps(dataclasses.asdict(self), indent=indent)

    def __str__(self) -> str:
        return layout.text(self.sections())

    def _repr_html_(self) -> str:
        return layout.html(self.sections())

    def sections(self, *, of_program: bool = True) -> list[Section]:
        """What is told to people: titles, and labels with paragraphs.

        Args:
            of_program: Whether it is about a program that runs, and its SDK.
        """
        return _sections(self, of_program=of_program)


def explain(
    model: str | GenerativeModel | ChatSession | None = None, method: str | None = None
) -> Explanation:
    """How a request would be sent here and now: credentials, transport, and why.

    Makes no network calls: neither to the metadata server nor to a token endpoint.

    Args:
        model: The model, as `genai.GenerativeModel` takes it, or another resource that decides
            ("corpora/…"); None: a base model. A model object or a chat is explained with the
            key, the credentials and the endpoint that it holds.
        method: What is called: "generate_content" unless given, "create_tuned_model",
            "upload_file", "generate_content_async" …

    Raises:
        ConfigurationError: There is no such method, or `model` is neither a model's name nor a
            model of google.generativeai.
    """
    rule, name, asynchronous = _find(method or "generate_content")
    identity, decides = None, in_force
    if model is not None and not isinstance(model, str):
        model, identity, decides = _taken_apart(model, asynchronous=asynchronous)
    resource = model if model and rule.fields and _decision.is_decisive(model) else ""
    enough = sufficient(rule, resource)
    problems: list[Problem] = []
    decision: Decision | None = None
    held: Held | None = None
    config: GenAIConfig | None = None
    layers = state.known_layers()
    installed = _installed()
    try:
        snapshot = decides()
        config, layers = snapshot.config, snapshot.layers
        if model and rule.fields and config.backend == "vertex":
            resource = model
        route = _decision.route(config, rule.service, name, resource, asynchronous=asynchronous)
        decision = Decision(
            route.auth, route.transport, route.scopes, tuple(map(scrub, route.reasons)),
            route.place,
        )  # fmt: skip
    except GenAIConfigError as error:
        told = (without_secrets(error.problem), without_secrets(error.remedy))
        problems.append(Problem(type(error).__name__, *told))
        if isinstance(error, OAuthRequiredError):
            problems.append(_answer_to_a_key())
    settings = provenance.settings(layers, config)
    if decision is not None and config is not None:
        named = {setting.name: setting for setting in settings}
        sent = "api_key" if decision.auth == "api_key" else "credentials"
        reference = getattr(config, sent)
        if isinstance(reference, Reference) and (gone := missing(os.environ, sent, reference)):
            problems.append(Problem(SecretReferenceError.__name__, *gone))
        if decision.auth == "api_key":
            assert config.api_key is not None  # noqa: S101 -- the routing chose the key
            held = provenance.key_held(config.api_key, named["api_key"])
        else:
            held = provenance.oauth_held(config, decision.scopes, named["quota_project"])
            on_vertex = decision.place == "vertex"
            problems.extend(refusals(held, (CLOUD_PLATFORM,) if on_vertex else enough))
            if held.kind == "not known" and not provenance.is_googles_machine():
                problems.append(_nothing_configured(decision.scopes))
    if model and (known := models.problem(config, model, _headers.clock())):
        problems.append(Problem(known.name, known.means, known.remedy))
    shown = None if model is None else scrub(model)
    return Explanation(
        shown,
        f"{rule.service}.{name}",
        decision,
        held,
        tuple(problems),
        settings,
        installed,
        identity,
    )


def _taken_apart(model: Any, *, asynchronous: bool) -> tuple[str, str, Callable[[], Snapshot]]:
    """A model's name, the identity that it holds, and what decides about its calls."""
    found = None
    if "google.generativeai" in sys.modules:
        from genai_config._sdk import manager

        found = manager.held_by(model, asynchronous=asynchronous)
    if found is None:
        raise ConfigurationError(
            f"model must be a model of google.generativeai or the name of one, not "
            f"{type(model).__name__}.",
            'explain("tunedModels/mine") or explain(genai.GenerativeModel("…")), for example.',
        )
    name, client = found
    if client is None:
        return name, "none yet: the model takes it at its first use", in_force
    if not manager.is_ours(client):
        raise ConfigurationError(
            "The client of this model is not genai_config's: the model was first used before "
            "safe_configure(), or another client was put into it.",
            "create a new model: genai.GenerativeModel(…).",
        )
    if client.identity is None:
        return name, "fixed where the model was created, like all other settings", client.snapshot
    values = set_by(client.identity.layers)
    held = [f"{setting} from {' at '.join(origin)}" for setting, (_, origin) in values.items()]
    return name, "; ".join(held) or "from the environment", client.snapshot


def _find(method: str) -> tuple[Rule, str, bool]:
    """The row for a method, its name in the client, and whether it is awaited."""
    plain = method.removesuffix("_async")
    plain = _ALIASES.get(plain, plain)
    for rule in RULES:
        if plain in rule.methods:
            return rule, plain, method.endswith("_async")
    known = [name for rule in RULES for name in rule.methods]
    raise ConfigurationError(
        f"There is no method {scrub(method)!r}.",
        primitives.nearest(plain, [*known, *_ALIASES], 'method="generate_content", for example.'),
    )


def _installed() -> bool:
    if "google.generativeai.client" not in sys.modules:
        return False
    from genai_config._sdk import manager

    return manager.is_installed()


def in_force() -> Snapshot:
    """What is in force here, or would be once this library is in the SDK.

    Raises:
        ConfigurationError: A variable that matters, or what a raw `genai.configure()` had set,
            cannot be.
    """
    if "google.generativeai.client" not in sys.modules:
        return state.current()
    from genai_config._sdk import manager

    return state.current() if manager.is_installed() else state.preview(manager.with_adopted)


def _answer_to_a_key() -> Problem:
    return Problem(
        "key",
        "Sent with the API key, the service would answer 401 UNAUTHENTICATED: API keys are not "
        "supported by this API.",
        'with override(auth="auto"): …',
    )


def _nothing_configured(scopes: tuple[str, ...]) -> Problem:
    return Problem(
        "CredentialsNotFoundError",
        "There is no API key, no credentials= and no ADC file. Requests would ask the metadata "
        "server, which exists only on Google Cloud.",
        _credentials.remedy(scopes),
    )


def sufficient(rule: Rule, resource: str) -> tuple[str, ...]:
    """The scopes of which a token needs one."""
    if resource.startswith("corpora/") or (rule.need == "retriever" and not resource):
        return (RETRIEVER,)
    if rule.service == "model" and rule.need == "tuned":
        return (TUNING,)
    return TUNED_SCOPES if resource or rule.need == "tuned" else (*BASE_SCOPES, TUNING)


def refusals(held: Held, enough: tuple[str, ...]) -> list[Problem]:
    """What would be refused of these credentials, as far as it is known."""
    if held.problem:
        return [Problem("CredentialsError", held.problem, held.remedy)]
    found: list[Problem] = []
    if held.scopes_held is not None and not {*held.scopes_held} & {*enough}:
        wanted = (CLOUD_PLATFORM, *enough)
        found.append(Problem(
            "scopes",
            "The service would answer 403 PERMISSION_DENIED: Request had insufficient "
            f"authentication scopes. Of these, one is needed: {', '.join(enough)}.",
            _credentials.login_command(enough)
            if held.kind == "end user"
            else f"safe_configure(scopes={list(dict.fromkeys(wanted))}), or credentials made with "
            "these scopes.",
        ))  # fmt: skip
    if held.kind == "end user" and held.quota_project is None:
        found.append(Problem(
            "quota project",
            "The service would answer 403 PERMISSION_DENIED: end-user credentials need a quota "
            "project, and there is none.",
            "gcloud auth application-default set-quota-project PROJECT\n"
            'or: safe_configure(quota_project="PROJECT")',
        ))  # fmt: skip
    return found


PLACES = {"gemini": "Gemini API", "vertex": "Vertex AI"}
_AUTH = {"api_key": "API key", "oauth": "OAuth"}
_TRANSPORTS = {"grpc": "gRPC", "grpc_asyncio": "gRPC (asyncio)", "rest": "REST"}


def _sections(explanation: Explanation, *, of_program: bool) -> list[Section]:
    """An explanation as it is told: the decision, what is wrong, the credentials, the settings."""
    target = explanation.model or "a base model"
    rows: list[tuple[str, list[str]]] = []
    if explanation.decision is not None:
        rows += [
            ("service", [PLACES[explanation.decision.place]]),
            ("credentials", [_AUTH[explanation.decision.auth]]),
            ("transport", [_TRANSPORTS[explanation.decision.transport]]),
            ("because", list(explanation.decision.reasons)),
        ]
    if explanation.identity is not None:
        rows.append(("identity", [explanation.identity]))
    for problem in explanation.problems:
        rows.append(("problem", [problem.problem]))
        rows.append(("remedy", problem.remedy.split("\n")))
    if of_program and not explanation.installed:
        rows.append(("note", [
            "The SDK sends requests by itself until safe_configure() or a scope is called."
        ]))  # fmt: skip
    told = [layout.Section(f"{explanation.method} on {target}", rows)]
    if explanation.credentials is not None:
        told.append(layout.Section("Credentials", list(_held_rows(explanation.credentials))))
    told.append(layout.Section("Settings", list(_setting_rows(explanation.settings))))
    return told


def _held_rows(held: Held) -> Iterable[tuple[str, list[str]]]:
    yield "kind", [held.kind]
    yield "from", [held.origin]
    if held.kind.startswith("API key") or held.problem:
        return
    yield "identity", [held.identity or "not known"]
    if held.scopes_held is None:
        yield "scopes", ["unknown; ask the service: genai-config doctor --online"]
    else:
        yield "scopes", list(held.scopes_held)
    missing = [s for s in held.scopes_needed if s not in (held.scopes_held or ())]
    if missing:
        yield "asked for", missing
    billed = f"{held.quota_project} (from {held.quota_origin})" if held.quota_project else "none"
    yield "billed to", [billed]
    yield "token", [f"held, until {held.expires}" if held.expires else "none is held"]


def _setting_rows(settings: Iterable[Setting]) -> Iterable[tuple[str, list[str]]]:
    defaults = []
    for setting in settings:
        if setting.source.kind == "default" and not setting.lost:
            if setting.value is not None:
                defaults.append(f"{setting.name}={layout.value(setting.value)}")
            continue
        lines = [layout.value(setting.value), f"from {setting.source.origin}"]
        lines += [f"over {layout.value(lost.value)}: {lost.origin}" for lost in setting.lost]
        if setting.note:
            lines.append(f"({setting.note})")
        yield setting.name, lines
    yield "defaults", ["; ".join([", ".join(defaults)] * bool(defaults) + ["nothing else is set"])]
