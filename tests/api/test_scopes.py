"""Scopes as context managers and as decorators, for functions of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from pydantic import SecretStr

from genai_config import (
    UNSET,
    base_models,
    bind,
    from_file,
    generative_model,
    get_config,
    override,
    reset,
    safe_configure,
    tuned_models,
    uninstall,
)
from genai_config._settings.state import State, state
from genai_config.exceptions import (
    APIKeyRequiredError,
    APIKeyWarning,
    ConfigurationError,
    CredentialsNotFoundError,
    SecretReferenceError,
    UnusedScopeWarning,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator, Iterator
    from pathlib import Path

    from genai_config import GenAIConfig
    from genai_config._api.scopes import Scope


def timeout() -> float | None:
    """The setting these tests change."""
    return get_config().timeout


class TestAsAContextManager:
    def test_it_applies_inside_and_no_longer_outside(self) -> None:
        """Entering changes, leaving restores."""
        with override(timeout=1):
            assert timeout() == 1
        assert timeout() is None

    def test_it_applies_on_entry_and_not_when_made(self) -> None:
        """A scope may be made long before it is used."""
        scope = override(timeout=1)
        assert timeout() is None
        with scope:
            assert timeout() == 1

    def test_scopes_nest(self) -> None:
        """The inner one wins, setting by setting."""
        with override(timeout=1, transport="rest"):
            with override(timeout=2):
                assert (timeout(), get_config().transport) == (2, "rest")
            assert timeout() == 1

    def test_it_is_left_by_an_exception(self) -> None:
        """Which goes on to the caller."""
        with pytest.raises(KeyError), override(timeout=1):
            raise KeyError
        assert timeout() is None

    def test_one_object_may_be_entered_again_and_in_itself(self) -> None:
        """It holds no state of its own."""
        scope = override(timeout=1)
        with scope, scope:
            with scope:
                assert timeout() == 1
            assert len(state.scopes()) == 2
        with scope:
            assert timeout() == 1
        assert state.scopes() == ()

    def test_scopes_are_left_in_any_order(self) -> None:
        """Those that are left stay in force in the order in which they were entered."""
        outer, inner = override(timeout=1), override(timeout=2)
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        assert timeout() == 2
        inner.__exit__(None, None, None)
        assert timeout() is None

    def test_leaving_what_was_not_entered_here_changes_nothing(self) -> None:
        """Generators are closed in contexts that never entered their scopes."""
        with override(timeout=1):
            override(timeout=2).__exit__(None, None, None)
            assert timeout() == 1

    async def test_it_gives_the_configuration_inside(self) -> None:
        """The one that is in force there."""
        with override(timeout=1), override(transport="rest") as config:
            assert config is get_config()
            assert (config.timeout, config.transport) == (1, "rest")
        async with override(timeout=2) as config:
            assert config is get_config()

    def test_one_that_is_never_entered_warns(self) -> None:
        """Once, at the line that made it; one that was used, or could not be made, does not."""
        with pytest.warns(UnusedScopeWarning, match="never entered") as caught:
            override(timeout=1)
        assert [warning.filename for warning in caught] == [__file__]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            override(timeout=1)(len)
            with pytest.raises(ConfigurationError):
                override(timeout=-1)

    async def test_it_is_an_asynchronous_context_manager_too(self) -> None:
        """With the same effect."""
        async with override(timeout=1):
            assert timeout() == 1
        assert timeout() is None

    def test_it_follows_later_calls_of_safe_configure(self) -> None:
        """What a scope does not change is the process's."""
        with override(timeout=1):
            safe_configure(timeout=5, transport="rest")
            assert (timeout(), get_config().transport) == (1, "rest")
        assert timeout() == 5

    def test_it_clears_a_setting(self) -> None:
        """UNSET lets nothing below show through."""
        safe_configure(timeout=5)
        with override(timeout=UNSET):
            assert timeout() is None
        assert timeout() == 5


@pytest.mark.parametrize("scope", [override, base_models, tuned_models])
def test_where_a_scope_was_made(scope: Any) -> None:
    """Its settings come from the line that called for it, not from the one around."""
    safe_configure(api_key="key", auth="api_key")
    made, line = scope(timeout=3), inspect.currentframe().f_lineno  # type: ignore[union-attr] # CPython has frames
    assert made._layer.origin == ("override", f"{__file__}:{line}")
    made.__exit__()


