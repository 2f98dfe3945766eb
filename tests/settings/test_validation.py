"""What is refused, and that nothing has changed then; what is kept, and how."""

from __future__ import annotations

import os
import re
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from pydantic import SecretStr

from genai_config import GenAIConfig, override, safe_configure
from genai_config._settings import addresses
from genai_config._settings.patch import make_patch
from genai_config._settings.secrets import Secret, SecretMapping
from genai_config._settings.state import state
from genai_config.exceptions import (
    ConfigurationError,
    InvalidCredentialsError,
    UnknownSettingError,
)

KEY = "AIzaSyMadeUpAndLongEnough0123456789"


def endpoint(value: object) -> dict[str, Any]:
    """Settings with an endpoint."""
    return {"client_options": {"api_endpoint": value}}


def headers(*pairs: object) -> dict[str, Any]:
    """Settings with default metadata."""
    return {"default_metadata": list(pairs)}


REFUSED: list[dict[str, Any]] = [
    # Names
    {"api_kye": "k"},
    {"Transport": "rest"},
    {"client_option": {}},
    {"zzz": 1},
    {"client_options": {"api_endpont": "h"}},
    {"client_options": {"zzz": "h"}},
    {"client_options": {1: "h"}},
    {"client_options": "h"},
    {"client_options": [("api_endpoint", "h")]},
    # Choices
    {"transport": "grcp"},
    {"transport": "carrier-pigeon"},
    {"transport": ""},
    {"transport": 1},
    {"auth": "oath"},
    {"tuned_transport": "grpc_asyncio"},
    {"raw_configure": "ignore"},
    {"raw_configure": "isolated"},
    {"existing_models": "kept"},
    {"backend": "vertx"},
    # Vertex AI
    {"tuned_endpoints": "tunedModels/mine"},
    {"tuned_endpoints": 1},
    {"tuned_endpoints": {1: "2"}},
    {"tuned_endpoints": {"mine": "1"}},
    {"tuned_endpoints": {"models/mine": "1"}},
    {"tuned_endpoints": {"tunedModels/": "1"}},
    {"tuned_endpoints": {"tunedModels/a/../b": "1"}},
    {"tuned_endpoints": {"tunedModels/a\n": "1", "tunedModels/a b": "1"}},
    {"tuned_endpoints": {f"tunedModels/{'x' * 5}?{KEY}": "1"}},
    {"tuned_endpoints": {"tunedModels/m": 5}},
    {"tuned_endpoints": {"tunedModels/m": ""}},
    {"tuned_endpoints": {"tunedModels/m": "endpoints/5"}},
    *(
        {"tuned_endpoints": {"tunedModels/m": name}}
        for name in (
            "projects/my-project/locations/evil.com/endpoints/5",
            "projects/../locations/us-central1/endpoints/5",
            "projects/my-project/locations/us-central1/endpoints/5/../6",
            "projects/my-project/locations/us-central1/endpoints/5:predict",
            "projects/my-project/locations/us-central1/models/5",
            "/projects/my-project/locations/us-central1/endpoints/5",
            "https://example.com/projects/my-project/locations/us/endpoints/5",
            "5?key=1",
        )
    ),
    {"vertex_endpoint": "http://example.com"},
    {"vertex_endpoint": "user:word@host"},
    {"vertex_endpoint": "host/path?x"},
    {"vertex_endpoint": 1},
    # API key
    {"api_key": "AIza inner"},
    {"api_key": "AIza\ninner"},
    {"api_key": "AIza\0inner"},
    {"api_key": "AIza\x7finner"},
    {"api_key": "AIzaé"},
    {"api_key": "AIza\u200b"},
    {"api_key": f'"{KEY}"'},
    {"api_key": f"'{KEY}'"},
    {"credentials": ' {"type": "service_account"}'},
    {"credentials": "-----BEGIN PRIVATE KEY-----"},
    {"api_key": '"'},
    {"api_key": KEY.encode()},
    {"api_key": 1},
    {"api_key": {"type": "service_account"}},
    {"api_key": {"from_envv": "X"}},
    {"api_key": '{"type": "service_account"}'},
    {"api_key": "/path/to/key.json"},
    {"api_key": "YOUR_API_KEY"},
    {"api_key": "UNSET"},
    {"api_key": KEY, "client_options": {"api_key": KEY}},
    {"client_options": ClientOptions(api_key=KEY), "api_key": "other"},
    {"client_options": {"api_key": "AIza inner"}},
    # Credentials
    {"credentials": 1},
    {"credentials": ""},
    {"credentials": "  "},
    {"credentials": "/a\0b"},
    {"credentials": Path()},
    {"credentials": "/no/such/key.json"},
    {"credentials": KEY},
    {"credentials": "ya29.made-up"},
    {"credentials": {"from_envv": "X"}},
    {"credentials": {"installed": {"client_id": "id"}}},
    {"credentials": {}},
    {"credentials": {"type": 1}},
    {"credentials": {"type": "service_acount"}},
    {"credentials": "/k", "client_options": {"credentials_file": "/k"}},
    # Endpoint
    endpoint(1),
    endpoint("https://user@host"),
    endpoint("user:word@host:443"),
    endpoint("https://host?key=1"),
    endpoint("host/path?x"),
    endpoint("https://host#top"),
    endpoint("ftp://host"),
    endpoint("unix://host"),
    endpoint("grpc://host:443"),
    endpoint("file:///etc/passwd"),
    endpoint("http://example.com"),
    endpoint("HTTP://example.com"),
    endpoint("http://127.0.0.1.evil.com"),
    endpoint("http://10.0.0.1:80"),
    endpoint("http://0.0.0.0"),
    endpoint("http://[2001:db8::1]"),
    endpoint("http://localhost.evil.com"),
    endpoint("host:65536"),
    endpoint("host:0"),
    endpoint("host:"),
    endpoint("https://host:"),
    endpoint("https:/host"),
    endpoint("host:-1"),
    endpoint("host:port"),
    endpoint("host:1:2"),
    endpoint("::1"),
    endpoint("[::1"),
    endpoint("evil.com/ x"),
    endpoint("evil.com\r\nx-goog-api-key: k"),
    endpoint("host\0"),
    endpoint("hóst"),
    endpoint("https://"),
    endpoint("/path"),
    endpoint(".."),
    endpoint("a..b"),
    endpoint("-a.com"),
    endpoint("evil.com\\@host"),
    endpoint("evil.com\\x"),
    endpoint("host,other"),
    # The other client options
    {"client_options": {"client_cert_source": b"pem"}},
    {"client_options": {"api_audience": "a b"}},
    {"client_options": {"universe_domain": "evil.com/"}},
    {"client_options": {"quota_project_id": "NO!"}},
    {"client_options": {"scopes": 1}},
    # Vertex
    {"location": "evil.com/"},
    {"location": "../"},
    {"location": "us-central1-a"},
    {"location": "us-central1\n.evil.com"},
    {"location": "US"},
    {"location": 1},
    {"project": "my project"},
    {"project": "a/../b"},
    {"project": "short"},
    {"quota_project": "x\r\nauthorization: y"},
    {"endpoint": "1/../2"},
    # Seconds
    *[{name: value} for name in ("timeout", "auth_timeout") for value in (True, "30", [1])],
    *[
        {name: value}
        for name in ("timeout", "auth_timeout")
        for value in (0, -1, -0.5, float("nan"), float("inf"), 10**400, 1e300)
    ],
    # Scopes
    {"scopes": 1},
    {"scopes": b"scope"},
    {"scopes": {"scope": 1}},
    {"scopes": [1]},
    {"scopes": ["a b"]},
    {"scopes": ["é"]},
    {"scopes": "cloud-platform"},
    # Proxy
    {"proxy": 1},
    {"proxy": "host:3128"},
    {"proxy": "socks5://host:1080"},
    {"proxy": "http://host/path"},
    {"proxy": "http://host?x"},
    {"proxy": "http://user:1#word@host"},
    {"proxy": "http://user:wo rd@host"},
    {"proxy": "http://host:99999"},
    # Certificate authorities
    {"ca_certs": 1},
    {"ca_certs": b"/ca.pem"},
    {"ca_certs": ""},
    {"ca_certs": KEY},
    {"ca_certs": "-----BEGIN CERTIFICATE-----"},
    {"ca_certs": "/no/such/ca.pem"},
    # Client info
    {"client_info": "me/1.0"},
    {"client_info": SimpleNamespace(user_agent="me")},
    # Metadata
    {"default_metadata": 1},
    {"default_metadata": "x-a: b"},
    {"default_metadata": b"x"},
    headers("x-a: b"),
    headers(("x-a",)),
    headers(("x-a", "b", "c")),
    headers((1, "b")),
    headers(("", "b")),
    headers(("x a", "b")),
    headers(("x:a", "b")),
    headers(("x\r\nauthorization", "b")),
    headers(("é", "b")),
    headers(("x-a", "b\r\nauthorization: c")),
    headers(("x-a", "b\n")),
    headers(("x-a", "é")),
    headers(("x-a", b"b")),
    headers(("x-a", None)),
    headers(("x-a-bin", "b")),
    headers(("x-goog-api-key", KEY)),
    headers(("x-a", "fine"), ("x-b", "b\n")),
]


