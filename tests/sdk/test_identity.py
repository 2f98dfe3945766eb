"""Identity belongs to the client that was handed out: key, credentials and endpoint stay."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
import re
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.ai.generativelanguage as glm
import google.generativeai as genai
import pytest
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client as client_lib
from google.oauth2 import service_account

import genai_config
from genai_config import (
    UNSET,
    exceptions,
    explain,
    generative_model,
    override,
    safe_configure,
)

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

BASE, TUNED = "gemini-3.6-flash", "tunedModels/mine"


@pytest.fixture
def served(server: GeminiServer) -> GeminiServer:
    """The local server, to which every request goes."""
    safe_configure(**pointing(server))
    return server


def pointing(server: GeminiServer) -> dict[str, Any]:
    """Settings that have every request go to the server."""
    return {
        "client_options": {"api_endpoint": server.grpc_endpoint},
        "ca_certs": server.ca_file,
    }


def asked(server: GeminiServer, model: Any) -> str | None:
    """Who the service takes a model's request for."""
    model.generate_content("hi")
    identity: str | None = server.requests[-1].identity
    return identity


def package(name: str, code: str, **names: Any) -> types.ModuleType:
    """A module of somebody else's package."""
    module = types.ModuleType(name)
    vars(module).update(genai=genai, **names)
    exec(compile(code, f"/packages/{name}.py", "exec"), vars(module))  # noqa: S102 -- our own
    return module


THEIRS = """
class Llm:
    def __init__(self, key, transport=None):
        genai.configure(api_key=key, transport=transport)
        self.model = genai.GenerativeModel("gemini-3.6-flash")

    def ask(self):
        return self.model.generate_content("hi")

    async def ask_async(self):
        return await self.model.generate_content_async("hi")

    def embed(self):
        return genai.embed_content(model="models/gemini-embedding-2", content="hi")
"""


