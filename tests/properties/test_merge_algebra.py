"""Laws that merging obeys, whatever is merged."""

from __future__ import annotations

import copy
import pickle
from types import MappingProxyType
from typing import Any

from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from hypothesis import given
from hypothesis import strategies as st

from genai_config import UNSET, GenAIConfig
from genai_config._settings.model import _flatten, build
from genai_config._settings.patch import EMPTY, Patch, combine, make_patch

NAMES = st.sampled_from(["x-a", "X-A", "x-b", "x-c"])
PAIRS = st.lists(st.tuples(NAMES, st.text("ab ", max_size=3)), max_size=4)
HOSTS = st.sampled_from(["host", "host:443", "https://host/path", "HTTPS://other"])
SCOPES = st.lists(st.sampled_from(["email", "openid", "profile"]), max_size=3)

OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "api_endpoint": HOSTS | st.none() | st.just(UNSET),
        "api_audience": st.sampled_from(["one", "two"]),
        "universe_domain": st.sampled_from(["example.com", UNSET]),
        "client_cert_source": st.just(print),
    },
)

REFERENCES: dict[str, st.SearchStrategy[Any]] = {
    "credentials": st.sampled_from(["/a.json", "/b.json"]),
    "transport": st.sampled_from(["grpc", "grpc_asyncio", "rest"]),
    "client_options": OPTIONS,
    "client_info": st.builds(ClientInfo, user_agent=st.sampled_from(["a", "b"])),
    "default_metadata": PAIRS,
    "auth": st.sampled_from(["auto", "oauth", "api_key"]),
    "tuned_transport": st.sampled_from(["grpc", "rest"]),
    "scopes": SCOPES,
    "quota_project": st.sampled_from(["project-a", "project-b"]),
    "timeout": st.integers(1, 9) | st.floats(0.5, 9),
    "auth_timeout": st.integers(1, 9),
    "proxy": st.sampled_from(["http://a:1", "http://b:1"]),
    "ca_certs": st.sampled_from(["/a.pem", "/b.pem"]),
    "project": st.sampled_from(["project-a", ""]),
    "location": st.sampled_from(["us", "europe-west4"]),
    "raw_configure": st.sampled_from(["warn", "merge", "isolate", "error"]),
    "existing_models": st.sampled_from(["keep", "follow"]),
    "backend": st.sampled_from(["gemini", "vertex"]),
    "tuned_endpoints": st.dictionaries(
        st.sampled_from(["tunedModels/a", "tunedModels/b"]), st.sampled_from(["1", "2", UNSET])
    ),
    "vertex_endpoint": st.sampled_from(["host", "https://host/path", ""]),
}
SECRETS: dict[str, st.SearchStrategy[Any]] = {
    "api_key": st.sampled_from(["key-a", " key-b ", ""]),
    "credentials": st.sampled_from([{"type": "a", "deep": [1, {"b": 2}]}, {"type": "b"}]),
}