TEXTS = Path(__file__).with_name("refusals.txt")
"""What each of them is told: the one place in the tests that a change of wording changes."""


ALSO_CALLED = {
    "api_endpoint": "endpoint",
    "vertex_endpoint": "endpoint",
    "quota_project_id": "quota_project",
    "credentials": "key file",
}


def names(settings: dict[str, Any]) -> set[str]:
    """What a message may call the settings: by their names, or by those of their parts."""
    options = settings.get("client_options")
    found = {*settings, *(map(str, options) if isinstance(options, dict) else ())}
    return found | {ALSO_CALLED[name] for name in found & ALSO_CALLED.keys()}


@pytest.mark.parametrize("settings", REFUSED)
def test_an_invalid_value_raises_and_nothing_changes(settings: dict[str, Any]) -> None:
    """The error is ours, names the setting and a remedy, and no part of the call is kept."""
    safe_configure(api_key="before", transport="rest", default_metadata=[("x-a", "before")])
    published, snapshot = state.published, state.current()
    with pytest.raises((ConfigurationError, InvalidCredentialsError)) as caught:
        safe_configure(**{"quota_project": "good-project", **settings})
    words = re.sub(r"[ _]", "", str(caught.value)).lower()
    assert any(re.sub(r"[ _]", "", name).lower() in words for name in names(settings))
    assert caught.value.remedy
    assert state.published is published
    assert state.current() is snapshot


