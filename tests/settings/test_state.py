"""The layers of the configuration: which of them wins, and what never happens to them."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import threading
import types
import warnings
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.auth.credentials import AnonymousCredentials

import genai_config
from genai_config import (
    UNSET,
    GenAIConfig,
    _masking,
    get_config,
    is_configured,
    override,
    reset,
    safe_configure,
)
from genai_config._settings import context_scopes
from genai_config._settings import state as _state
from genai_config._settings.patch import make_patch
from genai_config._settings.secrets import Secret
from genai_config._settings.state import Layer, Origin, State, state
from genai_config.exceptions import (
    ConfigurationError,
    EnvironmentConflictWarning,
    EnvironmentValueWarning,
    GenAIConfigWarning,
    RawConfigureWarning,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._settings.layers import Kind


def key() -> str | None:
    """The API key in force."""
    secret = get_config().api_key
    return secret.get_secret_value() if isinstance(secret, Secret) else None


def layer(place: str, kind: Kind = "safe_configure", **settings: Any) -> Layer:
    """A layer from a place."""
    return Layer(make_patch(settings), Origin(kind, place))


class TestPrecedence:
    """One test for each pair of neighbouring levels."""

    def test_the_environment_beats_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With nothing configured, it says all there is to say."""
        assert key() is None
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us")
        assert (key(), get_config().location) == ("environment", "us")

    def test_what_was_adopted_beats_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A raw genai.configure() before us was somebody's choice."""
        genai.configure(api_key="adopted")
        try:
            monkeypatch.setenv("GEMINI_API_KEY", "environment")
            safe_configure(timeout=1)
            assert key() == "adopted"
            assert [one.origin.kind for one in state.current().layers] == [
                "environment",
                "genai.configure",
                "safe_configure",
            ]
        finally:
            genai_config.uninstall()
            genai.configure()

    def test_safe_configure_beats_what_was_adopted(self) -> None:
        """Setting by setting: what it does not say stays adopted."""
        genai.configure(api_key="adopted", transport="rest")
        try:
            safe_configure(api_key="configured")
            assert (key(), get_config().transport) == ("configured", "rest")
        finally:
            genai_config.uninstall()
            genai.configure()

    def test_a_later_safe_configure_beats_an_earlier_one(self) -> None:
        """And leaves what it does not say."""
        safe_configure(api_key="first", transport="rest")
        safe_configure(api_key="second")
        assert (key(), get_config().transport) == ("second", "rest")

    def test_a_raw_configure_beats_an_earlier_safe_configure(self) -> None:
        """By default it replaces the SDK's settings, as in the SDK, and leaves ours."""
        safe_configure(api_key="first", transport="rest", timeout=1)
        with pytest.warns(RawConfigureWarning, match=r"transport \(dropped"):
            genai.configure(api_key="raw")
        assert (key(), get_config().transport, get_config().timeout) == ("raw", None, 1)

    def test_a_scope_beats_safe_configure(self) -> None:
        """Whichever of the two came later."""
        with override(api_key="scope"):
            safe_configure(api_key="configured")
            assert key() == "scope"
        assert key() == "configured"

    def test_an_inner_scope_beats_an_outer_one(self) -> None:
        """And the outer one is back afterwards."""
        with override(api_key="outer"):
            with override(api_key="inner"):
                assert key() == "inner"
            assert key() == "outer"

    def test_a_scope_beats_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With nothing between them."""
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        with override(api_key="scope"):
            assert key() == "scope"
        assert key() == "environment"


class TestEnvironment:
    def test_a_variable_set_after_the_import_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is read when it is needed, and again when it has changed."""
        safe_configure(transport="rest")
        assert key() is None
        monkeypatch.setenv("GOOGLE_API_KEY", "one")
        assert key() == "one"
        monkeypatch.setenv("GOOGLE_API_KEY", "two")
        assert key() == "two"
        monkeypatch.delenv("GOOGLE_API_KEY")
        assert key() is None

    def test_a_conflict_is_told_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """GEMINI_API_KEY wins; exactly one warning says so, and points at the caller."""
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-gemini")
        monkeypatch.setenv("GOOGLE_API_KEY", "made-up-google")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert key() == "made-up-gemini"
            monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us")
            assert key() == "made-up-gemini"
            with override(timeout=1):
                assert key() == "made-up-gemini"
        (warning,) = caught
        assert warning.category is EnvironmentConflictWarning
        assert "GEMINI_API_KEY is taken" in str(warning.message)
        assert "made-up" not in str(warning.message)
        assert warning.filename == __file__

    def test_after_a_reset_a_conflict_is_told_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Everything starts anew."""
        monkeypatch.setenv("GEMINI_API_KEY", "a")
        monkeypatch.setenv("GOOGLE_API_KEY", "b")
        for _ in range(2):
            with pytest.warns(EnvironmentConflictWarning):
                State().current()

    def test_equal_keys_are_no_conflict(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Warnings are errors here: there is none."""
        monkeypatch.setenv("GEMINI_API_KEY", "same")
        monkeypatch.setenv("GOOGLE_API_KEY", " same ")
        assert key() == "same"

    @pytest.mark.parametrize(
        "settings", [{"api_key": "given"}, {"credentials": AnonymousCredentials()}]
    )
    def test_a_conflict_that_does_not_matter_is_not_told(
        self, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever chose a key or credentials has nothing to mend."""
        monkeypatch.setenv("GEMINI_API_KEY", "a")
        monkeypatch.setenv("GOOGLE_API_KEY", "b")
        safe_configure(**settings)
        assert key() == settings.get("api_key")

    def test_explicit_credentials_beat_the_environments_key(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A key that lies about is no choice; both given by hand are both kept."""
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        with override(credentials=AnonymousCredentials()):
            assert key() is None
            with override(credentials=UNSET):
                assert key() == "environment"
            with override(api_key="by-hand"):
                assert key() == "by-hand"
                assert get_config().credentials is not None
        assert key() == "environment"

    def test_unset_beats_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing below shows through."""
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "environment")
        safe_configure(api_key=UNSET, project=UNSET)
        assert (key(), get_config().project) == (None, None)

    @pytest.mark.parametrize(
        ("variable", "value", "setting"),
        [
            ("GEMINI_API_KEY", "made up", {"api_key": "k"}),
            ("GEMINI_API_KEY", "'made-up'", {"credentials": AnonymousCredentials()}),
            ("GOOGLE_API_KEY", "made\tup", {"api_key": UNSET}),
        ],
    )
    def test_a_malformed_key_is_an_error_only_when_it_matters(
        self,
        variable: str,
        value: str,
        setting: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The error names the variable; with the setting given by hand there is none."""
        monkeypatch.setenv(variable, value)
        with pytest.raises(ConfigurationError, match=f"{variable} cannot be used") as caught:
            get_config()
        assert f"correct {variable}, or unset it" in caught.value.remedy
        with override(**setting):
            assert get_config() is not None

    @pytest.mark.parametrize(
        ("variable", "value", "setting"),
        [
            ("GOOGLE_CLOUD_LOCATION", "evil.com/", {"location": "us"}),
            ("GOOGLE_CLOUD_PROJECT", "my_project", {"project": "my-project"}),
            ("GOOGLE_CLOUD_QUOTA_PROJECT", "a b", {"quota_project": UNSET}),
        ],
    )
    def test_another_malformed_variable_is_left_out_with_a_warning(
        self,
        variable: str,
        value: str,
        setting: dict[str, Any],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """It may be there for another program, and most requests need none of it."""
        monkeypatch.setenv(variable, value)
        with override(**setting), warnings.catch_warnings():
            warnings.simplefilter("error")
            get_config()
        with pytest.warns(EnvironmentValueWarning, match=f"{variable} cannot be used"):
            assert get_config() == GenAIConfig()
        monkeypatch.setenv("GEMINI_API_KEY", "k")
        assert get_config() == GenAIConfig(api_key="k")  # and it was said once

    def test_a_malformed_key_stops_a_publication(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What could not be in force is not published."""
        safe_configure(transport="rest")
        published = state.published
        monkeypatch.setenv("GEMINI_API_KEY", "made up")
        with pytest.raises(ConfigurationError, match="GEMINI_API_KEY"):
            safe_configure(transport="grpc")
        assert state.published is published

    def test_a_malformed_loser_is_no_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Only the variable that wins has to be good."""
        monkeypatch.setenv("GEMINI_API_KEY", "good")
        monkeypatch.setenv("GOOGLE_API_KEY", "b a d")
        with pytest.warns(EnvironmentConflictWarning):
            assert key() == "good"

    def test_each_variable_is_a_layer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The losers too, below the winner: `explain` shows them."""
        monkeypatch.setenv("GEMINI_API_KEY", "same")
        monkeypatch.setenv("GOOGLE_API_KEY", "same")
        layers = state.current().layers
        assert [one.origin for one in layers] == [
            Origin("environment", "GOOGLE_API_KEY"),
            Origin("environment", "GEMINI_API_KEY"),
        ]
        secret = get_config().api_key
        assert secret is not None
        assert secret.variable == "GEMINI_API_KEY"


class TestPublishing:
    def test_a_statement_that_runs_a_thousand_times_leaves_one_layer(self) -> None:
        """The layers are bounded by the places in the program."""
        for number in range(1, 1001):
            safe_configure(timeout=number)
        assert len([one for one in state.published if "timeout" in one.patch.values]) == 1
        assert get_config().timeout == 1000

    def test_an_older_layer_of_the_same_place_that_said_more_stays(self) -> None:
        """Dropping it would lose a setting."""
        mine = State()
        mine.publish(layer("a.py:1", timeout=1, transport="rest"))
        mine.publish(layer("a.py:1", timeout=2))
        config = mine.current().config
        assert (config.timeout, config.transport) == (2, "rest")
        assert len(mine.published) == 2

    def test_layers_of_other_places_stay(self) -> None:
        """Each is there to be shown with its place."""
        mine = State()
        mine.publish(layer("a.py:1", timeout=1))
        mine.publish(layer("b.py:1", timeout=2))
        mine.publish(layer("a.py:1", "genai.configure", timeout=3))
        assert [one.origin.place for one in mine.published] == ["a.py:1", "b.py:1", "a.py:1"]
        assert mine.current().config.timeout == 3

    def test_a_call_that_says_nothing_leaves_no_layer(self) -> None:
        """`safe_configure(api_key=os.getenv("X"))` without an X is such a call."""
        mine = State()
        mine.publish(layer("a.py:1", api_key=None))
        assert mine.published == ()

    def test_a_failing_change_changes_nothing(self) -> None:
        """All or nothing."""
        mine = State()
        mine.publish(layer("a.py:1", timeout=1))
        before = mine.published, mine.current()

        def fail(_: tuple[Layer, ...]) -> tuple[Layer, ...]:
            raise KeyError

        with pytest.raises(KeyError):
            mine.replace(fail)
        assert (mine.published, mine.current()) == before

    def test_the_snapshot_stays_the_same_while_nothing_changes(self) -> None:
        """Readers take one reference; a scope that was left gives back the old one."""
        safe_configure(timeout=1)
        snapshot = state.current()
        assert state.current() is snapshot
        with override(transport="rest"):
            assert state.current() is state.current()
            assert state.current() is not snapshot
        assert state.current().config == snapshot.config

    def test_a_snapshot_that_was_taken_never_changes(self) -> None:
        """Whoever pinned it goes on with what was in force then."""
        safe_configure(timeout=1)
        snapshot = state.current()
        safe_configure(timeout=2)
        assert snapshot.config.timeout == 1
        assert get_config().timeout == 2

    def test_reset_goes_back_to_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Scopes that are entered stay in force."""
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        safe_configure(api_key="configured", timeout=1)
        with override(transport="rest"):
            reset()
            assert (key(), get_config().timeout) == ("environment", None)
            assert get_config().transport == "rest"
        assert state.published == ()

    def test_what_counts_as_configured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A layer or a scope; the environment alone does not."""
        monkeypatch.setenv("GEMINI_API_KEY", "environment")
        assert not is_configured()
        with override(timeout=1):
            assert is_configured()
            reset()
        assert not is_configured()
        safe_configure(timeout=1)
        assert is_configured()


class TestScopes:
    def test_scopes_of_two_contexts_are_apart(self) -> None:
        """A thread sees what it has entered itself."""
        seen: list[int] = []
        state.enter(layer("a.py:1", "override", timeout=1))
        thread = threading.Thread(target=lambda: seen.append(len(state.scopes())))
        thread.start()
        thread.join(10)
        assert seen == [0]
        assert len(state.exchange_scopes(())) == 1

    async def test_scopes_entered_in_a_task_end_with_it(self) -> None:
        """Even if it never left them."""

        async def enter() -> None:
            state.enter(layer("a.py:1", "override", timeout=1))

        await asyncio.gather(enter(), enter())
        assert state.scopes() == ()

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
    def test_scopes_are_left_in_any_order(self, order: tuple[int, ...]) -> None:
        """What remains is in force in the order in which it was entered."""
        layers = [layer(f"a.py:{i}", "override", timeout=i + 1) for i in range(3)]
        for one in layers:
            state.enter(one)
        remaining = list(layers)
        for index in order:
            state.leave(layers[index])
            remaining.remove(layers[index])
            assert state.scopes() == tuple(remaining)

    def test_the_innermost_occurrence_is_left(self) -> None:
        """One layer may be entered several times."""
        one, two = layer("a", "override", timeout=1), layer("b", "override", timeout=2)
        for entered in (one, two, one):
            state.enter(entered)
        state.leave(one)
        assert state.scopes() == (one, two)
        state.leave(two, one)
        assert state.scopes() == (one,)
        state.leave(one)
        state.leave(one)
        assert state.scopes() == ()


def call_site_from(name: str) -> str:
    """The call site as a function of a module of that name sees it."""
    module = types.ModuleType(name)
    module.__dict__["call_site"] = _state.call_site
    exec("def place():\n    return call_site()", module.__dict__)  # noqa: S102 -- a module made up
    place: Callable[[], str] = module.__dict__["place"]
    return place()


class TestCallSites:
    @pytest.mark.parametrize(
        "name",
        ["genai_config", "genai_config._api.configure", "google.generativeai.client", "contextlib"],
    )
    def test_our_own_frames_and_the_sdks_are_passed_over(self, name: str) -> None:
        """The place is where the user's code is."""
        assert call_site_from(name).startswith(f"{__file__}:")

    @pytest.mark.parametrize("name", ["genai_config_of_mine", "mine", "google.generativeai_x"])
    def test_other_modules_are_the_callers(self, name: str) -> None:
        """However much their name resembles ours."""
        assert call_site_from(name) == "<string>:2"

    def test_without_any_caller_the_outermost_frame_is_the_place(self) -> None:
        """A thread may start right inside this library."""
        import _thread

        done, seen = threading.Event(), list[str]()
        namespace: dict[str, Any] = {"__name__": "genai_config.x", "place": _state.call_site}
        exec(  # noqa: S102 -- a module made up
            "def run(seen, done):\n    seen.append(place())\n    done.set()", namespace
        )
        _thread.start_new_thread(namespace["run"], (seen, done))
        assert done.wait(10)
        assert seen == ["<string>:2"]

    def test_layers_know_where_they_were_made(self) -> None:
        """File and line of the caller."""
        safe_configure(timeout=1)
        line = sys._getframe().f_lineno - 1
        assert state.published[-1].origin == Origin("safe_configure", f"{__file__}:{line}")
        with override(timeout=2):
            assert state.current().layers[-1].origin.place == f"{__file__}:{line + 3}"

    def test_a_warning_points_at_a_place(self) -> None:
        """A colon in a file's name is part of the name."""
        with pytest.warns(GenAIConfigWarning, match="words") as caught:
            _state.warn("words", GenAIConfigWarning, "C:\\mine.py:7")
        assert (caught[0].filename, caught[0].lineno) == ("C:\\mine.py", 7)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_can_configure() -> None:
    """Even if another thread of the parent was configuring at that moment."""
    program = """
        import os, threading
        from genai_config import safe_configure
        from genai_config._settings.state import state

        safe_configure(api_key="parents")
        held = threading.Event()

        def hold():
            with state.lock:
                held.set()
                threading.Event().wait()

        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if not child:
            safe_configure(api_key="childs")
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    done = subprocess.run(  # noqa: S603 -- the test's own program
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.strip() == "0"


def test_a_reset_lets_go_of_the_secrets() -> None:
    """No cache keeps a key that is configured no more."""
    key = "a-key-that-is-a-sentence"
    safe_configure(api_key=key)
    with override(timeout=3):
        get_config()
    state.hand_out()
    get_config()
    assert _masking.without_secrets(key) != key
    genai_config.reset()
    gc.collect()
    assert _masking.without_secrets(key) == key


def test_a_reset_inside_scopes_lets_go_of_the_secrets() -> None:
    """What the outer ones had made is kept for their return, and goes as well."""
    key = "a-key-that-is-a-sentence"
    safe_configure(api_key=key)
    with override(timeout=3), override(timeout=4):
        genai_config.reset()
        gc.collect()
        assert _masking.without_secrets(key) == key


def test_the_snapshots_of_a_context_are_bounded() -> None:
    """However many identities are asked for in it, those that are used are made anew."""
    identities = []
    for number in range(context_scopes.MOST_IDENTITIES + 1):
        safe_configure(api_key=f"key-{number}")
        identities.append(state.hand_out())
        state.current(identities[-1])
    assert len(state._scopes.get(state._no_scopes).made) <= context_scopes.MOST_IDENTITIES
    first = state.current(identities[0]).config.api_key
    assert isinstance(first, Secret)
    assert first.get_secret_value() == "key-0"