class TestAroundFunctions:
    def test_a_function_runs_inside(self) -> None:
        """It keeps its name, its signature and its result."""

        @override(timeout=1)
        def ask(name: str, *, loud: bool = False) -> tuple[str, bool, float | None]:
            """Asks."""
            return name, loud, timeout()

        assert ask("me", loud=True) == ("me", True, 1)
        assert timeout() is None
        assert (ask.__name__, ask.__doc__) == ("ask", "Asks.")
        assert str(inspect.signature(ask)).startswith("(name: 'str', *, loud: 'bool' = False)")

    def test_what_is_in_force_is_not_made_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Inside, it is made of what is in force outside, which is there again afterwards."""

        @override(timeout=1)
        def ask() -> GenAIConfig:
            return get_config()

        with override(transport="rest") as config:
            monkeypatch.delattr(State, "_snapshot")
            inside = ask()
            assert (inside.timeout, inside.transport) == (1, "rest")
            assert get_config() is config

    def test_a_key_that_will_be_refused_is_told(self) -> None:
        """As at the entry of a block."""
        get_config()
        with pytest.warns(APIKeyWarning, match="placeholder"):
            override(api_key="API_KEY")(get_config)()

    def test_a_function_that_raises_leaves_it(self) -> None:
        """The exception is the function's own."""

        @override(timeout=1)
        def fail() -> None:
            raise KeyError(timeout())

        with pytest.raises(KeyError, match="1"):
            fail()
        assert timeout() is None

    def test_a_function_may_call_itself(self) -> None:
        """Each call is a scope of its own."""

        @override(timeout=1)
        def count(n: int) -> int:
            return count(n - 1) if n else len(state.scopes())

        assert count(3) == 4
        assert state.scopes() == ()

    async def test_a_coroutine_function_runs_inside(self) -> None:
        """Also after it has waited, and its caller meanwhile outside."""

        @override(timeout=1)
        async def ask() -> list[float | None]:
            before = timeout()
            await asyncio.sleep(0)
            return [before, timeout()]

        assert inspect.iscoroutinefunction(ask)
        task = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        assert timeout() is None
        assert await task == [1, 1]
        assert await ask() == [1, 1]
        assert timeout() is None

    async def test_a_cancelled_coroutine_leaves_it(self) -> None:
        """Cancelling is an exception like any other."""
        left: list[float | None] = []

        @override(timeout=1)
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                left.append(timeout())

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left == [1]


@override(timeout=1)
def talk(seen: list[Any]) -> Generator[Any, Any, str]:
    """A generator that notes what it sees, is sent and catches."""
    try:
        while True:
            try:
                seen.append((yield timeout()))
            except KeyError as error:
                seen.append((type(error), timeout()))
            if seen and seen[-1] == "stop":
                return f"returned {timeout()}"
    finally:
        seen.append(("closed", timeout()))


@override(timeout=1)
async def talk_async(seen: list[Any]) -> AsyncGenerator[Any, Any]:
    """The same, asynchronous."""
    try:
        while True:
            await asyncio.sleep(0)
            try:
                seen.append((yield timeout()))
            except KeyError as error:
                seen.append((type(error), timeout()))
            if seen and seen[-1] == "stop":
                return
    finally:
        seen.append(("closed", timeout()))