class TestAHeldModel:
    def test_it_keeps_its_key_from_its_first_use(self, served: GeminiServer) -> None:
        """As in the SDK; a model that was not used yet takes the present one."""
        safe_configure(api_key=served.api_key("one"))
        first, unused = genai.GenerativeModel(BASE), genai.GenerativeModel(BASE)
        assert asked(served, first) == "one"
        safe_configure(api_key=served.api_key("two"))
        assert asked(served, first) == "one"
        assert asked(served, unused) == "two"
        safe_configure(api_key=served.api_key("three"))
        assert [asked(served, model) for model in (first, unused)] == ["one", "two"]

    def test_everything_else_follows_at_once(self, served: GeminiServer) -> None:
        """Headers, the transport, what is asked by OAuth."""
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        asked(served, model)
        safe_configure(api_key=served.api_key("two"), default_metadata=[("x-a", "1")])
        assert asked(served, model) == "one"
        assert served.requests[-1].headers["x-a"] == "1"
        assert asked(served, model) == "one"

    def test_scopes_lie_on_top(self, served: GeminiServer) -> None:
        """Of the key, too; and what a scope clears is cleared."""
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        asked(served, model)
        safe_configure(api_key=served.api_key("two"))
        with override(api_key=served.api_key("tenant")):
            assert asked(served, model) == "tenant"
        assert asked(served, model) == "one"
        with override(api_key=UNSET), pytest.raises(exceptions.CredentialsError):
            asked(served, model)

    def test_metadata_of_any_name_leaves_it_alone(self, served: GeminiServer) -> None:
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        assert asked(served, model) == "one"
        key = served.api_key("two")
        safe_configure(api_key=key, default_metadata=[("genai-config-call", "x")])
        assert asked(served, model) == "one"
        safe_configure(
            transport="rest",
            client_options={"api_endpoint": served.rest_endpoint},
        )
        request = glm.GenerateContentRequest(model=f"models/{BASE}", contents=[{"parts": []}])
        other = genai.GenerativeModel(BASE)
        assert asked(served, other) == "two"
        client: Any = other._client
        client.generate_content(request, metadata=[("X-Goog-Api-Key", key)])
        assert served.requests[-1].identity == "two"

    def test_credentials_are_identity_too(self, served: GeminiServer) -> None:
        """By object: two that compare equal are two."""
        equal = {"__eq__": lambda *_: True, "__hash__": lambda _: 1}
        made: Any = type("Equal", (service_account.Credentials,), equal)
        one, two = (
            made.from_service_account_info(served.service_account_info(name))
            for name in ("one", "two")
        )
        safe_configure(credentials=one)
        model = genai.GenerativeModel(TUNED)
        assert str(asked(served, model)).startswith("one@")
        safe_configure(credentials=two)
        assert str(asked(served, genai.GenerativeModel(TUNED))).startswith("two@")
        assert str(asked(served, model)).startswith("one@")

    def test_the_environments_key_follows_the_environment(
        self, served: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rotation is meant there; a key that is configured later is not the model's."""
        monkeypatch.setenv("GEMINI_API_KEY", served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        assert asked(served, model) == "one"
        monkeypatch.setenv("GEMINI_API_KEY", served.api_key("two"))
        assert asked(served, model) == "two"
        safe_configure(api_key=served.api_key("three"))
        assert asked(served, model) == "two"

    def test_it_may_follow(self, served: GeminiServer) -> None:
        """existing_models="follow" is for those who change the key of a running program."""
        safe_configure(api_key=served.api_key("one"), existing_models="follow")
        model = genai.GenerativeModel(BASE)
        assert asked(served, model) == "one"
        safe_configure(api_key=served.api_key("two"))
        assert asked(served, model) == "two"
        with override(existing_models="keep"):
            assert asked(served, model) == "one"

    def test_functions_that_ask_for_the_client_take_the_present_one(
        self, served: GeminiServer
    ) -> None:
        """Nobody holds a client there."""
        for name in ("one", "two"):
            safe_configure(api_key=served.api_key(name))
            genai.embed_content(model="models/gemini-embedding-2", content="hi")
            assert served.requests[-1].identity == name

    def test_a_client_that_is_put_into_a_model_keeps_its_own(self, served: GeminiServer) -> None:
        """The way of those packages that have several keys in one process."""
        models = []
        for name in ("one", "two", "one"):
            genai.configure(
                api_key=served.api_key(name),
                **{n: v for n, v in pointing(served).items() if n == "client_options"},
            )
            model: Any = genai.GenerativeModel(BASE)
            model._client = client_lib.get_default_generative_client()
            models.append(model)
        assert [asked(served, model) for model in models] == ["one", "two", "one"]

    def test_a_pinned_model_is_as_it_was(self, served: GeminiServer) -> None:
        """`generative_model` keeps everything, the scope included."""
        with override(api_key=served.api_key("tenant")):
            model = generative_model(BASE)
        safe_configure(api_key=served.api_key("two"))
        assert asked(served, model) == "tenant"


class TestIsolate:
    """raw_configure="isolate": a package's genai.configure() is its own."""

    def test_each_has_its_own_key(self, served: GeminiServer) -> None:
        """Two packages, two models of one, and ours; functions that ask for a client as well."""
        ours = served.api_key("ours")
        safe_configure(api_key=ours, raw_configure="isolate")
        model = genai.GenerativeModel(BASE)
        endpoint = {"client_options": {"api_endpoint": served.grpc_endpoint}}
        code = THEIRS.replace("api_key=key,", "api_key=key, **endpoint,")
        one = package("one_llm.models", code, endpoint=endpoint).Llm(served.api_key("theirs"))
        two = package("two_llm", code, endpoint=endpoint).Llm(served.api_key("others"))
        seen = []
        for ask in (one.ask, two.ask, one.embed, two.embed, lambda: asked(served, model)):
            ask()
            seen.append(served.requests[-1].identity)
        assert seen == ["theirs", "others", "theirs", "others", "ours"]
        genai.embed_content(model="models/gemini-embedding-2", content="hi")
        assert served.requests[-1].identity == "ours"
        asyncio.run(one.ask_async())
        assert served.requests[-1].identity == "theirs"

    def test_the_page_on_other_libraries_runs(self, served: GeminiServer) -> None:
        """Its example, with a package as most are."""
        page = Path(__file__).parents[2] / "docs" / "with-other-libraries.md"
        (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        endpoint = {"client_options": {"api_endpoint": served.grpc_endpoint}}
        theirs = THEIRS
        for is_, should_be in (
            ("(self, key,", "(self, api_key,"),
            ("key=key,", "key=api_key,"),
            ("transport=transport)", "**endpoint)"),
            ("ask(self)", "ask(self, _)"),
        ):
            theirs = theirs.replace(is_, should_be)
        names: dict[str, Any] = {"PACKAGE": package("one_llm", theirs, endpoint=endpoint)}
        names |= {f"{n.upper()}_KEY": served.api_key(n) for n in ("our", "their", "tenant")}
        exec(compile(code, "page.py", "exec"), {"__name__": "page", **names})  # noqa: S102 -- our own
        assert [r.identity for r in served.requests] == ["their", "our", "tenant"]

    def test_a_packages_later_configure_leaves_its_held_models(self, served: GeminiServer) -> None:
        """Within a package it is as in the SDK."""
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        endpoint = {"client_options": {"api_endpoint": served.grpc_endpoint}}
        code = THEIRS.replace("api_key=key,", "api_key=key, **endpoint,")
        llm = package("one_llm", code, endpoint=endpoint).Llm
        first = llm(served.api_key("first"))
        first.ask()
        second = llm(served.api_key("second"))
        second.ask()
        first.ask()
        assert [r.identity for r in served.requests] == ["first", "second", "first"]
        with override(api_key=served.api_key("tenant")):
            first.ask()
        assert served.requests[-1].identity == "tenant"

    @pytest.fixture
    def theirs(self, served: GeminiServer) -> Any:
        """An object of a package that has a key of its own; so has the program."""
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        endpoint = {"client_options": {"api_endpoint": served.grpc_endpoint}}
        code = THEIRS.replace("api_key=key,", "api_key=key, **endpoint,")
        return package("one_llm", code, endpoint=endpoint).Llm(served.api_key("theirs"))

    @pytest.mark.parametrize("way", ["app", "executor", "thread", "to_thread", "task", "exec"])
    def test_a_model_belongs_to_who_made_it(
        self, served: GeminiServer, theirs: Any, way: str
    ) -> None:
        """Wherever it is used first, and by whom."""
        models = {"theirs": theirs.model, "ours": genai.GenerativeModel(BASE)}
        for model in models.values():
            if way == "app":
                model.generate_content("hi")
            elif way == "executor":
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(model.generate_content, "hi").result()
            elif way == "thread":
                thread = threading.Thread(target=model.generate_content, args=("hi",))
                thread.start()
                thread.join()
            elif way == "exec":
                exec("model.generate_content('hi')", {"model": model})  # noqa: S102 -- our own
            elif way == "to_thread":
                asyncio.run(asyncio.to_thread(model.generate_content, "hi"))
            else:
                asyncio.run(model.generate_content_async("hi"))
        assert [request.identity for request in served.requests] == list(models)

    def test_a_model_in_a_chat_and_its_copies(self, served: GeminiServer, theirs: Any) -> None:
        chat = theirs.model.start_chat()
        loaded = pickle.loads(pickle.dumps(theirs.model))  # noqa: S301 -- our own
        chat.send_message("hi")
        asked(served, loaded)
        asked(served, copy.deepcopy(theirs.model))
        asked(served, pickle.loads(pickle.dumps(theirs.model)))  # noqa: S301 -- our own
        assert {request.identity for request in served.requests} == {"theirs"}
        assert len(served.requests) == 4

    def test_nothing_is_sent_where_nobody_is_known(self, served: GeminiServer, theirs: Any) -> None:
        """Not this program's key for a package's call, nor the other way round."""
        del theirs
        embed: Any = genai.embed_content
        what = {"model": "models/gemini-embedding-2", "content": "hi"}
        with ThreadPoolExecutor(1) as pool:
            with pytest.raises(exceptions.RawConfigureError, match="one_llm") as caught:
                pool.submit(embed, **what).result()
            assert "bind(" in caught.value.remedy
            with pytest.raises(exceptions.RawConfigureError, match="isolate"):
                pool.submit(genai.configure, api_key="k").result()
            assert served.requests == []
            pool.submit(lambda: embed(**what)).result()
            pool.submit(genai_config.bind(embed), **what).result()
        assert [request.identity for request in served.requests] == ["ours", "ours"]

    def test_bound_functions_run_for_the_package_that_binds(
        self, served: GeminiServer, theirs: Any
    ) -> None:
        module = package("one_llm", "def bound(f):\n    return bind(f)", bind=genai_config.bind)
        bound = module.bound(theirs.model.__class__.count_tokens)
        embed = module.bound(genai.embed_content)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(embed, model="models/gemini-embedding-2", content="hi").result()
            pool.submit(bound, theirs.model, "hi").result()
        assert [request.identity for request in served.requests] == ["theirs", "theirs"]

    def test_a_model_from_before_is_its_first_callers(self, served: GeminiServer) -> None:
        """Nobody has noted who made it."""
        model, other = genai.GenerativeModel(BASE), genai.GenerativeModel(BASE)
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        endpoint = {"client_options": {"api_endpoint": served.grpc_endpoint}}
        code = THEIRS.replace("api_key=key,", "api_key=key, **endpoint,")
        llm = package("one_llm", code, endpoint=endpoint).Llm(served.api_key("theirs"))
        llm.model = model
        llm.ask()
        assert served.requests[-1].identity == "theirs"
        with ThreadPoolExecutor(1) as pool, pytest.raises(exceptions.RawConfigureError):
            pool.submit(other.generate_content, "hi").result()
        assert len(served.requests) == 1

    def test_those_who_call_for_others_do_not_count(
        self, served: GeminiServer, theirs: Any
    ) -> None:
        """A tracer, a retrying decorator, pydantic."""
        module = package("one_llm", "def through(f):\n    return f(genai.list_models)")
        tracer = package("ddtrace.contrib", "def call(f):\n    return list(f())")
        del theirs
        module.through(tracer.call)
        assert served.requests[-1].identity == "theirs"
        tracer.call(genai.list_models)
        assert served.requests[-1].identity == "ours"

    @pytest.mark.parametrize("policy", ["merge", "warn"])
    @pytest.mark.filterwarnings("ignore::genai_config.exceptions.RawConfigureWarning")
    def test_a_package_that_shares_again(self, served: GeminiServer, policy: Any) -> None:
        """Its genai.configure() is for all again, and what is set for all is for it."""
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        llm = package("one_llm", THEIRS).Llm
        llm(served.api_key("theirs"))
        assert asked(served, genai.GenerativeModel(BASE)) == "ours"
        safe_configure(raw_configure=policy)
        theirs = llm(served.api_key("shared"))
        safe_configure(**pointing(served))
        assert asked(served, genai.GenerativeModel(BASE)) == "shared"
        safe_configure(api_key=served.api_key("all's"))
        theirs.embed()
        assert served.requests[-1].identity == "all's"

    async def test_an_event_loop_calls_for_no_package(self, served: GeminiServer) -> None:
        """Whoever has started the loop has not made the call."""
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        loop = asyncio.get_running_loop()
        failed: asyncio.Future[Any] = loop.create_future()
        loop.set_exception_handler(lambda _, context: failed.set_result(context["exception"]))
        loop.call_soon(functools.partial(genai.configure, api_key="made-up"))
        error = await asyncio.wait_for(failed, 30)
        assert isinstance(error, exceptions.RawConfigureError)

    def test_uninstall_leaves_the_models_class_as_it_was(self) -> None:
        """But for what somebody has put around it since."""
        model: Any = genai.GenerativeModel
        before = model.__init__
        safe_configure(raw_configure="isolate")
        safe_configure(raw_configure="isolate")
        assert model.__init__.__wrapped__ is before
        genai_config.uninstall()
        assert model.__init__ is before
        with override(raw_configure="isolate"):
            genai.configure(api_key="made-up")
        assert model.__init__.__wrapped__ is before
        ours = model.__init__

        @functools.wraps(ours)
        def traced(self: Any) -> None:
            ours(self)

        try:
            model.__init__ = traced
            theirs = model.__init__
            genai_config.uninstall()
            assert model.__init__ is theirs
            safe_configure(raw_configure="isolate")
            assert model.__init__ is theirs
            assert model().model_name
        finally:
            model.__init__ = before

    def test_bad_input_changes_nothing(self, served: GeminiServer) -> None:
        """It is refused where it is given, as elsewhere."""
        safe_configure(api_key=served.api_key("ours"), raw_configure="isolate")
        module = package("one_llm", THEIRS)
        with pytest.raises(exceptions.ConfigurationError):
            module.Llm("a b")
        module.genai.GenerativeModel(BASE).generate_content("hi")
        assert served.requests[-1].identity == "ours"


class TestLooksLikeTheSdks:
    def test_a_clients_class_and_its_context_manager(self, served: GeminiServer) -> None:
        """`isinstance` and `with`; leaving closes no connection of others."""
        safe_configure(api_key=served.api_key("one"))
        client: Any = client_lib.get_default_generative_client()
        assert isinstance(client, glm.GenerativeServiceClient)
        with client as entered:
            assert entered is client

        async def enter() -> None:
            held: Any = client_lib.get_default_generative_async_client()
            assert isinstance(held, glm.GenerativeServiceAsyncClient)
            async with held as again:
                assert again is held

        asyncio.run(enter())
        assert asked(served, genai.GenerativeModel(BASE)) == "one"

    def test_the_managers_client_config(self) -> None:
        """People look at the key and the options in it."""
        credentials = AnonymousCredentials()
        safe_configure(
            api_key="made-up", client_options={"api_endpoint": "host"}, credentials=credentials
        )
        found = client_lib._client_manager.client_config
        assert found["client_options"].api_key == "made-up"
        assert found["client_options"].api_endpoint == "host"
        assert found["credentials"] is credentials
        assert "transport" not in found
        safe_configure(api_key=UNSET, credentials=UNSET, transport="rest")
        found = client_lib._client_manager.client_config
        assert (found["client_options"].api_key, found["transport"]) == (None, "rest")

    def test_a_subclass_of_the_manager_for_each_thread(self, served: GeminiServer) -> None:
        """A known way to have one configuration per thread."""
        safe_configure(api_key=served.api_key("one"))

        class PerThread(threading.local, type(client_lib._client_manager)):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()

        client_lib._client_manager = PerThread()
        assert asked(served, genai.GenerativeModel(BASE)) == "one"
        genai_config.uninstall()
        assert type(client_lib._client_manager) is client_lib._ClientManager

    def test_probing_attributes_is_harmless(self, served: GeminiServer) -> None:
        """Tracers ask clients for what may not be there, outside an event loop too."""
        safe_configure(api_key=served.api_key("one"))
        model: Any = genai.GenerativeModel(BASE)
        asked(served, model)
        asynchronous = client_lib.get_default_generative_async_client()
        for name in ("_client", "_transport", "transport", "_nothing", "nothing"):
            getattr(asynchronous, name, None)  # raises nothing
        with override(api_key=UNSET, auth="api_key"):
            assert getattr(model._client, "transport", None) is None
        assert model._client.transport.kind == "grpc"
        assert len(served.requests) == 1

    def test_a_used_model_is_copied_and_pickled(self, served: GeminiServer) -> None:
        """A copy holds what it held; a pickle is handed out anew where it is loaded."""
        safe_configure(api_key=served.api_key("one"))
        model: Any = genai.GenerativeModel(BASE)
        asked(served, model)
        copied, pickled = copy.deepcopy(model), pickle.dumps(model)
        safe_configure(api_key=served.api_key("two"))
        assert asked(served, copied) == "one"
        loaded = pickle.loads(pickled)  # noqa: S301 -- our own
        assert asked(served, loaded) == "two"
        assert asked(served, model) == "one"

    def test_a_clients_copy_is_the_client(self, served: GeminiServer) -> None:
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        assert asked(served, model) == "one"
        safe_configure(api_key=served.api_key("two"))
        model._client = copy.copy(model._client)
        assert asked(served, model) == "one"

    def test_a_pinned_model_pickles_as_its_configuration_does(
        self, served: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A literal key is refused; a variable is read again where it is loaded."""
        with override(api_key=served.api_key("one")):
            literal = generative_model(BASE)
        with pytest.raises(exceptions.SecretPicklingError):
            pickle.dumps(literal)
        monkeypatch.setenv("GEMINI_API_KEY", served.api_key("two"))
        loaded = pickle.loads(pickle.dumps(generative_model(BASE)))  # noqa: S301 -- our own
        safe_configure(api_key=served.api_key("three"))
        assert asked(served, loaded) == "two"


class TestExplain:
    def test_a_model_object_is_told_by_what_it_holds(self, served: GeminiServer) -> None:
        """Which identity, and where that was set; a chat is as its model."""
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        assert "first use" in str(explain(model).identity)
        asked(served, model)
        here = str(explain(model).identity)
        assert here.startswith("client_options.api_endpoint from safe_configure at ")
        safe_configure(api_key=served.api_key("two"))
        for held in (explain(model), explain(model.start_chat())):
            assert held.model == f"models/{BASE}"
            assert held.identity == here
            assert __file__ in str(held)
        key = {s.name: s for s in explain(model).settings}["api_key"]
        assert key.source.place in here
        assert explain(BASE).identity is None
        assert "where the model was created" in str(explain(generative_model(BASE)).identity)

    def test_what_the_environment_gives_is_told(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing was set in the program."""
        monkeypatch.setenv("GEMINI_API_KEY", server.api_key("one"))
        safe_configure()
        model: Any = genai.GenerativeModel(BASE)
        model._client = client_lib.get_default_generative_client()
        assert "environment" in str(explain(model).identity)

    def test_the_mode_of_calling_chooses_the_client(self, served: GeminiServer) -> None:
        """A model has one for each."""
        safe_configure(api_key=served.api_key("one"))
        model = genai.GenerativeModel(BASE)
        asked(served, model)
        assert "first use" in str(explain(model, "generate_content_async").identity)

    @pytest.mark.usefixtures("configured")
    def test_what_the_service_tells_of_a_model_is_its_name(self) -> None:
        """It holds no client; whoever makes a model of it takes one then."""
        model: Any = genai.get_model(f"models/{BASE}")
        told = explain(model)
        assert told.model == f"models/{BASE}"
        assert "first use" in str(told.identity)

    def test_without_the_sdk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where it is not even loaded nothing can be one of its models."""
        model: Any = object()
        monkeypatch.delitem(sys.modules, "google.generativeai")
        with pytest.raises(exceptions.ConfigurationError, match="or the name of one"):
            explain(model)

    @pytest.mark.parametrize("model", [5, object(), ["gemini"], glm.Model(name="x")])
    def test_anything_else_is_refused(self, model: Any) -> None:
        """The error says what to give."""
        with pytest.raises(exceptions.ConfigurationError, match="or the name of one") as caught:
            explain(model)
        assert "explain(genai.GenerativeModel" in caught.value.remedy

    def test_a_model_with_another_client_is_refused(self) -> None:
        """It cannot be told what that one does."""
        safe_configure()
        model: Any = genai.GenerativeModel(BASE)
        model._client = object()
        with pytest.raises(exceptions.ConfigurationError, match="not genai_config's"):
            explain(model)


def test_nobody_sends_anothers_key(served: GeminiServer) -> None:
    """64 threads and 256 tasks, held models of eight identities, while others configure."""
    names = [f"tenant-{i}" for i in range(8)]
    keys = {name: served.api_key(name) for name in names}
    held: dict[str, Any] = {}
    for name in names:
        safe_configure(api_key=keys[name])
        held[name] = genai.GenerativeModel(BASE)
        held[name]._client = client_lib.get_default_generative_client()
        held[name]._async_client = client_lib.get_default_generative_async_client()
    done = threading.Event()

    def configure() -> None:
        turn = 0
        while not done.wait(0.005):  # or it would take the time of those who call
            turn += 1
            safe_configure(api_key=keys[names[turn % 8]], timeout=60 + turn % 2)

    def thread(number: int) -> None:
        name = names[number % 8]
        with override(default_metadata=[("x-asked-for", name)]):
            for _ in range(20):
                held[name].generate_content("hi")

    async def tasks() -> None:
        async def task(number: int) -> None:
            name = names[number % 8]
            with override(default_metadata=[("x-asked-for", name)]):
                for _ in range(20):
                    await held[name].generate_content_async("hi")

        await asyncio.gather(*map(task, range(256)))

    configuring = threading.Thread(target=configure)
    configuring.start()
    try:
        with ThreadPoolExecutor(64) as pool:
            list(pool.map(thread, range(64)))
        asyncio.run(tasks())
    finally:
        done.set()
        configuring.join()
    wrong = [r for r in served.requests if r.headers["x-asked-for"] != r.identity]
    assert len(served.requests) == 20 * (64 + 256)
    assert wrong == []