@pytest.mark.parametrize("settings", REFUSED)
def test_a_scope_refuses_what_safe_configure_refuses(settings: dict[str, Any]) -> None:
    """override() checks its settings where it is written, before it is entered."""
    with pytest.raises((ConfigurationError, InvalidCredentialsError)):
        override(**settings)
    assert state.scopes() == ()


@pytest.mark.skipif(os.name != "posix", reason="the system's own words are in some of them")
def test_the_texts() -> None:
    """As in refusals.txt, which GENAI_CONFIG_WRITE_TEXTS=1 writes anew."""
    told = []
    for settings in REFUSED:
        with pytest.raises((ConfigurationError, InvalidCredentialsError)) as caught:
            override(**settings)
        told.append(
            f"{', '.join(map(str, settings))}\n    " + str(caught.value).replace("\n", "\n    ")
        )
    text = "\n\n".join(told) + "\n"
    if os.environ.get("GENAI_CONFIG_WRITE_TEXTS"):  # pragma: no cover -- by hand
        TEXTS.write_text(text, encoding="utf-8")
    assert text == TEXTS.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "settings",
    [{"api_kye": "k"}, {"client_options": {"api_endpont": "h"}}],
    ids=["setting", "client option"],
)
def test_an_unknown_name_is_a_type_error(settings: dict[str, Any]) -> None:
    """As Python's own error for an unexpected keyword argument is."""
    with pytest.raises(UnknownSettingError) as caught:
        safe_configure(**settings)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": f"{KEY} {KEY}"},
        {"api_key": f'"{KEY}"'},
        {"api_key": {"key": KEY}},
        {"client_options": {"api_key": f"{KEY}\n{KEY}"}},
        {"client_options": {"api_key": KEY}, "api_key": KEY},
        {"credentials": {"private_key": KEY}},
        {"credentials": {"type": "service_account", "private_key": KEY}},
        {"proxy": f"http://user:{KEY}@host/path"},
        {"proxy": f"http://user:{KEY} @host"},
        endpoint(f"https://user:{KEY}@host"),
        endpoint(f"https://host?key={KEY}"),
        endpoint(f"host:{KEY}"),
        headers(("x-goog-api-key", f"{KEY}\n")),
        headers(("authorization", KEY.encode())),
        headers((f"authorization: Bearer {KEY}", "")),
        {"transport": KEY},
        {"quota_project": KEY},
        {"location": KEY},
        {"scopes": [f"{KEY} x"]},
    ],
)
def test_no_refusal_shows_a_secret(settings: dict[str, Any]) -> None:
    """Not even when the secret stands in the wrong place."""
    with pytest.raises((ConfigurationError, InvalidCredentialsError)) as caught:
        safe_configure(**settings)
    assert KEY not in f"{caught.value} {caught.value!r} {caught.value.args}"


