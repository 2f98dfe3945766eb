"""Whatever is done in whatever order, the configuration is what a plain dict says it is."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
import warnings
from pathlib import Path
from typing import Any

import google.generativeai as genai
import pytest
from google.auth.credentials import AnonymousCredentials
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import genai_config
from genai_config import UNSET, GenAIConfig, override
from genai_config._sdk import manager
from genai_config._settings import environment, profile_files
from genai_config._settings.patch import make_patch
from genai_config._settings.secrets import Secret
from genai_config._settings.state import Layer, Origin, state
from genai_config.exceptions import ConfigurationError, RawConfigureError, RawConfigureWarning

pytestmark = pytest.mark.filterwarnings(
    "ignore::genai_config.exceptions.EnvironmentConflictWarning",
    "ignore::genai_config.exceptions.EnvironmentValueWarning",
)

CREDENTIALS = AnonymousCredentials()
KEYS = st.sampled_from(["key-1", "key-2", "key-3"])

SDK_SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "api_key": KEYS,
    "credentials": st.just(CREDENTIALS),
    "transport": st.sampled_from(["grpc", "rest"]),
    "client_options": st.fixed_dictionaries(
        {},
        optional={
            "api_endpoint": st.sampled_from(["host-1", "host-2"]),
            "api_audience": st.sampled_from(["one", "two"]),
        },
    ),
    "default_metadata": st.lists(
        st.tuples(st.sampled_from(["x-a", "x-b"]), st.sampled_from("12")), max_size=3
    ),
}
OUR_SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "timeout": st.sampled_from([1.0, 2.0]),
    "location": st.sampled_from(["us", "eu"]),
    "raw_configure": st.sampled_from(["warn", "merge", "error"]),
}
ALL = {**SDK_SETTINGS, **OUR_SETTINGS}
CALLS = st.fixed_dictionaries(
    {}, optional={name: value | st.sampled_from([None, UNSET]) for name, value in ALL.items()}
)
RAW_CALLS = st.fixed_dictionaries({}, optional=SDK_SETTINGS)
VARIABLES = {
    "GEMINI_API_KEY": st.sampled_from(["key-1", "key-4", " ", "b a d"]),
    "GOOGLE_API_KEY": st.sampled_from(["key-1", "key-5", "", "b a d"]),
    "GOOGLE_CLOUD_LOCATION": st.sampled_from(["us", "asia-east1", "evil.com/"]),
}
BAD = ("b a d", "evil.com/")
PROFILES: dict[str, dict[str, Any]] = {
    "dev": {"transport": "rest", "timeout": 2.0, "default_metadata": [("x-a", "2")]},
    "prod": {"location": "eu", "client_options": {"api_endpoint": "host-2"}},
}
FILE = """
[profiles.dev]
transport = "rest"
timeout = 2
default_metadata = { x-a = "2" }

[profiles.prod]
location = "eu"
client_options = { api_endpoint = "host-2" }
"""
NAMED = st.sampled_from([None, None, "dev", "prod", UNSET])
GROUPS = ("client_options", "default_metadata")


def said(call: dict[str, Any]) -> dict[str, Any]:
    """The model's form of a call: flat, UNSET where something is cleared."""
    flat: dict[str, Any] = {}
    for name, value in call.items():
        if value is None:
            continue
        if name not in GROUPS or value is UNSET:
            flat[name] = value
        elif name == "client_options":
            flat.update({f"client_options {option}": host for option, host in value.items()})
        else:
            for header, item in value:
                flat.setdefault(f"default_metadata {header}", []).append(item)
    return flat


def say(held: dict[str, Any], call: dict[str, Any]) -> None:
    """The model's merge: later words go over earlier ones, and to the end."""
    for group in GROUPS:
        if group in call:
            for name in [name for name in held if name.startswith(f"{group} ")]:
                del held[name]
    for name, value in call.items():
        held.pop(name, None)
        held[name] = value


def without_the_sdks(call: Words) -> Words:
    """What a raw genai.configure() leaves of an earlier call."""
    left = type(call)({name: value for name, value in call.items() if not is_the_sdks(name)})
    if call.profile is not None:
        left.profile = {n: value for n, value in call.profile.items() if not is_the_sdks(n)}
    return left


def is_the_sdks(name: str) -> bool:
    """Whether a raw genai.configure() replaces a setting."""
    return name.partition(" ")[0] in SDK_SETTINGS


class Words(dict[str, Any]):
    """What a call said, and the profile that it named: what that says; None: it named none."""

    profile: dict[str, Any] | None = None


def words(call: dict[str, Any], profile: Any) -> Words:
    """A call in the model's form."""
    made = Words(said(call))
    if profile is not None:
        made.profile = {} if profile is UNSET else said(PROFILES[profile])
    return made


class Raw(Words):
    """What a raw genai.configure() said."""


class Model:
    """The configuration as the documentation tells it."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.profile: str | None = None
        self.calls: list[Words] = []
        self.scopes: list[tuple[Any, Words]] = []

    def explicit(self, *, scopes: bool = True, environment: bool = True) -> dict[str, Any]:
        """What was said in the program, and by the profile of the environment, merged."""
        held: dict[str, Any] = {}
        calls = [*self.calls, *(call for _, call in self.scopes if scopes)]
        naming = [call for call in calls if call.profile is not None]
        if not naming and self.profile and environment:
            say(held, said(PROFILES[self.profile]))
        for call in calls:
            if naming and call is naming[-1]:
                say(held, naming[-1].profile or {})
            say(held, call)
        return held

    def effective(self, *, scopes: bool = True) -> dict[str, Any] | None:
        """What is in force; None: the key that matters is malformed."""
        held = self.explicit(scopes=scopes)
        chosen = held.get("credentials", UNSET) is not UNSET
        if "api_key" not in held and not chosen:
            for variable in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
                if self.environ.get(variable, "").strip():
                    held["api_key"] = self.environ[variable]
                    break
        location = self.environ.get("GOOGLE_CLOUD_LOCATION", "")
        if "location" not in held and location not in ("", *BAD):
            held["location"] = location
        if held.get("api_key") in BAD:
            return None
        return {name: value for name, value in held.items() if value is not UNSET}


def seen(config: GenAIConfig) -> dict[str, Any]:
    """A configuration in the model's form, defaults left out."""
    flat: dict[str, Any] = {}
    for name in ("credentials", "transport", "timeout", "location"):
        if getattr(config, name) is not None:
            flat[name] = getattr(config, name)
    if isinstance(config.api_key, Secret):
        flat["api_key"] = config.api_key.get_secret_value()
    for option in ("api_endpoint", "api_audience"):
        if getattr(config.client_options, option) is not None:
            flat[f"client_options {option}"] = getattr(config.client_options, option)
    for header, item in config.default_metadata:
        flat.setdefault(f"default_metadata {header}", []).append(item)
    flat["raw_configure"] = config.raw_configure
    return flat


def agree(config: GenAIConfig, expected: dict[str, Any]) -> None:
    """Asserts that a configuration is what the model says, the order of the headers included."""
    found = seen(config)
    assert found == {"raw_configure": "warn", **expected}
    headers = [name for name in expected if name.startswith("default_metadata ")]
    assert [name for name in found if name.startswith("default_metadata ")] == headers


class Machine(RuleBasedStateMachine):
    """Does the same to the library and to the model, and compares after every step."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        self.outside = dict(os.environ)

    @initialize()
    def start(self) -> None:
        """Nothing is set and nothing configured; our manager is in the SDK."""
        for variable in environment.VARIABLES:
            os.environ.pop(variable.name, None)
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "genai-config.toml"
        path.write_text(FILE, encoding="utf-8")
        os.environ[environment.FILE_VARIABLE] = str(path)
        genai_config.reset()
        manager.install()

    def teardown(self) -> None:
        """As it was before."""
        self.folder.cleanup()
        state.exchange_scopes(())
        genai_config.reset()
        genai_config.uninstall()
        os.environ.clear()
        os.environ.update(self.outside)

    @rule(call=CALLS, place=st.sampled_from(["a.py:1", "b.py:2", "c.py:3"]), profile=NAMED)
    def configure(self, call: dict[str, Any], place: str, profile: Any) -> None:
        """Publishes, or is refused for a malformed variable and changes nothing."""
        origin, named = Origin("safe_configure", place), profile_files.layer(profile)
        layer = Layer(make_patch(call), origin, named)
        before, published = self.model.calls, state.published
        self.model.calls = [*before, words(call, profile)]
        refused = self.model.effective() is None
        malformed = pytest.raises(ConfigurationError, match="environment variable")
        with malformed if refused else contextlib.nullcontext():
            state.publish(layer)
        self.model.calls = before if refused else self.model.calls
        assert not refused or state.published is published

    @rule(call=RAW_CALLS)
    def configure_raw(self, call: dict[str, Any]) -> None:
        """Somebody else's genai.configure(), under the policy in force."""
        if {"api_key", "credentials"} <= call.keys():
            del call["credentials"]
        effective = self.model.effective()
        policy = "error" if effective is None else effective.get("raw_configure", "warn")
        if policy == "error":
            with pytest.raises(ConfigurationError if effective is None else RawConfigureError):
                genai.configure(**call)
            return
        before, raw_words = self.model.calls, Raw(said(call))
        explicit = self.model.explicit(scopes=False, environment=False)
        kept = [without_the_sdks(one) for one in before] if policy == "warn" else before
        self.model.calls = [*kept, raw_words]
        # What it would drop may have hidden a malformed variable: then it is refused.
        refused = self.model.effective() is None
        malformed = pytest.raises(ConfigurationError, match="environment variable")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RawConfigureWarning)
            with malformed if refused else contextlib.nullcontext():
                genai.configure(**call)
        self.model.calls = before if refused else self.model.calls
        raw: dict[str, bool] = {}
        naming = [one for one in before if one.profile is not None][-1:]
        for one in before:
            raw.update(
                dict.fromkeys(
                    one.profile or {} if any(one is last for last in naming) else {}, False
                )
            )
            raw.update(dict.fromkeys(one, isinstance(one, Raw)))
        dropped = {
            n for n, v in explicit.items()
            if is_the_sdks(n) and v is not UNSET and not raw[n] and raw_words.get(n) != v
        }  # fmt: skip
        warned = any(one.category is RawConfigureWarning for one in caught)
        lost = policy == "warn" and bool(dropped)
        assert warned == (lost and not refused)

    @precondition(lambda self: len(self.model.scopes) < 6)
    @rule(call=CALLS, profile=NAMED)
    def enter(self, call: dict[str, Any], profile: Any) -> None:
        """A scope more."""
        self._enter(override(**call, profile=profile), words(call, profile))

    def _enter(self, scope: Any, call: Words) -> None:
        """Enters a scope, or is refused for a malformed variable and changes nothing."""
        before = list(self.model.scopes)
        self.model.scopes.append((scope, call))
        refused = self.model.effective() is None
        malformed = pytest.raises(ConfigurationError, match="environment variable")
        with malformed if refused else contextlib.nullcontext():
            scope.__enter__()
        self.model.scopes = before if refused else self.model.scopes

    @precondition(lambda self: 0 < len(self.model.scopes) < 6)
    @rule(which=st.integers(0, 5))
    def enter_again(self, which: int) -> None:
        """The same object once more."""
        self._enter(*self.model.scopes[which % len(self.model.scopes)])

    @precondition(lambda self: self.model.scopes)
    @rule(which=st.integers(0, 5), raising=st.booleans())
    def leave(self, which: int, *, raising: bool) -> None:
        """Any scope, in any order, by its end or by an exception."""
        scope, _ = self.model.scopes[which % len(self.model.scopes)]
        innermost = max(i for i, (one, _) in enumerate(self.model.scopes) if one is scope)
        del self.model.scopes[innermost]
        error = KeyError() if raising else None
        assert not scope.__exit__(error and KeyError, error, None)

    @rule()
    def reset(self) -> None:
        """The layers of the process go, the scopes stay."""
        genai_config.reset()
        self.model.calls = []

    @rule(data=st.data(), variable=st.sampled_from(sorted(VARIABLES)))
    def export(self, data: st.DataObject, variable: str) -> None:
        """A variable gets a value."""
        value = data.draw(VARIABLES[variable])
        os.environ[variable] = self.model.environ[variable] = value

    @rule(variable=st.sampled_from(sorted(VARIABLES)))
    def unset(self, variable: str) -> None:
        """A variable goes."""
        os.environ.pop(variable, None)
        self.model.environ.pop(variable, None)

    @rule(profile=st.sampled_from([None, "dev", "prod"]))
    def name_a_profile(self, profile: str | None) -> None:
        """The environment names one, or none."""
        self.model.profile = profile
        os.environ[environment.PROFILE_VARIABLE] = profile or ""

    @rule()
    def look_from_another_thread(self) -> None:
        """It sees the layers of the process and no scope."""
        expected = self.model.effective(scopes=False)
        configs: list[GenAIConfig] = []

        def look() -> None:
            with contextlib.suppress(ConfigurationError):
                configs.append(state.current().config)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join(10)
        assert len(configs) == (expected is not None)
        for config in configs:
            agree(config, expected or {})

    @invariant()
    def the_library_and_the_model_agree(self) -> None:
        """After every step."""
        expected = self.model.effective()
        if expected is None:
            with pytest.raises(ConfigurationError, match="environment variable"):
                state.current()
        else:
            agree(state.current().config, expected)
            assert state.current() is state.current()
        assert len(state.scopes()) == len(self.model.scopes)


TestMachine = Machine.TestCase
TestMachine.settings = settings(stateful_step_count=30)