def settings_of(values: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """What a call may give: each setting, None, UNSET or nothing."""
    either = {name: value | st.sampled_from([None, UNSET]) for name, value in values.items()}
    return st.fixed_dictionaries({}, optional=either)


SETTINGS = settings_of({**REFERENCES, **SECRETS})
PATCHES = SETTINGS.map(make_patch)
CONFIGS = SETTINGS.map(lambda settings: GenAIConfig().merge(**settings))


@given(CONFIGS)
def test_merging_nothing_changes_nothing(config: GenAIConfig) -> None:
    """Neither no settings at all nor every setting as None."""
    assert config.merge() == config
    assert config.merge(**dict.fromkeys(GenAIConfig.model_fields)) == config


@given(CONFIGS, SETTINGS)
def test_merging_the_same_twice_is_merging_it_once(
    config: GenAIConfig, settings: dict[str, Any]
) -> None:
    """A call that is repeated changes nothing."""
    once = config.merge(**settings)
    assert once.merge(**settings) == once


@given(PATCHES, PATCHES, PATCHES)
def test_grouping_patches_does_not_matter(one: Patch, two: Patch, three: Patch) -> None:
    """Combining is associative, the order of the headers included."""
    left = combine(combine(one, two), three)
    right = combine(one, combine(two, three))
    assert left == right
    assert build(left) == build(right)
    assert build(left).default_metadata == build(right).default_metadata


@given(PATCHES)
def test_the_empty_patch_is_neutral(patch: Patch) -> None:
    """On either side."""
    assert combine(EMPTY, patch) == combine(patch, EMPTY) == patch


@given(CONFIGS, SETTINGS, SETTINGS)
def test_merging_one_by_one_is_merging_them_combined(
    config: GenAIConfig, one: dict[str, Any], two: dict[str, Any]
) -> None:
    """Whoever keeps the calls and whoever keeps the result come to the same."""
    combined = combine(make_patch(one), make_patch(two))
    assert config.merge(**one).merge(**two) == build(combine(_flatten(config), combined))


@given(CONFIGS)
def test_taking_a_configuration_apart_loses_nothing(config: GenAIConfig) -> None:
    """Built anew from its flat form it is the same."""
    assert build(_flatten(config)) == config


@given(PATCHES, st.sets(st.sampled_from(sorted({**REFERENCES, **SECRETS}))))
def test_unset_clears_and_nothing_below_shows(lower: Patch, cleared: set[str]) -> None:
    """What is cleared is as by default; the rest is as it was."""
    config = build(combine(lower, make_patch(dict.fromkeys(cleared, UNSET))))
    default = GenAIConfig()
    for name in GenAIConfig.model_fields:
        expected = default if name in cleared else build(lower)
        assert getattr(config, name) == getattr(expected, name)


@given(CONFIGS, SETTINGS)
def test_a_call_changes_only_what_it_names(config: GenAIConfig, settings: dict[str, Any]) -> None:
    """A setting that was not given is as it was."""
    merged = config.merge(**settings)
    for name in GenAIConfig.model_fields.keys() - settings.keys():
        assert getattr(merged, name) == getattr(config, name)


def frozen_copy(value: Any) -> Any:
    """What a value looks like now, for objects that are not equal by content."""
    if isinstance(value, (ClientOptions, ClientInfo)):
        return copy.deepcopy(vars(value))
    return copy.deepcopy(value)


@given(CONFIGS, SETTINGS)
def test_what_is_given_is_never_changed(config: GenAIConfig, settings: dict[str, Any]) -> None:
    """Neither the caller's objects nor the configuration that is merged into."""
    before = {name: frozen_copy(value) for name, value in settings.items()}
    same = build(_flatten(config))
    config.merge(**settings)
    assert {name: frozen_copy(value) for name, value in settings.items()} == before
    assert config == same


@given(PAIRS, SCOPES, HOSTS)
def test_the_result_never_aliases_what_was_given(
    pairs: list[tuple[str, str]], scopes: list[str], host: str
) -> None:
    """Changing the caller's objects afterwards changes nothing."""
    info = ClientInfo(user_agent="before")
    key_file = {"type": "x", "deep": {"list": [1]}}
    options = {"api_endpoint": host}
    sdk_options = ClientOptions(api_endpoint=host)
    given_settings: dict[str, Any] = {
        "default_metadata": pairs,
        "scopes": scopes,
        "client_info": info,
        "credentials": key_file,
    }
    config = GenAIConfig().merge(**given_settings, client_options=sdk_options)
    again = GenAIConfig().merge(**given_settings, client_options=options)
    same = build(_flatten(config))
    pairs.append(("x-new", "new"))
    scopes.append("new")
    info.user_agent = "new"
    key_file["deep"]["list"].append(2)  # type: ignore[index] # it is a dict
    sdk_options.api_endpoint = options["api_endpoint"] = "new"
    assert config == again == same
    assert config.client_info is not None
    assert config.client_info.user_agent == "before"


@given(SETTINGS)
def test_a_read_only_mapping_is_as_good_as_a_dict(settings: dict[str, Any]) -> None:
    """Nothing is written into what is given."""
    assert make_patch(MappingProxyType(settings)) == make_patch(settings)


@given(SETTINGS, SETTINGS)
def test_equal_by_content_means_an_equal_hash(one: dict[str, Any], two: dict[str, Any]) -> None:
    """Configurations are keys of pools."""
    first, second = GenAIConfig().merge(**one), GenAIConfig().merge(**two)
    rebuilt = build(_flatten(first))
    assert rebuilt == first
    assert hash(rebuilt) == hash(first)
    assert (first == second) == (_flatten(first) == _flatten(second) and in_order(first, second))
    if first == second:
        assert hash(first) == hash(second)


def in_order(one: GenAIConfig, two: GenAIConfig) -> bool:
    """Whether two configurations send their headers in the same order."""
    return one.default_metadata == two.default_metadata


@given(settings_of(REFERENCES))
def test_a_configuration_of_references_survives_pickling(settings: dict[str, Any]) -> None:
    """Every setting, and equal on the other side."""
    config = GenAIConfig().merge(**settings)
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 -- our own