def kept(**settings: Any) -> Any:
    """The only value that a call leaves, checked."""
    (value,) = make_patch(settings).values.values()
    return value


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"api_key": f"  {KEY}\n"}, Secret(KEY)),
        ({"api_key": SecretStr(KEY)}, Secret(KEY)),
        ({"client_options": {"api_key": KEY}}, Secret(KEY)),
        ({"client_options": ClientOptions(api_key=KEY)}, Secret(KEY)),
        ({"transport": " rest "}, "rest"),
        ({"transport": "grpc_asyncio"}, "grpc_asyncio"),
        ({"auth": "oauth"}, "oauth"),
        ({"credentials": "~/key.json"}, Path.home() / "key.json"),
        ({"credentials": Path("/key.json")}, Path("/key.json")),
        ({"client_options": {"credentials_file": "/key.json"}}, Path("/key.json")),
        ({"credentials": {"type": "x"}}, SecretMapping({"type": "x"})),
        ({"credentials": SecretMapping({"type": "x"})}, SecretMapping({"type": "x"})),
        ({"ca_certs": " /ca.pem "}, Path("/ca.pem")),
        (endpoint(" host "), "host"),
        (endpoint("host:443"), "host:443"),
        (endpoint("https://host/"), "https://host"),
        (endpoint("HTTPS://Host"), "https://Host"),
        (endpoint("https://host/a/b/"), "https://host/a/b"),
        (endpoint("host/path"), "host/path"),
        (endpoint("host."), "host."),
        (endpoint("10.0.0.1:8080"), "10.0.0.1:8080"),
        (endpoint("[2001:db8::1]:443"), "[2001:db8::1]:443"),
        (endpoint("my_proxy:8080"), "my_proxy:8080"),
        (endpoint("http://localhost:8080"), "http://localhost:8080"),
        (endpoint("HTTP://LOCALHOST"), "http://LOCALHOST"),
        (endpoint("http://127.0.0.1:8080"), "http://127.0.0.1:8080"),
        (endpoint("http://[::1]:8080"), "http://[::1]:8080"),
        ({"client_options": {"client_cert_source": print}}, print),
        ({"client_options": {"api_audience": "https://a/"}}, "https://a/"),
        ({"client_options": {"universe_domain": "example.com"}}, "example.com"),
        ({"client_options": {"quota_project_id": "my-project"}}, "my-project"),
        ({"client_options": {"scopes": ["email"]}}, ("email",)),
        ({"location": "europe-west12"}, "europe-west12"),
        ({"location": " global "}, "global"),
        ({"location": "us"}, "us"),
        ({"project": "my-project"}, "my-project"),
        ({"project": "example.com:my-project"}, "example.com:my-project"),
        ({"quota_project": "123456789"}, "123456789"),
        ({"endpoint": "openapi"}, "openapi"),
        ({"timeout": 30}, 30.0),
        ({"timeout": threading.TIMEOUT_MAX}, threading.TIMEOUT_MAX),
        ({"auth_timeout": 0.5}, 0.5),
        ({"scopes": "email openid,profile\n email"}, ("email", "openid", "profile")),
        ({"scopes": ["openid", "email", "", "openid"]}, ("openid", "email")),
        ({"scopes": (scope for scope in ("email", "https://a/b"))}, ("email", "https://a/b")),
        ({"proxy": " http://host:3128 "}, Secret("http://host:3128")),
        ({"proxy": "HTTPS://user:word@host/"}, Secret("https://user:word@host/")),
        ({"proxy": SecretStr("http://host")}, Secret("http://host")),
        (headers(("X-A", "b")), ("b",)),
        (headers(["x-a", "b"], (" x-A ", "c")), ("b", "c")),
        ({"default_metadata": {"x-a": "b"}}, ("b",)),
        (headers(("x-a-bin", b"\x00\xff")), (b"\x00\xff",)),
        (headers(("x-a", "")), ("",)),
        ({"tuned_endpoints": {" tunedModels/a.b ": " 5 "}}, "5"),
        (
            {"tuned_endpoints": {"tunedModels/a": "projects/123/locations/us/endpoints/my-5"}},
            "projects/123/locations/us/endpoints/my-5",
        ),
        ({"vertex_endpoint": " HTTPS://host/path/ "}, "https://host/path"),
    ],
)
def test_what_is_kept_of_good_input(settings: dict[str, Any], value: object) -> None:
    """Outer white space is trimmed, and each kind of value has one immutable form."""
    result = kept(**settings)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"api_key": None},
        {"api_key": ""},
        {"api_key": " \n"},
        {"api_key": SecretStr("")},
        {"credentials": None},
        {"transport": None},
        {"client_options": None},
        {"client_options": {}},
        {"client_options": ClientOptions()},
        {"client_options": {"api_endpoint": None}},
        endpoint(" "),
        {"client_options": {"api_key": ""}},
        {"client_info": None},
        {"default_metadata": None},
        {"default_metadata": []},
        {"proxy": ""},
        {"project": ""},
        {"location": " "},
        {"scopes": ""},
        {"scopes": []},
        {"scopes": [""]},
        {"timeout": None},
        {"tuned_endpoints": {}},
        {"tuned_endpoints": {"tunedModels/m": None}},
        {"vertex_endpoint": ""},
    ],
)
def test_what_counts_as_not_given(settings: dict[str, Any]) -> None:
    """None, and an empty value where the SDK takes it so, leave a setting as it is."""
    assert make_patch(settings).values == {}


def test_credentials_objects_are_kept_as_they_are() -> None:
    """They hold the state of a refresh: one object for all who use it."""
    credentials = AnonymousCredentials()
    assert kept(credentials=credentials) is credentials


def test_a_keys_variable_is_kept_with_it() -> None:
    """A key of the environment stays a reference when it is given on."""
    assert kept(api_key=Secret(KEY, "GEMINI_API_KEY")).variable == "GEMINI_API_KEY"


def test_client_info_is_copied() -> None:
    """The SDK writes into the object it is given; ours is not that one."""
    given = ClientInfo(user_agent="me/1.0", client_library_version="7")
    copied = kept(client_info=given)
    given.user_agent = "changed"
    assert (copied.user_agent, copied.client_library_version) == ("me/1.0", "7")
    assert kept(client_info=copied) is copied


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("example.com", False),
        ("10.0.0.1", False),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_what_is_this_machine(host: str, *, loopback: bool) -> None:
    """TLS may be left out here and nowhere else."""
    assert addresses.is_loopback(host) is loopback


def test_the_model_checks_what_it_is_given_directly() -> None:
    """GenAIConfig(…) and safe_configure(…) keep the same values."""
    made = GenAIConfig.model_validate({
        "api_key": f" {KEY} ",
        "client_options": {"api_endpoint": "HTTPS://host/"},
        "default_metadata": [("X-A", "b")],
        "timeout": 3,
    })  # fmt: skip
    assert made == GenAIConfig().merge(
        api_key=KEY,
        client_options={"api_endpoint": "https://host"},
        default_metadata=[("x-a", "b")],
        timeout=3.0,
    )
