"""A state machine of identities: the server receives each request from whom the rules predict.

Over safe_configure, raw configure() from several packages, scopes, models that are held, awaited
calls, other threads, copies and pickles, and a key in the environment. What is compared is the
identity that the local server has verified for the request.
"""

from __future__ import annotations

import asyncio
import builtins
import copy
import functools
import os
import pickle
import threading
import types
import warnings
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

import genai_config
from genai_config import exceptions, override, safe_configure
from genai_config._settings.state import state

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing import GeminiServer

HEAVY = bool(os.environ.get("GENAI_CONFIG_HEAVY"))
BASE = "gemini-3.6-flash"
WHO = st.sampled_from(["one", "two", "three"])
POLICIES = st.sampled_from(["isolate", "isolate", "warn", "merge"])
PACKAGES = ("one_llm", "two_llm", "__main__")
WAYS = ("call", "await", "stream", "await stream", "transport")
PLACES = ("here", "function in a thread", "method in a thread", "task")


def package(name: str) -> Any:
    """Somebody's module: its functions are the ones that call the SDK."""
    module = types.ModuleType(name)
    names = vars(module)
    names.update(genai=genai, asyncio=asyncio, __builtins__=builtins)
    for function in (call, make, ask, ask_for):
        names[function.__name__] = types.FunctionType(function.__code__, names)
    return module


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls something of the SDK."""
    return function(*args, **kwargs)


def make(name: str) -> Any:
    """Makes a model."""
    return genai.GenerativeModel(name)


def ask(model: Any, way: str) -> None:
    """One request of a model."""
    if way == "call":
        model.generate_content("hi")
    elif way == "stream":
        list(model.generate_content("hi", stream=True))
    elif way == "transport":  # past the client, which packages do
        if model._client is None:
            model.count_tokens("hi")
        model._client.transport.count_tokens({"model": model.model_name})
    else:

        async def awaited() -> None:
            answer = await model.generate_content_async("hi", stream=way == "await stream")
            await answer.resolve()

        asyncio.run(awaited())


def ask_for(model: str) -> None:
    """One request of a function that takes the default client at each call."""
    genai.get_model(model)


def elsewhere(function: Callable[..., Any], *args: Any) -> None:
    """Runs something in a thread of its own, with nothing in between."""
    raised: list[BaseException] = []

    def keep(error: Any) -> None:
        raised.append(error.exc_value)

    hook, threading.excepthook = threading.excepthook, keep
    try:
        thread = threading.Thread(target=function, args=args)
        thread.start()
        thread.join(60)
    finally:
        threading.excepthook = hook
    if raised:
        raise raised[0]


def in_a_task(module: Any, model: Any) -> None:
    """Runs a request of a model in a task of its own, with nothing in between."""

    async def gather() -> None:
        await asyncio.gather(module.call(model.generate_content_async, "hi"))

    asyncio.run(gather())


class Client:
    """The rules' form of a client that was handed out: whose key was set, and for whom."""

    def __init__(self, who: str | None, package: str) -> None:
        self.who = who
        self.package = package


class Held:
    """A model object, who has made it as far as that is known, and what its two clients hold."""

    def __init__(self, model: Any, maker: str | None, clients: dict[bool, Client | None]) -> None:
        self.model = model
        self.maker = maker
        self.clients = clients