class TestAroundGenerators:
    def test_each_step_runs_inside_and_the_caller_outside(self) -> None:
        """A suspended generator does not leak its scope."""
        generator = talk([])
        assert inspect.isgeneratorfunction(talk)
        assert [next(generator), timeout(), next(generator), timeout()] == [1, None, 1, None]
        generator.close()

    def test_nothing_happens_before_the_first_step(self) -> None:
        """As with every generator."""
        generator = talk([])
        assert state.scopes() == ()
        generator.close()

    def test_values_are_sent(self) -> None:
        """They arrive where the generator waits."""
        seen: list[Any] = []
        generator = talk(seen)
        next(generator)
        assert generator.send("hello") == 1
        assert seen == ["hello"]
        generator.close()

    def test_errors_are_thrown(self) -> None:
        """The generator may catch them, inside its scope."""
        seen: list[Any] = []
        generator = talk(seen)
        next(generator)
        assert generator.throw(KeyError()) == 1
        assert seen == [(KeyError, 1)]
        with pytest.raises(ZeroDivisionError):
            generator.throw(ZeroDivisionError())
        assert seen[-1] == ("closed", 1)
        assert timeout() is None

    def test_closing_closes_the_generator_inside(self) -> None:
        """Its `finally` sees the scope."""
        seen: list[Any] = []
        generator = talk(seen)
        next(generator)
        generator.close()
        assert seen == [("closed", 1)]
        assert timeout() is None

    def test_the_return_value_goes_through_yield_from(self) -> None:
        """A decorated generator delegates and is delegated to like another."""
        seen: list[Any] = []

        def outer() -> Generator[Any, Any, str]:
            result = yield from talk(seen)
            return result.upper()

        generator = outer()
        next(generator)
        with pytest.raises(StopIteration) as stopped:
            generator.send("stop")
        assert stopped.value.value == "RETURNED 1.0"

    def test_two_generators_may_be_interleaved(self) -> None:
        """Each keeps to its own scope."""

        def ticks() -> Generator[float | None, None, None]:
            while True:
                yield timeout()

        one, two = override(timeout=1)(ticks)(), override(timeout=2)(ticks)()
        assert [next(one), next(two), next(one), next(two)] == [1, 2, 1, 2]
        one.close()
        two.close()
        assert state.scopes() == ()

    def test_a_context_manager_may_be_made_of_it(self) -> None:
        """What its block raises is thrown into it; the block itself is outside the scope."""
        seen: list[float | None] = []

        @contextlib.contextmanager
        @override(timeout=1)
        def block() -> Generator[float | None, None, None]:
            try:
                yield timeout()
            except KeyError:
                seen.append(timeout())

        def fail() -> None:
            raise KeyError

        with block() as value:
            assert (value, timeout()) == (1, None)
            fail()
        assert seen == [1]


class TestAroundAsynchronousGenerators:
    async def test_each_step_runs_inside_and_the_caller_outside(self) -> None:
        """A suspended generator does not leak its scope."""
        assert inspect.isasyncgenfunction(talk_async)
        generator = talk_async([])
        assert [await anext(generator), timeout(), await anext(generator)] == [1, None, 1]
        await generator.aclose()
        assert timeout() is None

    async def test_values_are_sent_until_it_ends(self) -> None:
        """They arrive where the generator waits."""
        seen: list[Any] = []
        generator = talk_async(seen)
        await anext(generator)
        assert await generator.asend("hello") == 1
        with pytest.raises(StopAsyncIteration):
            await generator.asend("stop")
        assert seen == ["hello", "stop", ("closed", 1)]

    async def test_errors_are_thrown(self) -> None:
        """The generator may catch them, inside its scope."""
        seen: list[Any] = []
        generator = talk_async(seen)
        await anext(generator)
        assert await generator.athrow(KeyError()) == 1
        with pytest.raises(ZeroDivisionError):
            await generator.athrow(ZeroDivisionError())
        assert seen == [(KeyError, 1), ("closed", 1)]

    async def test_closing_closes_the_generator_inside(self) -> None:
        """Its `finally` sees the scope."""
        seen: list[Any] = []
        generator = talk_async(seen)
        await anext(generator)
        await generator.aclose()
        assert seen == [("closed", 1)]
        assert timeout() is None

    async def test_it_is_iterated(self) -> None:
        """As `async for` does, to the end."""

        @override(timeout=1)
        async def three() -> AsyncGenerator[float | None, None]:
            for _ in range(3):
                yield timeout()

        assert [value async for value in three()] == [1, 1, 1]


