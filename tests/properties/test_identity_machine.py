"""A state machine of identities: every request carries what a plain model of the rules predicts.

Over safe_configure, raw configure() from several packages, scopes, models that are held, awaited
calls, other threads, copies and pickles, and a key in the environment.
"""

from __future__ import annotations

import builtins
import copy
import os
import pickle
import threading
import types
import warnings
from typing import Any

import google.generativeai as genai
from google.generativeai import client as client_lib
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

import genai_config
from genai_config import override, safe_configure
from genai_config._sdk import manager
from genai_config._settings.state import state

KEYS = st.sampled_from(["key-1", "key-2", "key-3"])
PACKAGES = ("one_llm", "two_llm", "__main__")


def package(name: str) -> Any:
    """Somebody's module: its functions are the ones that call the SDK."""
    module = types.ModuleType(name)
    names = vars(module)
    names.update(client_lib=client_lib, __builtins__=builtins)
    for function in (call, key_of_request):
        names[function.__name__] = types.FunctionType(function.__code__, names)
    return module


def call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls something of the SDK."""
    return function(*args, **kwargs)


def key_of_request(model: Any, awaited: bool) -> str | None:  # noqa: FBT001 -- called by position
    """The key that a model's request would carry: the client is taken as the SDK takes it."""

    async def take() -> Any:
        if model._async_client is None:
            model._async_client = client_lib.get_default_generative_async_client()
        return model._async_client

    if awaited:
        try:
            take().send(None)
        except StopIteration as stop:
            client = stop.value
    else:
        if model._client is None:
            model._client = client_lib.get_default_generative_client()
        client = model._client
    key = client.snapshot().config.api_key
    return key.get_secret_value() if key else None


class Client:
    """The model's form of a client that was handed out: its key as set, and whose it is."""

    def __init__(self, key: str | None, package: str) -> None:
        self.key = key
        self.package = package


class Held:
    """A model object, and what the rules say of its two clients."""

    def __init__(self, model: Any, sync: Client | None, awaited: Client | None) -> None:
        self.model = model
        self.clients = {False: sync, True: awaited}


class Machine(RuleBasedStateMachine):
    """Does the same to the library and to the plain model, and compares every request."""

    def __init__(self) -> None:
        super().__init__()
        self.outside = dict(os.environ)
        self.packages = {name: package(name) for name in PACKAGES}
        self.shared: str | None = None
        self.own: dict[str, str | None] = {}
        self.policy = "warn"
        self.follow = False
        self.environ: str | None = None
        self.scopes: list[tuple[Any, str]] = []
        self.held: list[Held] = []

    @initialize()
    def start(self) -> None:
        """Nothing is set; our manager is in the SDK."""
        for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
            os.environ.pop(name, None)
        genai_config.reset()
        manager.install()

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

    def expected(self, client: Client, *, scopes: bool = True) -> str | None:
        """A scope's key, else the client's, else the environment's."""
        if scopes and self.scopes:
            return self.scopes[-1][1]
        key = client.key
        if self.follow:
            key = self.own.get(client.package, self.shared)
        return key or self.environ

    # What happens

    @rule(key=KEYS)
    def configure(self, key: str) -> None:
        """The program's own call."""
        safe_configure(api_key=key)
        self.shared = key

    @rule(policy=st.sampled_from(["warn", "isolate", "merge"]), follow=st.booleans())
    def choose(self, policy: Any, *, follow: bool) -> None:
        """The two settings that decide about others."""
        safe_configure(raw_configure=policy, existing_models="follow" if follow else "keep")
        self.policy, self.follow = policy, follow

    @rule(key=KEYS | st.none(), name=st.sampled_from(PACKAGES))
    def configure_raw(self, key: str | None, name: str) -> None:
        """A package's own genai.configure()."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.packages[name].call(genai.configure, api_key=key)
        if self.policy == "isolate":
            self.own[name] = key
            return
        self.own.pop(name, None)
        if self.policy == "warn" or key is not None:
            self.shared = key

    @rule(key=st.sampled_from(["key-4", "key-5", None]))
    def export(self, key: str | None) -> None:
        """The environment's key changes, or goes."""
        os.environ.pop("GEMINI_API_KEY", None)
        if key is not None:
            os.environ["GEMINI_API_KEY"] = key
        self.environ = key

    @precondition(lambda self: len(self.scopes) < 3)
    @rule(key=KEYS)
    def enter(self, key: str) -> None:
        """A tenant's scope."""
        scope = override(api_key=key)
        scope.__enter__()
        self.scopes.append((scope, key))

    @precondition(lambda self: self.scopes)
    @rule()
    def leave(self) -> None:
        """The innermost scope."""
        self.scopes.pop()[0].__exit__(None, None, None)

    @precondition(lambda self: len(self.held) < 6)
    @rule()
    def make(self) -> None:
        """A model, which has no client yet."""
        self.held.append(Held(genai.GenerativeModel("gemini-3.6-flash"), None, None))

    @precondition(lambda self: 0 < len(self.held) < 6)
    @rule(which=st.integers(0, 5))
    def copy(self, which: int) -> None:
        """A copy holds what it was copied from."""
        held = self.held[which % len(self.held)]
        made = copy.deepcopy(held.model)
        self.held.append(Held(made, held.clients[False], held.clients[True]))

    @precondition(lambda self: 0 < len(self.held) < 6)
    @rule(which=st.integers(0, 5), name=st.sampled_from(PACKAGES))
    def pickle(self, which: int, name: str) -> None:
        """A used model that is loaded is handed out its clients anew, to who loads it."""
        held = self.held[which % len(self.held)]
        made = self.packages[name].call(pickle.loads, pickle.dumps(held.model))
        again = {a: client and self.hand_out(name) for a, client in held.clients.items()}
        self.held.append(Held(made, again[False], again[True]))

    @precondition(lambda self: self.held)
    @rule(
        which=st.integers(0, 5),
        name=st.sampled_from(PACKAGES),
        awaited=st.booleans(),
        thread=st.booleans(),
    )
    def ask(self, which: int, name: str, *, awaited: bool, thread: bool) -> None:
        """A request of a model, by a package, here or in another thread."""
        held = self.held[which % len(self.held)]
        client = held.clients[awaited] = held.clients[awaited] or self.hand_out(name)
        seen: list[str | None] = []

        def look() -> None:
            seen.append(self.packages[name].key_of_request(held.model, awaited))

        if thread:
            other = threading.Thread(target=look)
            other.start()
            other.join(10)
        else:
            look()
        assert seen == [self.expected(client, scopes=not thread)]

    @rule(name=st.sampled_from(PACKAGES))
    def ask_for_the_default_client(self, name: str) -> None:
        """Functions such as `embed_content` do it at each call."""
        client = self.packages[name].call(client_lib.get_default_generative_client)
        key = client.snapshot().config.api_key
        found = key.get_secret_value() if key else None
        present = self.hand_out(name)
        assert found == self.expected(present)
        assert client.identity.package == present.package


Machine.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestIdentities = Machine.TestCase
