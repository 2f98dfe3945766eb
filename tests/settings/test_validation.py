"""What is refused, with which words, and that nothing has changed then; what is kept, and how."""

from __future__ import annotations

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


REFUSED: list[tuple[dict[str, Any], str]] = [
    # Names
    ({"api_kye": "k"}, "did you mean 'api_key'"),
    ({"Transport": "rest"}, "did you mean 'transport'"),
    ({"client_option": {}}, "did you mean 'client_options'"),
    ({"zzz": 1}, "it is one of: api_key, credentials, transport"),
    ({"client_options": {"api_endpont": "h"}}, "did you mean 'api_endpoint'"),
    ({"client_options": {"zzz": "h"}}, "it is one of: api_endpoint"),
    ({"client_options": {1: "h"}}, "There is no client option '1'"),
    ({"client_options": "h"}, "client_options must be a dict or google.api_core ClientOptions"),
    ({"client_options": [("api_endpoint", "h")]}, "not list"),
    # Choices
    ({"transport": "grcp"}, "one of: grpc, grpc_asyncio, rest.\n  Remedy: did you mean 'grpc'"),
    (
        {"transport": "carrier-pigeon"},
        "one of: grpc, grpc_asyncio, rest.\n  Remedy: give transport='grpc', for",
    ),
    ({"transport": ""}, "it is one of: grpc, grpc_asyncio, rest"),
    ({"transport": 1}, "transport must be one of 'grpc', 'grpc_asyncio', 'rest', not int"),
    ({"auth": "oath"}, "did you mean 'oauth'"),
    ({"tuned_transport": "grpc_asyncio"}, "it is one of: grpc, rest"),
    ({"raw_configure": "ignore"}, "it is one of: warn, merge, isolate, error"),
    ({"raw_configure": "isolated"}, "did you mean 'isolate'"),
    ({"existing_models": "kept"}, "did you mean 'keep'"),
    ({"backend": "vertx"}, "did you mean 'vertex'"),
    # Vertex AI
    ({"tuned_endpoints": "tunedModels/mine"}, "tuned_endpoints must be a dict, not str"),
    ({"tuned_endpoints": 1}, "tuned_endpoints must be a dict, not int"),
    ({"tuned_endpoints": {1: "2"}}, "tuned_endpoints must be a dict of strings, not int"),
    ({"tuned_endpoints": {"mine": "1"}}, "give 'tunedModels/mine'"),
    ({"tuned_endpoints": {"models/mine": "1"}}, "not the name of a tuned model"),
    ({"tuned_endpoints": {"tunedModels/": "1"}}, "not the name of a tuned model"),
    ({"tuned_endpoints": {"tunedModels/a/../b": "1"}}, "not the name of a tuned model"),
    ({"tuned_endpoints": {"tunedModels/a\n": "1", "tunedModels/a b": "1"}}, "of a tuned model"),
    ({"tuned_endpoints": {f"tunedModels/{'x' * 5}?{KEY}": "1"}}, "looks like a key"),
    ({"tuned_endpoints": {"tunedModels/m": 5}}, "must be a dict of strings, not int"),
    ({"tuned_endpoints": {"tunedModels/m": ""}}, "is not an endpoint on Vertex AI"),
    ({"tuned_endpoints": {"tunedModels/m": "endpoints/5"}}, "is not an endpoint on Vertex AI"),
    *(
        ({"tuned_endpoints": {"tunedModels/m": name}}, "is not an endpoint on Vertex AI")
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
    ({"vertex_endpoint": "http://example.com"}, "in the clear"),
    ({"vertex_endpoint": "user:word@host"}, "a user name or a password"),
    ({"vertex_endpoint": "host/path?x"}, "a query or a fragment"),
    ({"vertex_endpoint": 1}, "vertex_endpoint must be a string, not int"),
    # API key
    ({"api_key": "AIza inner"}, "white space, a control character .* 10 characters"),
    ({"api_key": "AIza\ninner"}, "a key is one unbroken word"),
    ({"api_key": "AIza\0inner"}, "a control character"),
    ({"api_key": "AIza\x7finner"}, "a control character"),
    ({"api_key": "AIzaé"}, "not ASCII"),
    ({"api_key": "AIza\u200b"}, "not ASCII"),
    ({"api_key": f'"{KEY}"'}, "quotation mark"),
    ({"api_key": f"'{KEY}'"}, "quotation mark"),
    ({"credentials": ' {"type": "service_account"}'}, "is the content of a file or a secret"),
    ({"credentials": "-----BEGIN PRIVATE KEY-----"}, "is the content of a file or a secret"),
    ({"api_key": '"'}, "quotation mark"),
    ({"api_key": KEY.encode()}, "api_key must be a string, not bytes"),
    ({"api_key": 1}, "api_key must be a string, not int"),
    ({"api_key": KEY, "client_options": {"api_key": KEY}}, "api_key is given twice"),
    ({"client_options": ClientOptions(api_key=KEY), "api_key": "other"}, "api_key is given twice"),
    ({"client_options": {"api_key": "AIza inner"}}, "white space"),
    # Credentials
    ({"credentials": 1}, "credentials must be google.auth credentials, the path or .* not int"),
    ({"credentials": ""}, "credentials is not a path"),
    ({"credentials": "  "}, "credentials is not a path"),
    ({"credentials": "/a\0b"}, "credentials is not a path"),
    ({"credentials": Path()}, "cannot be read"),
    ({"credentials": "/no/such/key.json"}, "cannot be read"),
    ({"credentials": {}}, "no 'type'"),
    ({"credentials": {"type": 1}}, "no 'type'"),
    ({"credentials": {"type": "service_acount"}}, "google-auth knows"),
    ({"credentials": "/k", "client_options": {"credentials_file": "/k"}}, "given twice"),
    # Endpoint
    (endpoint(1), "must be a string, not int"),
    (endpoint("https://user@host"), "a user name or a password"),
    (endpoint("user:word@host:443"), "a user name or a password"),
    (endpoint("https://host?key=1"), "a query or a fragment"),
    (endpoint("host/path?x"), "a query or a fragment"),
    (endpoint("https://host#top"), "a query or a fragment"),
    (endpoint("ftp://host"), "the scheme 'ftp'"),
    (endpoint("unix://host"), "the scheme 'unix'"),
    (endpoint("grpc://host:443"), "the scheme 'grpc'"),
    (endpoint("file:///etc/passwd"), "there is no host"),
    (endpoint("http://example.com"), "in the clear.\n  Remedy: give 'https://example.com'"),
    (endpoint("HTTP://example.com"), "in the clear"),
    (endpoint("http://127.0.0.1.evil.com"), "in the clear"),
    (endpoint("http://10.0.0.1:80"), "in the clear"),
    (endpoint("http://0.0.0.0"), "in the clear"),
    (endpoint("http://[2001:db8::1]"), "in the clear"),
    (endpoint("http://localhost.evil.com"), "in the clear"),
    (endpoint("host:65536"), "no number up to 65535"),
    (endpoint("host:0"), "a port that cannot be"),
    (endpoint("host:"), "a port that cannot be"),
    (endpoint("https://host:"), "a port that cannot be"),
    (endpoint("https:/host"), "a port that cannot be"),
    (endpoint("host:-1"), "no number up to 65535"),
    (endpoint("host:port"), "no number up to 65535"),
    (endpoint("host:1:2"), "no number up to 65535"),
    (endpoint("::1"), "no number up to 65535"),
    (endpoint("[::1"), "its brackets do not close"),
    (endpoint("evil.com/ x"), "white space"),
    (endpoint("evil.com\r\nx-goog-api-key: k"), "white space"),
    (endpoint("host\0"), "a control character"),
    (endpoint("hóst"), "not ASCII"),
    (endpoint("https://"), "there is no host"),
    (endpoint("/path"), "there is no host"),
    (endpoint(".."), "a host or a port that cannot be"),
    (endpoint("a..b"), "a host or a port that cannot be"),
    (endpoint("-a.com"), "a host or a port that cannot be"),
    (endpoint("evil.com\\@host"), "a user name or a password"),
    (endpoint("evil.com\\x"), "a host or a port that cannot be"),
    (endpoint("host,other"), "a host or a port that cannot be"),
    # The other client options
    ({"client_options": {"client_cert_source": b"pem"}}, "a function that gives a certificate"),
    ({"client_options": {"client_encrypted_cert_source": "/p"}}, "a function that gives"),
    ({"client_options": {"api_audience": "a b"}}, "is no api audience"),
    ({"client_options": {"universe_domain": "evil.com/"}}, "is no universe domain"),
    ({"client_options": {"quota_project_id": "NO!"}}, "is no quota project"),
    ({"client_options": {"scopes": 1}}, "scopes must be a sequence of strings"),
    # Vertex
    ({"location": "evil.com/"}, "is no location.\n  Remedy: give location='us-central1'"),
    ({"location": "../"}, "is no location"),
    ({"location": "us-central1-a"}, "is no location"),
    ({"location": "us-central1\n.evil.com"}, "is no location"),
    ({"location": "US"}, "is no location"),
    ({"location": 1}, "location must be a string, not int"),
    ({"project": "my project"}, "is no project"),
    ({"project": "a/../b"}, "is no project"),
    ({"project": "short"}, "is no project"),
    ({"quota_project": "x\r\nauthorization: y"}, "is no quota project"),
    ({"endpoint": "1/../2"}, "is no endpoint"),
    # Seconds
    *[
        (
            {name: value},
            f"{name} must be a number of seconds, not {type(value).__name__}.\n.*give {name}=30",
        )
        for name in ("timeout", "auth_timeout")
        for value in (True, "30", [1])
    ],
    *[
        ({name: value}, f"{name}=.* is no bound")
        for name in ("timeout", "auth_timeout")
        for value in (0, -1, -0.5, float("nan"), float("inf"), 10**400, 1e300)
    ],
    # Scopes
    ({"scopes": 1}, "scopes must be a sequence of strings, not int"),
    ({"scopes": b"scope"}, "not bytes"),
    ({"scopes": {"scope": 1}}, "not dict"),
    ({"scopes": [1]}, "scopes must be a string, not int"),
    ({"scopes": ["a b"]}, "'a b' is no OAuth scope"),
    ({"scopes": ["é"]}, "is no OAuth scope"),
    # Proxy
    ({"proxy": 1}, "proxy must be a string, not int"),
    ({"proxy": "host:3128"}, "not the address of an HTTP proxy"),
    ({"proxy": "socks5://host:1080"}, "not the address of an HTTP proxy"),
    ({"proxy": "http://host/path"}, "not the address of an HTTP proxy"),
    ({"proxy": "http://host?x"}, "not the address of an HTTP proxy"),
    ({"proxy": "http://user:1#word@host"}, "not the address of an HTTP proxy"),
    ({"proxy": "http://user:wo rd@host"}, "white space"),
    ({"proxy": "http://host:99999"}, "no number up to 65535"),
    # Certificate authorities
    ({"ca_certs": 1}, "ca_certs must be a path, not int"),
    ({"ca_certs": b"/ca.pem"}, "ca_certs must be a path, not bytes"),
    ({"ca_certs": ""}, "ca_certs is not a path"),
    ({"ca_certs": "/no/such/ca.pem"}, "cannot be used: No such file"),
    # Client info
    ({"client_info": "me/1.0"}, "client_info must be a google.api_core ClientInfo, not str"),
    ({"client_info": SimpleNamespace(user_agent="me")}, "not SimpleNamespace"),
    # Metadata
    ({"default_metadata": 1}, "a sequence of .* pairs, not int"),
    ({"default_metadata": "x-a: b"}, "a sequence of .* pairs, not str"),
    ({"default_metadata": b"x"}, "not bytes"),
    (headers("x-a: b"), "a sequence of .* pairs, not str"),
    (headers(("x-a",)), "not tuple"),
    (headers(("x-a", "b", "c")), "not tuple"),
    (headers((1, "b")), "not tuple"),
    (headers(("", "b")), "'' is no header name"),
    (headers(("x a", "b")), "'x a' is no header name"),
    (headers(("x:a", "b")), "is no header name"),
    (headers(("x\r\nauthorization", "b")), "is no header name"),
    (headers(("é", "b")), "is no header name"),
    (headers(("x-a", "b\r\nauthorization: c")), "'x-a' cannot be sent"),
    (headers(("x-a", "b\n")), "'x-a' cannot be sent"),
    (headers(("x-a", "é")), "'x-a' cannot be sent"),
    (headers(("x-a", b"b")), "'x-a' cannot be sent"),
    (headers(("x-a", None)), "'x-a' cannot be sent"),
    (headers(("x-a-bin", "b")), "bytes go under a name that ends in -bin"),
    (headers(("x-a", "fine"), ("x-b", "b\n")), "'x-b' cannot be sent"),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_bad_input_is_refused_with_nothing_changed(settings: dict[str, Any], words: str) -> None:
    """The error is ours, says what is wrong and what to do, and no part of the call is kept."""
    safe_configure(api_key="before", transport="rest", default_metadata=[("x-a", "before")])
    published, snapshot = state.published, state.current()
    with pytest.raises((ConfigurationError, InvalidCredentialsError), match=f"(?s){words}") as got:
        safe_configure(**{"quota_project": "good-project", **settings})
    assert got.value.remedy
    assert state.published is published
    assert state.current() is snapshot


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_a_scope_refuses_what_safe_configure_refuses(settings: dict[str, Any], words: str) -> None:
    """override() looks at its settings where it is written, before it is entered."""
    with pytest.raises((ConfigurationError, InvalidCredentialsError), match=f"(?s){words}"):
        override(**settings)
    assert state.scopes() == ()


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
        ({"client_options": {"client_encrypted_cert_source": print}}, print),
        ({"client_options": {"api_audience": "https://a/"}}, "https://a/"),
        ({"client_options": {"universe_domain": "example.com"}}, "example.com"),
        ({"client_options": {"quota_project_id": "my-project"}}, "my-project"),
        ({"client_options": {"scopes": ["a"]}}, ("a",)),
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
        ({"scopes": "a b,c\n a"}, ("a", "b", "c")),
        ({"scopes": ["b", "a", "", "b"]}, ("b", "a")),
        ({"scopes": (scope for scope in "ab")}, ("a", "b")),
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
