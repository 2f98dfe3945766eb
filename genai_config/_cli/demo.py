"""The demo: a story as data, and a stage that plays it on a local server. It prints nothing.

The code of a step is text, and that very text is run: what a reader sees is what was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import genai_config
from genai_config._masking import scrub
from genai_config._models import MODEL
from genai_config.testing.isolation import environment, isolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer, RecordedRequest

BASE, TUNED = MODEL, "tunedModels/mine"
ENDPOINT = "endpoints/1234567890"
KEY, TENANT_KEY, NEW_KEY, ACCOUNT = "demo-key", "tenant-key", "new-key", "demo-account"

_BOUND = 10.0
"""Seconds for a call: by default the SDK retries for ten minutes."""


@dataclass(frozen=True)
class Seen:
    """One call as the server saw it, or should have; the fields are those of its record.

    Attributes:
        model: The model without "models/", on Vertex AI the part after project and location.
        identity: The name of the key or of the service account; None: unknown to the server.
    """

    model: str
    auth: str
    identity: str | None
    transport: str = "grpc"
    status: str = "OK"

    @classmethod
    def of(cls, request: RecordedRequest) -> Seen:
        """What a record says about a call; of an address, the part before the "@"."""
        model = request.resource.removeprefix("models/").rpartition("/locations/global/")[2]
        identity = request.identity and request.identity.partition("@")[0]
        return cls(model, request.auth, identity, request.transport, request.status)


@dataclass(frozen=True)
class Step:
    """A few lines that a user would type, and what the server should see of them.

    Attributes:
        title: What happens, in one sentence.
        code: The lines, as they are shown and run; later steps have the names they define.
        expected: The calls, in order.
        error: The type of the exception that the lines should end with; "": none.
    """

    title: str
    code: str
    expected: tuple[Seen, ...]
    error: str = ""


@dataclass(frozen=True)
class Scene:
    """Steps, one after the other; in a bare scene the SDK is without this library."""

    title: str
    steps: tuple[Step, ...]
    bare: bool = False


@dataclass(frozen=True)
class Result:
    """What came of a step.

    Attributes:
        seen: The calls that the server saw, in order.
        connections: The connections that they came by.
        error: The type of the exception that ended the step; "": none.
        message: The exception's message, without what looks secret.
    """

    step: Step
    seen: tuple[Seen, ...]
    connections: frozenset[str]
    error: str = ""
    message: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether the server saw, and the step raised, what the step expects."""
        return (self.seen, self.error) == (self.step.expected, self.step.error)


def _by_key(
    model: str = BASE, identity: str = KEY, transport: str = "grpc", status: str = "OK"
) -> Seen:
    return Seen(model, "api_key", identity, transport, status)


def _by_oauth(model: str, transport: str = "rest", status: str = "OK") -> Seen:
    return Seen(model, "oauth", ACCOUNT, transport, status)


_CHAT = (
    f'model = genai.GenerativeModel("{BASE}", tools=[weather])\n'
    "chat = model.start_chat(enable_automatic_function_calling=True)\n"
    'chat.send_message("How is the weather in Oslo?")'
)