class Machine(RuleBasedStateMachine):
    """Does the same to the library and to the plain rules, and compares every request."""

    server: GeminiServer

    def __init__(self) -> None:
        super().__init__()
        self.outside = dict(os.environ)
        self.packages = {name: package(name) for name in PACKAGES}
        self.shared: str | None = None
        self.own: dict[str, str | None] = {}
        self.policy = "warn"
        self.follow = False
        self.notes_makers = False
        self.environ: str | None = None
        self.scopes: list[tuple[Any, str]] = []
        self.held: list[Held] = []

    @initialize(policy=POLICIES, who=WHO | st.none())
    def start(self, policy: Any, who: str | None) -> None:
        """A program with a package or two, each with a model that is not in use yet."""
        for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
            os.environ.pop(name, None)
        genai_config.reset()
        self.endpoint = {"api_endpoint": self.server.grpc_endpoint}
        safe_configure(
            ca_certs=self.server.ca_file,
            client_options=self.endpoint,
            api_key=who and self.server.api_key(who),
        )
        self.shared = who
        self.choose(policy, follow=False)
        for name in PACKAGES:
            self.make(name)

    def teardown(self) -> None:
        """As it was before."""
        state.exchange_scopes(())
        genai_config.reset()
        genai_config.uninstall()
        os.environ.clear()
        os.environ.update(self.outside)

    # The rules, in plain words

    def hand_out(self, package: str) -> Client:
        """A client keeps the key that was set for its package, or for all."""
        whose = package if package in self.own else ""
        return Client(self.own.get(package, self.shared), whose)

    def expected(self, client: Client, *, scopes: bool) -> str | None:
        """A scope's key, else the client's, else the environment's."""
        if scopes and self.scopes:
            return self.scopes[-1][1]
        who = client.who
        if self.follow:
            who = self.own.get(client.package, self.shared)
        return who or self.environ

    # What happens

    @rule(who=WHO)
    def configure(self, who: str) -> None:
        """The program's own call."""
        safe_configure(api_key=self.server.api_key(who))
        self.shared = who

    @rule(policy=POLICIES, follow=st.booleans())
    def choose(self, policy: Any, *, follow: bool) -> None:
        """The two settings that decide about others."""
        safe_configure(raw_configure=policy, existing_models="follow" if follow else "keep")
        self.policy, self.follow = policy, follow
        self.notes_makers |= policy == "isolate"

    @rule(who=WHO | st.none(), name=st.sampled_from(PACKAGES))
    def configure_raw(self, who: str | None, name: str) -> None:
        """A package's own genai.configure()."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.packages[name].call(
                genai.configure,
                api_key=who and self.server.api_key(who),
                client_options=self.endpoint,
            )
        if self.policy == "isolate":
            self.own[name] = who
            return
        self.own.pop(name, None)
        if self.policy == "warn" or who is not None:
            self.shared = who

    @rule(who=st.sampled_from(["four", "five", None]))
    def export(self, who: str | None) -> None:
        """The environment's key changes, or goes."""
        os.environ.pop("GEMINI_API_KEY", None)
        if who is not None:
            os.environ["GEMINI_API_KEY"] = self.server.api_key(who)
        self.environ = who

    @precondition(lambda self: len(self.scopes) < 3)
    @rule(who=WHO)
    def enter(self, who: str) -> None:
        """A tenant's scope."""
        scope = override(api_key=self.server.api_key(who))
        scope.__enter__()
        self.scopes.append((scope, who))

    @precondition(lambda self: self.scopes)
    @rule()
    def leave(self) -> None:
        """The innermost scope."""
        self.scopes.pop()[0].__exit__(None, None, None)

    @precondition(lambda self: len(self.held) < 8)
    @rule(name=st.sampled_from(PACKAGES))
    def make(self, name: str) -> None:
        """A model of somebody's, which has no client yet."""
        maker = name if self.notes_makers else None
        self.held.append(Held(self.packages[name].make(BASE), maker, {False: None, True: None}))

    @precondition(lambda self: len(self.held) < 8)
    @rule(which=st.integers(0, 7))
    def copy(self, which: int) -> None:
        """A copy holds what it was copied from."""
        held = self.held[which % len(self.held)]
        self.held.append(Held(copy.deepcopy(held.model), held.maker, dict(held.clients)))

    @precondition(lambda self: len(self.held) < 8)
    @rule(which=st.integers(0, 7), name=st.sampled_from(PACKAGES))
    def pickle(self, which: int, name: str) -> None:
        """A used model that is loaded is handed out its clients anew, for whom they were."""
        held = self.held[which % len(self.held)]
        made = self.packages[name].call(pickle.loads, pickle.dumps(held.model))
        again = {a: c and self.hand_out(c.package) for a, c in held.clients.items()}
        self.held.append(Held(made, held.maker, again))

    @rule(
        which=st.integers(0, 7),
        name=st.sampled_from(PACKAGES),
        way=st.sampled_from(WAYS),
        where=st.sampled_from(PLACES),
    )
    def ask(self, which: int, name: str, way: str, where: str) -> None:
        """A request of a model, by a package, in each way and from each place."""
        held, module = self.held[which % len(self.held)], self.packages[name]
        caller: str | None = name
        run = functools.partial(module.ask, held.model, way)
        if where == "function in a thread":
            run = functools.partial(elsewhere, run.func, *run.args)
        elif where == "method in a thread":
            caller, way = None, "call"
            run = functools.partial(elsewhere, held.model.generate_content, "hi")
        elif where == "task":
            # Whoever awaits has not called: the task's own frames are the SDK's alone.
            caller, way = None, "await"
            run = functools.partial(in_a_task, module, held.model)
        awaited = way.startswith("await")
        client = held.clients[awaited]
        if client is None:
            whose = held.maker or caller
            if whose is None and self.own:
                self.refused(run, exceptions.RawConfigureError)
                return
            client = held.clients[awaited] = self.hand_out(whose or "")
        scopes = where in {"here", "task"}
        self.check(run, self.expected(client, scopes=scopes))

    @rule(name=st.sampled_from(PACKAGES))
    def ask_for_a_model(self, name: str) -> None:
        """Functions such as `get_model` take the default client at each call."""
        run = self.packages[name].ask_for
        expected = self.expected(self.hand_out(name), scopes=True)
        self.check(lambda: run(f"models/{BASE}"), expected)

    # What is compared

    def check(self, run: Callable[[], None], who: str | None) -> None:
        """Every request that something sends is received from this identity; None: it sends none.

        Without a key, credentials are looked for, and there are none.
        """
        if who is None:
            self.refused(run, exceptions.CredentialsNotFoundError)
            return
        self.server.clear()
        run()
        received = [request.identity for request in self.server.requests]
        assert received
        assert set(received) == {who}

    def refused(self, run: Callable[[], None], error: type[BaseException]) -> None:
        """Nothing is sent."""
        self.server.clear()
        with pytest.raises(error):
            run()
        assert self.server.requests == []


def test_the_wire_carries_the_identity_that_the_rules_predict(server: GeminiServer) -> None:
    """At every step."""
    run_state_machine_as_test(
        type("Machine", (Machine,), {"server": server}),
        settings=settings(
            max_examples=1_000 if HEAVY else 100,
            stateful_step_count=50,
            deadline=None,
            # Making a failure smaller takes minutes over the wire: `nox -s heavy` does.
            phases=[p for p in Phase if HEAVY or p is not Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )
