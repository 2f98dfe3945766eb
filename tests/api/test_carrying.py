"""Configurations that travel to other processes: by pickle, by reference, without a secret."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import multiprocessing
import os
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.auth.credentials import AnonymousCredentials

from genai_config import (
    UNSET,
    GenAIConfig,
    bind,
    carry,
    explain,
    from_env,
    from_file,
    get_config,
    override,
    reset,
    safe_configure,
    uninstall,
)
from genai_config._api import carrying
from genai_config._settings import portable
from genai_config.exceptions import ConfigurationError, SecretPicklingError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

KEY = "AIzaSyMadeUpAndLongEnough0123456789"
REFERENCE = from_file("/run/secrets/gemini")


def settings(*names: str) -> tuple[Any, ...]:
    """Settings in force: what these tests send to the other side."""
    return tuple(getattr(get_config(), name) for name in names or ("api_key", "timeout"))


async def settings_async() -> tuple[Any, ...]:
    """The same, awaited."""
    await asyncio.sleep(0)
    return settings()


def settings_twice() -> Iterator[tuple[Any, ...]]:
    """The same, from a generator."""
    yield settings()
    yield settings()


async def settings_twice_async() -> AsyncIterator[tuple[Any, ...]]:
    """The same, from an asynchronous generator."""
    yield settings()
    yield settings()


class Asking:
    """A class with a method that is bound."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ask(self) -> tuple[Any, ...]:
        """Settings in force, and whose method it is."""
        return (self.name, *settings())

    asked = bind(ask)


def sent(thing: Any) -> Any:
    """What arrives in a process that has configured something else."""
    pickled = pickle.dumps(thing)
    assert KEY.encode() not in pickled
    reset()
    safe_configure(api_key="the-other-sides-own-key", quota_project="the-other-side")
    return pickle.loads(pickled)  # noqa: S301 -- our own


@pytest.fixture
def _configured() -> None:
    safe_configure(api_key=REFERENCE, timeout=7)


@pytest.mark.usefixtures("_configured")
class TestBind:
    def test_it_brings_the_configuration_and_the_scopes(self) -> None:
        """In force for the call alone; what the other side has configured does not count."""
        with override(timeout=3):
            bound = bind(settings)
        other = sent(bound)
        assert other("api_key", "timeout", "quota_project") == (REFERENCE, 3, None)
        assert settings("timeout", "quota_project") == (None, "the-other-side")
        with override(timeout=1):
            assert other() == (REFERENCE, 3)
            assert get_config().timeout == 1

    def test_scopes_inside_lie_on_top(self) -> None:
        """What the function changes for itself, it changes."""

        def inside() -> Any:
            with override(timeout=1):
                return settings()

        bound = carrying.Bound(inside, sent(bind(settings))._layers)
        assert bound() == (REFERENCE, 1)

    def test_the_other_sides_environment_counts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing is set, it gives the key, as everywhere."""
        reset()
        safe_configure(timeout=7)
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-on-this-side")
        other = sent(bind(settings))
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-on-that-side")
        key, timeout = other()
        assert key.get_secret_value() == "made-up-on-that-side"
        assert timeout == 7
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-later")
        assert other()[0].get_secret_value() == "made-up-later"

    @pytest.mark.parametrize("function", [settings_async, settings_twice, settings_twice_async])
    def test_it_is_what_the_function_is(self, function: Callable[..., Any]) -> None:
        """A coroutine function, a generator function of either kind; on the other side as well."""
        for one in (bind(function), sent(bind(function))):
            for kind in ("coroutine", "generator", "asyncgen"):
                asks = getattr(inspect, f"is{kind}function")
                assert asks(one) == asks(function)
            assert one.__name__ == function.__name__
            assert inspect.signature(one) == inspect.signature(function)
            assert inspect.getfullargspec(one) == inspect.getfullargspec(function)
            assert not hasattr(one, "nothing")
            assert function.__name__ in repr(one)
            assert "genai_config" in repr(one)

    async def test_coroutines_and_generators(self) -> None:
        """Each step runs in what has come along, and whoever iterates does not."""
        assert await sent(bind(settings_async))() == (REFERENCE, 7)
        safe_configure(api_key=REFERENCE, timeout=7, quota_project=UNSET)
        for found in sent(bind(settings_twice))():
            assert found == (REFERENCE, 7)
            assert get_config().timeout is None
        safe_configure(api_key=REFERENCE, timeout=7, quota_project=UNSET)
        async for found in sent(bind(settings_twice_async))():
            assert found == (REFERENCE, 7)
            assert get_config().timeout is None

    def test_a_method(self) -> None:
        """It is bound to its object like a function."""
        assert Asking("mine").asked() == ("mine", REFERENCE, 7)
        assert Asking.asked(Asking("yours"))[0] == "yours"

    def test_with_arguments_by_partial(self) -> None:
        """A partial of it travels, too."""
        assert sent(functools.partial(bind(settings), "timeout"))() == (7,)

    def test_it_travels_on(self) -> None:
        """From there to a third process, and into a thread there."""
        first = sent(bind(settings))
        assert sent(first)() == (REFERENCE, 7)
        with_scope = carrying.Bound(_bound_again, first._layers)
        assert sent(with_scope())() == (REFERENCE, 9)
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            assert threads.submit(with_scope()).result() == (REFERENCE, 9)

    def test_what_is_set_later_here(self) -> None:
        """In this process a bound function follows; what is on its way does not."""
        bound = bind(settings)
        safe_configure(timeout=8)
        assert bound() == (REFERENCE, 8)
        pickled = pickle.dumps(bound)
        safe_configure(timeout=9)
        assert pickle.loads(pickled)() == (REFERENCE, 8)  # noqa: S301 -- our own

    def test_configuring_inside_is_the_processs(self) -> None:
        """`safe_configure` in a function that has come along changes the process, not the call."""

        def configures() -> Any:
            safe_configure(timeout=1)
            return settings()

        bound = carrying.Bound(configures, sent(bind(settings))._layers)
        assert bound() == (REFERENCE, 7)
        assert get_config().timeout == 1

    def test_it_installs(self) -> None:
        """The SDK's calls on the other side go by it."""
        other = sent(bind(_is_installed))
        uninstall()
        assert not _is_installed()
        assert other()
        uninstall()

    def test_the_origins_come_along(self) -> None:
        """`explain` on the other side tells where a value was set on this one."""
        found = {one.name: one.source for one in sent(bind(_explained))()}
        assert found["timeout"].kind == "safe_configure"
        assert "test_carrying.py" in found["timeout"].place

    def test_equal_ones_are_decided_once(self) -> None:
        """Each task brings its own copy, and all share what has been made of it."""
        pickled = pickle.dumps(bind(get_config))
        first, second = (pickle.loads(pickled) for _ in range(2))  # noqa: S301 -- our own
        assert first() is second() is first()

    def test_by_cloudpickle(self) -> None:
        """Which Dask, Ray and Spark use; a function of no module travels with it."""
        cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
        given = 5
        bound = bind(lambda: (*settings(), given))
        pickled = cloudpickle.dumps(bound)
        reset()
        assert cloudpickle.loads(pickled)() == (REFERENCE, 7, 5)
        # The function inside, which some look at for themselves, brings it along as well.
        pickled = cloudpickle.dumps(cloudpickle.loads(pickled).func)
        assert cloudpickle.loads(pickled)() == (REFERENCE, 7, 5)


def _bound_again() -> Any:
    with override(timeout=9):
        return bind(settings)


def _is_installed() -> bool:
    from genai_config._sdk import manager

    return manager.is_installed()


def _explained() -> Any:
    return explain().settings


SECRETS: dict[str, dict[str, Any]] = {
    "a literal": {"api_key": KEY},
    "the content of a key file": {
        "credentials": {
            "type": "authorized_user",
            "client_id": "me",
            "client_secret": KEY,
            "refresh_token": KEY,
        }
    },
    "google-auth": {"credentials": AnonymousCredentials()},
    "function": {"credentials": lambda: KEY},
    "proxy's password": {"proxy": "http://me:made-up-password@proxy.example:1"},
    "default_metadata": {"default_metadata": [("x-auth-token", "made-up-token")]},
    "credential in default_metadata": {"default_metadata": [("x-other", KEY)]},
    "a credential": {"default_metadata": [("x-other-bin", KEY.encode())]},
    "client_cert_source": {"client_options": {"client_cert_source": lambda: (b"c", KEY.encode())}},
}


@pytest.mark.parametrize("what", SECRETS)
@pytest.mark.parametrize("travels", [lambda: bind(settings), carry], ids=["bind", "carry"])
def test_a_literal_secret_stays(what: str, travels: Callable[[], Any]) -> None:
    """The error names what it is, and the references; here it works as ever."""
    with override(**SECRETS[what]):
        one = travels()
    with pytest.raises(SecretPicklingError, match=what) as caught:
        pickle.dumps(one)
    for reference in ("from_env", "from_file", "from_command", "from_secret_manager"):
        assert reference in caught.value.remedy
    if "credentials" in SECRETS[what]:
        return  # a key file is looked at where it is configured
    safe_configure(**SECRETS[what])
    with pytest.raises(SecretPicklingError, match=what):
        pickle.dumps(travels())


def test_what_was_set_without_this_library_counts() -> None:
    """A raw `genai.configure()` before everything else: its key stays here, and is not lost."""
    uninstall()
    try:
        genai.configure(api_key=KEY)
        for one in (bind(settings), carry()):
            with pytest.raises(SecretPicklingError, match="a literal"):
                pickle.dumps(one)
    finally:
        genai.configure()


def test_without_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not loaded it has set nothing."""
    monkeypatch.delitem(sys.modules, "google.generativeai")
    with override(quota_project="my-project"):
        assert b"my-project" in pickle.dumps(carry())


@pytest.mark.parametrize("function", [None, 3, "answer"])
def test_what_is_no_function_is_refused(function: Any) -> None:
    """Where it is given, and not at the call."""
    with pytest.raises(ConfigurationError, match="bind takes a function"):
        bind(function)


def test_a_variables_key_in_a_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is that of the other side's variable; where there is none, the request says so."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    with override(api_key=get_config().api_key):
        bound = bind(settings)
    monkeypatch.delenv("GEMINI_API_KEY")
    assert sent(bound)("api_key") == (from_env("GEMINI_API_KEY"),)


def test_what_is_overruled_stays() -> None:
    """A literal key that a reference has replaced is no matter, nor is one that was cleared."""
    safe_configure(api_key=KEY, default_metadata=[("x-token", KEY)])
    safe_configure(api_key=REFERENCE, timeout=7)
    with override(default_metadata=UNSET):
        assert sent(bind(settings))("api_key", "default_metadata") == (REFERENCE, ())


def test_a_profile_travels(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says, and not where it is: there is no such file on the other side."""
    file = tmp_path / "genai-config.toml"
    file.write_text("""
        [profiles.mine]
        timeout = 5
        quota_project = "my-project"
        api_key = { from_file = "key" }
        [profiles.other]
        auth_timeout = 2
    """)
    monkeypatch.chdir(tmp_path)
    safe_configure(profile="mine", timeout=7)
    bound = bind(settings)
    names = ("api_key", "timeout", "quota_project", "auth_timeout")
    expected = (from_file(tmp_path / "key"), 7, "my-project", 30)
    assert bound(*names) == expected
    pickled = pickle.dumps(bound)
    reset()
    file.unlink()
    other = pickle.loads(pickled)  # noqa: S301 -- our own
    assert other(*names) == expected
    monkeypatch.setenv("GENAI_CONFIG_PROFILE", "other")
    file.write_text("[profiles.other]\nauth_timeout = 2\n")
    assert other(*names) == expected


def test_everything_else_travels() -> None:
    """Cleared settings, headers, endpoints, a proxy without a password, a path, a reference."""
    given: dict[str, Any] = {
        "api_key": UNSET,
        "credentials": from_file("/key.json"),
        "proxy": "http://proxy.example:1",
        "default_metadata": [("x-team", "a"), ("x-team", "b"), ("x-b-bin", b"c")],
        "client_options": {"api_endpoint": "here.example"},
        "tuned_endpoints": {"tunedModels/a": "1"},
        "scopes": ["email"],
    }
    safe_configure(**given)
    before = get_config()
    assert sent(bind(get_config))() == before == GenAIConfig().merge(**given)


class TestCarry:
    def test_a_block(self) -> None:
        """As `bind`, for code that is no single function; it may be entered again and at once."""
        safe_configure(api_key=REFERENCE, timeout=7)
        with override(timeout=3):
            carried = carry()
        assert "genai_config" in repr(carried)
        other = sent(carried)
        for _ in range(2):
            with other as config, other:
                assert settings() == (REFERENCE, 3)
                assert config == get_config()
                with override(timeout=1):
                    assert settings() == (REFERENCE, 1)
                    with other:
                        assert settings() == (REFERENCE, 3)
                    assert settings() == (REFERENCE, 1)
            assert settings("timeout", "quota_project") == (None, "the-other-side")

    def test_in_this_process(self) -> None:
        """It is what was in force where it was made; a literal key is no matter here."""
        safe_configure(api_key=KEY, timeout=7)
        carried = carry()
        safe_configure(timeout=8)
        with carried:
            assert get_config().timeout == 7
            travels_on = carry()
        with travels_on:
            assert get_config().timeout == 7
        assert get_config().timeout == 8

    def test_an_initializer_of_another_process(self) -> None:
        """Calling it configures the process, in place of what was configured there."""
        safe_configure(api_key=REFERENCE, timeout=7)
        other = sent(carry())
        uninstall()
        other()
        assert settings("api_key", "timeout", "quota_project") == (REFERENCE, 7, None)
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            assert threads.submit(settings).result() == (REFERENCE, 7)

    def test_an_initializer_of_threads(self) -> None:
        """In the process that made it, calling it concerns the thread alone."""
        with override(timeout=3):
            carried = carry()
        with concurrent.futures.ThreadPoolExecutor(1, initializer=carried) as threads:
            assert threads.submit(settings).result()[1] == 3
        assert get_config().timeout is None

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
    def test_an_initializer_of_a_forked_process(self) -> None:
        """It is not pickled there: a literal key comes along, for the whole process."""
        with override(api_key=KEY, timeout=3):
            carried = carry()
        context = multiprocessing.get_context("fork")
        with concurrent.futures.ProcessPoolExecutor(1, context, carried) as workers:
            assert workers.submit(_in_a_thread).result() == (True, 3)


def _in_a_thread() -> tuple[bool, float | None]:  # pragma: no cover -- in a forked process
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(settings()))
    thread.start()
    thread.join()
    return found[0] is not None, found[1]


@pytest.mark.parametrize(
    "method", [one for one in multiprocessing.get_all_start_methods() if one != "fork"]
)
def test_another_process(method: str, tmp_path: Any) -> None:
    """Really: nothing is inherited, all comes by pickle; the secret is read there."""
    file = tmp_path / "key"
    file.write_text(KEY)
    safe_configure(api_key=from_file(file), timeout=7)
    context = multiprocessing.get_context(method)
    with (
        override(timeout=3),
        concurrent.futures.ProcessPoolExecutor(1, context, carry()) as workers,
    ):
        # A function that the other process can import, wherever the tests are.
        bound = bind(get_config)
        safe_configure(quota_project="my-project")
        here, there = (workers.submit(function).result() for function in (get_config, bound))
    assert (here.api_key, here.timeout) == (from_file(file), 3)
    assert (there.timeout, there.quota_project) == (3, "my-project")


@pytest.mark.parametrize(
    ("version", "values"),
    [(portable.FORMAT + 1, ()), (portable.FORMAT, (("api_kye", "x"),))],
    ids=["format", "setting"],
)
def test_a_pickle_that_is_not_understood(version: int, values: Any) -> None:
    """Of another version, or with a setting that this one does not have."""
    carried = ((("override", "here", values), None),)
    for restore in (
        lambda: carrying._carried(version, carried),
        lambda: carrying._bound(version, settings, carried),
    ):
        with pytest.raises(ConfigurationError, match="same version"):
            restore()


def test_a_variables_key_that_was_set_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is what the variable holds on the other side."""
    monkeypatch.setenv("GEMINI_API_KEY", "made-up-here")
    safe_configure(get_config().merge(credentials=from_file("/key.json")))
    pickled = pickle.dumps(bind(settings))
    assert b"made-up-here" not in pickled
    assert pickle.loads(pickled)()[0] == from_env("GEMINI_API_KEY")  # noqa: S301 -- our own
    assert from_env("GEMINI_API_KEY").variable == "GEMINI_API_KEY"