STORY = (
    Scene("The bare SDK today", (
        Step("The second configure() drops the key; ADC is used without a word.",
             "genai.configure(api_key=KEY)\n"
             'genai.configure(transport="grpc")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_oauth(BASE, "grpc"),)),
        Step("Tuned models left the Gemini API in May 2025: 404 for everybody.",
             'genai.GenerativeModel("tunedModels/mine").generate_content("hi")',
             (_by_oauth(TUNED, "grpc", "NOT_FOUND"),), error="NotFound"),
        Step("Over REST it loses the signature of a function call: 400.",
             f'genai.configure(api_key=KEY, transport="rest")\n{_CHAT}',
             (_by_key(transport="rest"),
              _by_key(transport="rest", status="INVALID_ARGUMENT")), error="BadRequest"),
    ), bare=True),
    Scene("One key, and one model tuned on Vertex AI, with safe_configure()", (
        Step("The second call merges: the key is still there.",
             "safe_configure(api_key=KEY)\n"
             'safe_configure(project="my-project", location="global")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_key(),)),
        Step("A tuned model is mapped to its endpoint: OAuth, for this request.",
             'safe_configure(tuned_endpoints={"tunedModels/mine": "1234567890"})\n'
             'genai.GenerativeModel("tunedModels/mine").generate_content("hi")',
             (_by_oauth(ENDPOINT),)),
    )),
    Scene("Both in one process, without switching", (
        Step("Called in turn.",
             f'base = genai.GenerativeModel("{BASE}")\n'
             'tuned = genai.GenerativeModel("tunedModels/mine")\n'
             'base.generate_content("hi"), tuned.generate_content("hi")',
             (_by_key(), _by_oauth(ENDPOINT))),
        Step("Awaited, each on an event loop of its own.",
             'asyncio.run(base.generate_content_async("hi"))\n'
             'asyncio.run(tuned.generate_content_async("hi"))',
             (_by_key(), _by_oauth(ENDPOINT))),
    )),
    Scene("Another configuration, for one block only", (
        Step("A tenant's key in the block, the process's own after it.",
             "with override(api_key=TENANT_KEY):\n"
             f'    genai.GenerativeModel("{BASE}").generate_content("hi")\n'
             'base.generate_content("hi")',
             (_by_key(identity=TENANT_KEY), _by_key())),
        Step("Base models on Vertex AI, too.",
             'with override(backend="vertex"):\n'
             f'    genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_oauth(f"publishers/google/models/{BASE}"),)),
    )),
    Scene("A model that has been used keeps its key, as in the SDK", (
        Step("Packages rely on it; a new model takes the new key.",
             "safe_configure(api_key=NEW_KEY)\n"
             'base.generate_content("hi")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_key(), _by_key(identity=NEW_KEY))),
    )),
    Scene("Function calls of Gemini 3 over REST", (
        Step("The signature survives, and the conversation goes on.",
             f'safe_configure(transport="rest", client_options=REST_SERVER)\n{_CHAT}',
             (_by_key(identity=NEW_KEY, transport="rest"),
              _by_key(identity=NEW_KEY, transport="rest"))),
    )),
)  # fmt: skip


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


class Stage:
    """Plays steps against a server; made by `stage`."""

    def __init__(self, server: GeminiServer) -> None:
        self._server = server
        self._endpoint = {"api_endpoint": server.grpc_endpoint}
        self._names: dict[str, Any] = {
            "asyncio": asyncio,
            "KEY": server.api_key(KEY),
            "TENANT_KEY": server.api_key(TENANT_KEY),
            "NEW_KEY": server.api_key(NEW_KEY),
            "weather": weather,
            "REST_SERVER": {"api_endpoint": server.rest_endpoint},
            **{name: getattr(genai_config, name) for name in genai_config.__all__},
        }

    def enter(self, scene: Scene) -> None:
        """Points the SDK at the server; scenes with this library go on where the last one ended."""
        import google.generativeai as genai

        if scene.bare:
            _start_over()
            self._names["genai"] = SimpleNamespace(
                configure=self._configure, GenerativeModel=_impatient_model
            )
        elif not genai_config.is_configured():
            _start_over()
            genai_config.safe_configure(
                ca_certs=self._server.ca_file,
                client_options=self._endpoint,
                vertex_endpoint=self._server.rest_endpoint,
                timeout=_BOUND,
            )
            self._names["genai"] = genai

    def _configure(self, **settings: Any) -> None:
        """The SDK's own, which is told where the server is."""
        from google.generativeai import configure

        is_rest = settings.get("transport") == "rest"
        options = self._names["REST_SERVER"] if is_rest else self._endpoint
        configure(client_options=dict(options), **settings)

    def play(self, step: Step) -> Result:
        """Runs a step; what it raises is part of the result."""
        before = len(self._server.requests)
        error = message = ""
        try:
            exec(compile(step.code, "<demo>", "exec"), self._names)  # noqa: S102 -- see the top
        except Exception as raised:  # noqa: BLE001 -- the story goes on, whatever it was
            error, message = type(raised).__name__, scrub(str(raised))
        requests = self._server.requests[before:]
        connections = frozenset(request.connection for request in requests)
        return Result(step, tuple(map(Seen.of, requests)), connections, error, message)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """Starts a server in an environment that knows nothing of this machine's.

    In the end the environment and the SDK are as they were, and this library is not configured.

    Raises:
        ImportError: A package is missing; `name` says which.
    """
    with contextlib.ExitStack() as undo:
        log = {"GRPC_VERBOSITY": os.environ.get("GRPC_VERBOSITY", "ERROR")}  # read at its import
        undo.enter_context(environment(log))
        with warnings.catch_warnings():
            # The SDK and its neighbours announce the end of their support on import.
            warnings.simplefilter("ignore", FutureWarning)
            import grpc  # noqa: F401 -- first: without it the SDK fails and does not say why
            from google.generativeai import client as _sdk  # noqa: F401 -- now, while it may warn

            from genai_config.testing import GeminiServer
        undo.enter_context(isolated())
        server = undo.enter_context(GeminiServer())
        server.tuning = "ended"
        account = str(server.service_account_file(ACCOUNT))
        # The server's authority too: gRPC, and so the bare SDK, knows no other way.
        found = {**server.environ(), "GOOGLE_APPLICATION_CREDENTIALS": account}
        undo.enter_context(environment(found))
        yield Stage(server)


def _start_over() -> None:
    """Makes the SDK as after its import: what one scene configured, the next does not adopt."""
    from google.generativeai import client as client_lib

    genai_config.uninstall()
    genai_config.reset()
    client_lib._client_manager = client_lib._ClientManager()  # noqa: SLF001 -- no public name


def _impatient_model(name: str, **settings: Any) -> Any:
    """A `genai.GenerativeModel` that gives up in time: the bare SDK has no setting for it."""
    from google.generativeai import GenerativeModel

    model: Any = GenerativeModel(name, **settings)
    generate = model.generate_content

    def generate_in_time(*args: Any, **kwargs: Any) -> Any:
        return generate(*args, **{**kwargs, "request_options": _IN_TIME})

    model.generate_content = generate_in_time
    return model


_IN_TIME = {"retry": None, "timeout": _BOUND}