class TestBind:
    def test_a_thread_starts_without_the_callers_scopes(self) -> None:
        """That is what bind() is for."""
        with override(timeout=1), ThreadPoolExecutor(1) as executor:
            assert executor.submit(timeout).result() is None
            assert executor.submit(bind(timeout)).result() == 1

    def test_it_carries_what_was_in_force_where_it_was_bound(self) -> None:
        """Not what is in force where it runs."""
        with override(timeout=1):
            bound = bind(timeout)
        with override(timeout=2):
            assert bound() == 1
            assert timeout() == 2

    def test_bound_without_scopes_it_runs_without(self) -> None:
        """Which also is what was in force."""
        bound = bind(timeout)
        with override(timeout=2):
            assert bound() is None
            assert timeout() == 2

    def test_it_may_run_in_several_threads_at_once(self) -> None:
        """Each call has the scopes for itself."""
        together = threading.Barrier(4)

        def ask() -> float | None:
            together.wait(10)
            return timeout()

        with override(timeout=1):
            bound = bind(ask)
        with ThreadPoolExecutor(4) as executor:
            futures = [executor.submit(bound) for _ in range(4)]
            assert [future.result() for future in futures] == [1, 1, 1, 1]

    def test_scopes_inside_go_on_top(self) -> None:
        """And are gone afterwards."""

        def ask() -> tuple[float | None, str | None]:
            with override(transport="rest"):
                return timeout(), get_config().transport

        with override(timeout=1):
            bound = bind(ask)
        assert bound() == (1, "rest")
        assert state.scopes() == ()

    def test_a_bound_generator_keeps_the_scopes_that_it_is_suspended_in(self) -> None:
        """Its own included; the caller sees none of them."""

        def steps() -> Generator[float | None, None, None]:
            yield timeout()
            with override(timeout=2):
                yield timeout()
                yield timeout()
            yield timeout()

        with override(timeout=1):
            bound = bind(steps)
        for _ in range(2):
            seen = [(value, timeout()) for value in bound()]
            assert seen == [(1, None), (2, None), (2, None), (1, None)]

    async def test_coroutine_functions_are_bound(self) -> None:
        """In a thread with an event loop of its own."""

        async def ask() -> float | None:
            await asyncio.sleep(0)
            return timeout()

        with override(timeout=1):
            bound = bind(ask)
        assert await asyncio.to_thread(lambda: asyncio.run(bound())) == 1
        assert await bound() == 1

    async def test_asynchronous_generators_are_bound(self) -> None:
        """Step by step."""

        async def two() -> AsyncGenerator[float | None, None]:
            yield timeout()
            yield timeout()

        with override(timeout=1):
            bound = bind(two)
        assert [(value, timeout()) async for value in bound()] == [(1, None), (1, None)]

    def test_partials_are_bound(self) -> None:
        """Anything that can be called."""
        with override(timeout=1):
            bound = bind(functools.partial(lambda times: (timeout() or 0) * times, 3))
        assert bound() == 3


class TestSeparation:
    def test_threads_do_not_see_each_others_scopes(self) -> None:
        """Each sees its own while all are inside."""
        together = threading.Barrier(4)

        def ask(seconds: float) -> float | None:
            with override(timeout=seconds):
                together.wait(10)
                seen = timeout()
                together.wait(10)
                return seen

        with ThreadPoolExecutor(4) as executor:
            assert list(executor.map(ask, [1, 2, 3, 4])) == [1, 2, 3, 4]

    async def test_tasks_do_not_see_each_others_scopes(self) -> None:
        """Each sees its own, and those of whoever started it."""

        async def ask(seconds: float) -> tuple[float | None, str | None]:
            async with override(timeout=seconds):
                await asyncio.sleep(0)
                return timeout(), get_config().transport

        async with override(transport="rest"):
            seen = await asyncio.gather(*(ask(seconds) for seconds in (1, 2, 3)))
        assert seen == [(1, "rest"), (2, "rest"), (3, "rest")]
        assert timeout() is None

    async def test_a_task_outlives_its_starters_scope(self) -> None:
        """It keeps what was in force when it was started."""
        release = asyncio.Event()

        async def ask() -> float | None:
            await release.wait()
            return timeout()

        with override(timeout=1):
            task = asyncio.ensure_future(ask())
        release.set()
        assert await task == 1


ANONYMOUS = AnonymousCredentials()


