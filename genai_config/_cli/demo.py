"""The demo: a story as data, and a stage that plays it on a local server. It prints nothing.

The code of a step is text, and that very text is run: what a reader sees is what was done.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import genai_config
from genai_config._models import MODEL
from genai_config._settings.secrets import scrub
from genai_config.testing.isolation import environment, isolated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer, RecordedRequest

BASE, TUNED = MODEL, "tunedModels/mine"
KEY, TENANT_KEY, NEW_KEY, ACCOUNT = "demo-key", "tenant-key", "new-key", "demo-account"

_BOUND = 10.0
"""Seconds for a call: the SDK by itself tries for ten minutes to reach what is not there."""


@dataclass(frozen=True)
class Seen:
    """One call as the server saw it, or should have; the fields are those of its record.

    Attributes:
        model: The model without "models/".
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
        model = request.resource.removeprefix("models/")
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


def _by_key(model: str, identity: str = KEY, status: str = "OK") -> Seen:
    return Seen(model, "api_key", identity, status=status)


def _by_oauth(model: str, transport: str = "grpc") -> Seen:
    return Seen(model, "oauth", ACCOUNT, transport)


STORY = (
    Scene("The bare SDK loses its key", (
        Step("The second configure() drops the key; ADC is used without a word.",
             "genai.configure(api_key=KEY)\n"
             'genai.configure(transport="grpc")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_oauth(BASE),)),
        Step("With the key configured, a tuned model is refused: it takes OAuth alone.",
             "genai.configure(api_key=KEY)\n"
             'genai.GenerativeModel("tunedModels/mine").generate_content("hi")',
             (_by_key(TUNED, status="PERMISSION_DENIED"),), error="PermissionDenied"),
    ), bare=True),
    Scene("The same two calls with safe_configure()", (
        Step("The second call merges: the key is still there.",
             "safe_configure(api_key=KEY)\n"
             'safe_configure(transport="grpc")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_key(BASE),)),
        Step("A tuned model goes by OAuth over gRPC, chosen for this request.",
             'genai.GenerativeModel("tunedModels/mine").generate_content("hi")',
             (_by_oauth(TUNED),)),
    )),
    Scene("A base and a tuned model in one process, without any switch", (
        Step("Called in turn.",
             f'base = genai.GenerativeModel("{BASE}")\n'
             'tuned = genai.GenerativeModel("tunedModels/mine")\n'
             'base.generate_content("hi"), tuned.generate_content("hi")',
             (_by_key(BASE), _by_oauth(TUNED))),
        Step("Awaited, each on an event loop of its own.",
             'asyncio.run(base.generate_content_async("hi"))\n'
             'asyncio.run(tuned.generate_content_async("hi"))',
             (_by_key(BASE), _by_oauth(TUNED))),
        Step("Streamed.",
             'answer = tuned.generate_content("hi", stream=True)\n'
             "text = [chunk.text for chunk in answer]",
             (_by_oauth(TUNED),)),
    )),
    Scene("Another configuration, for one block alone", (
        Step("A tenant's key in the block, the process's own after it.",
             "with override(api_key=TENANT_KEY):\n"
             '    base.generate_content("hi")\n'
             'base.generate_content("hi")',
             (_by_key(BASE, TENANT_KEY), _by_key(BASE))),
        Step("One context for each type of model: OAuth for all in it, or the key.",
             "with tuned_models():\n"
             '    tuned.generate_content("hi"), base.generate_content("hi")\n'
             "with base_models():\n"
             '    base.generate_content("hi")',
             (_by_oauth(TUNED), _by_oauth(BASE), _by_key(BASE))),
        Step("Tuned models over REST, where gRPC is blocked.",
             'with tuned_models(transport="rest", client_options=REST_SERVER):\n'
             '    tuned.generate_content("hi")',
             (_by_oauth(TUNED, "rest"),)),
    )),
    Scene("A model that has been used keeps its key", (
        Step("As in the SDK, on which packages rely; a new model takes the new key.",
             f'model = genai.GenerativeModel("{BASE}")\n'
             'model.generate_content("hi")\n'
             "safe_configure(api_key=NEW_KEY)\n"
             'model.generate_content("hi")\n'
             f'genai.GenerativeModel("{BASE}").generate_content("hi")',
             (_by_key(BASE), _by_key(BASE), _by_key(BASE, NEW_KEY))),
        Step("Or every model takes it, where a program changes its key while it runs.",
             'safe_configure(existing_models="follow")\n'
             'model.generate_content("hi")',
             (_by_key(BASE, NEW_KEY),)),
    )),
)  # fmt: skip


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
            "REST_SERVER": {"api_endpoint": server.rest_endpoint},
            **{name: getattr(genai_config, name) for name in genai_config.__all__},
        }

    def enter(self, scene: Scene) -> None:
        """Points the SDK at the server; scenes with this library go on where the last one ended."""
        import google.generativeai as genai

        if scene.bare:
            _start_over()
            self._names["genai"] = SimpleNamespace(
                configure=functools.partial(genai.configure, client_options=self._endpoint),
                GenerativeModel=_impatient_model,
            )
        elif not genai_config.is_configured():
            _start_over()
            genai_config.safe_configure(
                ca_certs=self._server.ca_file, client_options=self._endpoint, timeout=_BOUND
            )
            self._names["genai"] = genai

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


def _impatient_model(name: str) -> Any:
    """A `genai.GenerativeModel` that gives up in time: the bare SDK has no setting for it."""
    from google.generativeai import GenerativeModel

    model: Any = GenerativeModel(name)
    options = {"retry": None, "timeout": _BOUND}
    model.generate_content = functools.partial(model.generate_content, request_options=options)
    return model