def usual(function: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as people write them: its wrapper is a plain function."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class TestWhatRunsLater:
    """A function may return what has not run yet: it runs inside, and its steps alone do."""

    async def test_a_coroutine_behind_a_usual_decorator(self) -> None:
        """Also from a lambda, and where it is bound."""

        async def wait() -> float | None:
            await asyncio.sleep(0)
            return timeout()

        assert await override(timeout=1)(usual(wait))() == 1
        assert await override(timeout=2)(lambda: wait())() == 2  # noqa: PLW0108 -- as people do
        with override(timeout=3):
            bound: Any = bind(lambda: wait())  # noqa: PLW0108 -- as people do
        assert await bound() == 3
        assert timeout() is None

    def test_a_generator_behind_a_usual_decorator(self) -> None:
        """What it is sent, what it returns and its end are as without the scope."""
        ended = []

        def steps() -> Generator[Any, Any, str]:
            try:
                given = yield timeout()
                yield (given, timeout())
            finally:
                ended.append(timeout())
            return "end"

        generator = override(timeout=1)(usual(steps))()
        assert next(generator) == 1
        assert timeout() is None
        assert generator.send("sent") == ("sent", 1)
        with pytest.raises(StopIteration, match="end"):
            next(generator)
        assert ended == [1]

    async def test_an_asynchronous_generator_behind_a_usual_decorator(self) -> None:
        """The same."""

        async def steps() -> AsyncGenerator[Any, Any]:
            yield timeout()
            await asyncio.sleep(0)
            yield timeout()

        seen = [(inside, timeout()) async for inside in override(timeout=1)(usual(steps))()]
        assert seen == [(1, None), (1, None)]


class TestModelTypes:
    """Scopes that look for the credentials that they need when they are entered."""

    @pytest.mark.parametrize(
        ("settings", "auth"),
        [
            ({"api_key": "made-up"}, "api_key"),
            ({"api_key": "made-up", "credentials": ANONYMOUS}, "api_key"),
            ({"api_key": "made-up", "auth": "api_key"}, "api_key"),
            ({"credentials": ANONYMOUS}, "oauth"),
            ({"api_key": "made-up", "credentials": ANONYMOUS, "auth": "oauth"}, "oauth"),
        ],
    )
    def test_base_models_take_the_key_if_there_is_one(
        self, settings: dict[str, Any], auth: str
    ) -> None:
        """Otherwise, or where OAuth was asked for, it is OAuth; either way nothing else inside."""
        with base_models(**settings):
            assert get_config().auth == auth
        assert get_config().auth == "auto"
        assert state.scopes() == ()

    @pytest.mark.parametrize("scope", [base_models, tuned_models])
    async def test_a_reference_is_read_on_entry(self, scope: Any, tmp_path: Path) -> None:
        """A secret that is not there fails the start, and not the first request."""
        missing = from_file(tmp_path / "key")
        setting = "api_key" if scope is base_models else "credentials"
        with pytest.raises(SecretReferenceError, match="key"), scope(**{setting: missing}):
            pytest.fail("it was entered")
        with pytest.raises(SecretReferenceError, match="key"):
            async with scope(**{setting: missing}):
                pytest.fail("it was entered")
        (tmp_path / "key").write_text("made-up-key")
        if scope is base_models:
            with base_models(api_key=missing):
                assert get_config().auth == "api_key"
        assert state.scopes() == ()

    def test_base_models_decide_anew_on_each_entry(self) -> None:
        """One object serves whatever is configured at the moment."""
        scope = base_models(credentials=ANONYMOUS)
        with scope:
            assert get_config().auth == "oauth"
            with override(auth="auto", api_key="made-up"), scope:
                assert get_config().auth == "api_key"
            assert get_config().auth == "oauth"
        assert state.scopes() == ()

    @pytest.mark.parametrize("tuned", ["grpc", "rest"])
    def test_tuned_models_take_one_transport(self, tuned: Any) -> None:
        """Inside, `transport` and `tuned_transport` are one; nobody could tell which counts."""
        with pytest.raises(ConfigurationError, match="give one of them"):
            tuned_models(transport="rest", tuned_transport=tuned)

    def test_base_models_without_anything_fail_on_entry(self) -> None:
        """The error names all that was looked for, and both remedies."""
        with pytest.raises(CredentialsNotFoundError, match=r"GEMINI_API_KEY \(not set") as caught:
            base_models().__enter__()
        assert "safe_configure(api_key=" in caught.value.remedy
        assert "gcloud auth application-default login" in caught.value.remedy
        assert state.scopes() == ()

    def test_base_models_by_key_alone_fail_without_one(self) -> None:
        """Credentials do not help where they were ruled out."""
        with pytest.raises(APIKeyRequiredError, match=r"GOOGLE_API_KEY \(not set"):
            base_models(auth="api_key", credentials=ANONYMOUS).__enter__()

    def test_base_models_by_oauth_alone_fail_without_credentials(self) -> None:
        """A key does not help where it was ruled out."""
        with pytest.raises(CredentialsNotFoundError) as caught:
            base_models(auth="oauth", api_key="made-up").__enter__()
        assert "API key" not in caught.value.problem

    @pytest.mark.parametrize(
        ("transport", "expected"),
        [(None, "grpc"), ("rest", "rest"), ("grpc", "grpc"), ("grpc_asyncio", "grpc")],
    )
    def test_tuned_models_go_by_oauth(self, transport: Any, expected: str) -> None:
        """`transport` is that of the tuned models here."""
        with tuned_models(credentials=ANONYMOUS, transport=transport):
            assert (get_config().auth, get_config().tuned_transport) == ("oauth", expected)
            assert get_config().transport is None
        assert get_config().auth == "auto"

    def test_tuned_models_go_by_oauth_if_auth_is_not_given(self) -> None:
        """None says nothing, here as elsewhere."""
        with tuned_models(credentials=ANONYMOUS, auth=None):
            assert get_config().auth == "oauth"

    def test_tuned_models_without_credentials_fail_on_entry(self) -> None:
        """A key is no help; the error says which command to type."""
        with pytest.raises(CredentialsNotFoundError, match="gcloud auth application-default"):
            tuned_models(api_key="made-up").__enter__()
        assert state.scopes() == ()

    def test_tuned_models_by_api_key_are_refused_where_they_are_made(self) -> None:
        """No request inside could ever succeed."""
        with pytest.raises(ConfigurationError, match="OAuth credentials") as caught:
            tuned_models(credentials=ANONYMOUS, auth=" api_key")  # type: ignore[arg-type] # trimmed
        assert caught.value.remedy.startswith("leave auth out")

    @pytest.mark.parametrize("scope", [base_models, tuned_models])
    async def test_they_work_asynchronously(self, scope: Callable[..., Scope]) -> None:
        """Looking for credentials leaves the event loop free."""

        @scope(credentials=ANONYMOUS)
        async def auth() -> str:
            await asyncio.sleep(0)
            return get_config().auth

        async with scope(credentials=ANONYMOUS):
            assert get_config().auth == "oauth"
        assert await auth() == "oauth"
        with pytest.raises(CredentialsNotFoundError):
            await scope().__aenter__()
        assert state.scopes() == ()


class TestVerbs:
    def test_a_model_keeps_the_configuration_it_was_made_in(self) -> None:
        """Its clients are pinned to that snapshot."""
        with override(api_key="made-up"):
            snapshot = state.current()
            model: Any = generative_model("gemini-3.6-flash")
        assert model.model_name == "models/gemini-3.6-flash"
        assert model._client._pinned is snapshot
        assert model._async_client._pinned is snapshot

    def test_reset_and_uninstall_need_nothing_loaded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no request was ever made there is nothing to forget."""
        uninstall()
        for room in ("_auth.token_source", "_transport.channels", "_sdk.manager"):
            monkeypatch.delitem(sys.modules, f"genai_config.{room}", raising=False)
        safe = state.published
        reset()
        uninstall()
        assert state.published == safe == ()
        assert "genai_config._sdk.manager" not in sys.modules


def test_a_generators_own_scope_is_suspended_with_it() -> None:
    """What it has entered by itself stays with it, above the decorator's, step after step."""

    @override(timeout=1)
    def generator() -> Iterator[float | None]:
        with override(timeout=2):
            yield get_config().timeout
            yield get_config().timeout
        yield get_config().timeout

    seen = [(inside, get_config().timeout) for inside in generator()]
    assert seen == [(2, None), (2, None), (1, None)]


async def test_an_object_that_is_called_and_awaited_is_a_coroutine_function() -> None:
    """Its scope lasts until it has been awaited."""

    class Called:
        async def __call__(self) -> float | None:
            await asyncio.sleep(0)
            return get_config().timeout

    assert await override(timeout=1)(Called())() == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": ""},
        {"api_key": " \n"},
        {"api_key": SecretStr("")},
        {"client_options": {"api_key": ""}},
        {"client_options": ClientOptions(api_key="")},
    ],
)
@pytest.mark.parametrize("scope", [override, base_models])
def test_no_scope_is_for_an_empty_key(scope: Any, settings: dict[str, Any]) -> None:
    """Its requests would carry somebody else's."""
    safe_configure(api_key="the-process")
    with override(api_key="another-tenant") as outside:
        with pytest.raises(ConfigurationError, match="UNSET"):
            scope(**settings)
        with scope(api_key=None, timeout=3):
            assert get_config().api_key == outside.api_key
