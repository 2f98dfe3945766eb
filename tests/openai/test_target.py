from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from genai_config import GenAIConfig
from genai_config._clients.resolve import resolve
from genai_config._clients.target import Target, origin
from genai_config._routing.decision import BASE_SCOPES, CLOUD_PLATFORM
from genai_config.exceptions import APIKeyRequiredError, ConfigurationError, OAuthRequiredError

NOTHING = GenAIConfig()
KEY = GenAIConfig(api_key="k")
VERTEX: dict[str, Any] = {"project": "my-project", "location": "us-central1"}
URL = "https://us-central1-aiplatform.googleapis.com/v1/projects/my-project/locations/us-central1"


def target(config: GenAIConfig = NOTHING, **arguments: Any) -> Target:
    """What arguments make of a configuration where the environment says nothing."""
    return resolve(config, **{"environ": {}, **arguments})


@pytest.mark.parametrize("endpoint", ["openapi", "1234567890"])
@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("europe-west12", "europe-west12-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_urls_of_vertex(location: str, host: str, version: str, endpoint: str) -> None:
    """Location, endpoint and version make the URL, in each combination."""
    made = target(project="my-project", location=location, endpoint=endpoint, api_version=version)
    path = f"{version}/projects/my-project/locations/{location}/endpoints/{endpoint}"
    assert made.base_url == f"https://{host}/{path}"
    assert made.origin == f"https://{host}"
    assert (made.backend, made.auth, made.scopes) == ("vertex", "oauth", (CLOUD_PLATFORM,))
    assert (made.project, made.location, made.endpoint) == ("my-project", location, endpoint)
    assert target(base_url=made.base_url + "/") == made


def test_url_of_gemini() -> None:
    """The key is enough, and no Vertex AI is needed."""
    made = target(KEY)
    assert made.base_url == "https://generativelanguage.googleapis.com/v1beta/openai"
    assert (made.backend, made.auth, made.scopes) == ("gemini", "api_key", ())
    assert target(KEY, base_url=made.base_url) == made
    assert made.title == "the Gemini API"


@pytest.mark.parametrize(
    ("settings", "arguments", "backend", "auth"),
    [
        ({"api_key": "k"}, {}, "gemini", "api_key"),
        ({"api_key": "k", "project": "my-project"}, {}, "gemini", "api_key"),
        ({"api_key": "k"}, VERTEX, "vertex", "oauth"),
        ({"api_key": "k", **VERTEX}, {"backend": "gemini"}, "gemini", "api_key"),
        ({"api_key": "k", **VERTEX}, {"backend": "vertex"}, "vertex", "oauth"),
        ({"api_key": "k", **VERTEX, "auth": "oauth"}, {}, "vertex", "oauth"),
        ({"api_key": "k", **VERTEX, "auth": "api_key"}, {}, "gemini", "api_key"),
        ({"api_key": "k", **VERTEX}, {"endpoint": "1"}, "vertex", "oauth"),
        (VERTEX, {}, "vertex", "oauth"),
        ({}, {"backend": "gemini"}, "gemini", "oauth"),
        ({"api_key": "k", "auth": "oauth"}, {"backend": "gemini"}, "gemini", "oauth"),
    ],
)
def test_the_backend_is_what_is_configured(
    settings: dict[str, Any], arguments: dict[str, str], backend: str, auth: str
) -> None:
    """Arguments go before the configuration; a project alone says nothing."""
    made = target(GenAIConfig(**settings), **arguments)
    assert (made.backend, made.auth) == (backend, auth)


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"api_key": "k", **VERTEX}, "an API key, location='us-central1'"),
        ({"api_key": "k", "endpoint": "1"}, "an API key, endpoint='1'"),
        ({}, "neither an API key nor a location"),
        ({"api_key": "k", "auth": "oauth"}, "neither"),
    ],
)
def test_an_ambiguity_is_an_error(settings: dict[str, Any], found: str) -> None:
    """It lists what was found, and says how to choose."""
    with pytest.raises(ConfigurationError, match=found) as caught:
        target(GenAIConfig(**settings))
    assert "backend='gemini'" in caught.value.remedy


def test_scopes() -> None:
    """Those of the configuration go before those of the service."""
    assert target(backend="gemini").scopes == BASE_SCOPES
    mine = GenAIConfig(scopes=["email"])
    assert target(mine, backend="gemini").scopes == target(mine, **VERTEX).scopes == ("email",)


def test_a_key_alone_opens_no_vertex() -> None:
    """What rules out the credentials that are needed is an error."""
    only = GenAIConfig(auth="api_key")
    with pytest.raises(OAuthRequiredError, match="Vertex AI takes OAuth"):
        target(only, **VERTEX)
    with pytest.raises(APIKeyRequiredError, match="there is no API key"):
        target(only, backend="gemini")


def test_the_project_is_asked_for_last() -> None:
    """The argument, the configuration, then the credentials; the location is never guessed."""
    asked: list[tuple[str, ...]] = []

    def found(scopes: tuple[str, ...]) -> str:
        asked.append(scopes)
        return "found-project"

    config = GenAIConfig(project="its-project", location="eu", endpoint="1")
    assert target(config, found_project=found).project == "its-project"
    assert target(config, project="my-project", found_project=found).project == "my-project"
    assert target(config).endpoint == "1"
    assert asked == []
    assert target(location="eu", found_project=found).project == "found-project"
    assert asked == [(CLOUD_PLATFORM,)]
    with pytest.raises(ConfigurationError, match="export GOOGLE_CLOUD_PROJECT="):
        target(location="eu", found_project=lambda _: None)
    with pytest.raises(ConfigurationError, match="needs a project"):
        target(location="eu")
    with pytest.raises(ConfigurationError, match="export GOOGLE_CLOUD_LOCATION="):
        target(project="my-project")


@pytest.mark.parametrize("name", ["project", "location", "endpoint"])
@pytest.mark.parametrize(
    "value",
    [
        "evil.com/",
        "../..",
        "..",
        "a b",
        "a\nb",
        "a\0",
        "a#",
        "a?b",
        "a@evil.com",
        "é",
        "%2e",
        "{v}",
    ],
)
def test_a_place_that_is_none_is_refused(name: str, value: str) -> None:
    """Nothing that is given can lead to another host or path."""
    with pytest.raises(ConfigurationError, match=f"{name}="):
        target(**{**VERTEX, name: value})


PARTS = st.text() | st.text("abc019-./:@%?#\\ \n", min_size=1)


@given(
    project=PARTS | st.sampled_from(["my-project", "example.com:my-project", "123"]),
    location=PARTS | st.sampled_from(["eu", "us-central1", "global"]),
    endpoint=PARTS | st.sampled_from(["openapi", "1"]),
)
@example(project="example.com:my-project", location="us", endpoint="1")
def test_whatever_is_given_leads_to_google(project: str, location: str, endpoint: str) -> None:
    """Or is refused: the host is Google's, and the path has its seven parts."""
    try:
        made = target(project=project, location=location, endpoint=endpoint)
    except ConfigurationError:
        return
    parts = urlsplit(made.base_url)
    assert re.fullmatch(
        r"([a-z]+-[a-z]+[0-9]+-)?aiplatform(\.(us|eu)\.rep)?\.googleapis\.com", parts.netloc
    )
    assert re.fullmatch(r"/v1/projects/[^/]+/locations/[^/]+/endpoints/[^/]+", parts.path)
    assert not parts.query + parts.fragment


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"backend": "azure"}, "no backend 'azure'"),
        ({"backend": 1}, "no backend '1'"),
        ({"project": 1}, "project must be a string"),
        ({**VERTEX, "location": "mars"}, "'mars' .*\\s.*'global', 'us' or 'eu'"),
        ({**VERTEX, "api_version": "v2"}, "Vertex AI has no .* version 'v2'"),
        ({**VERTEX, "api_version": "v1/../"}, "no .* version"),
        ({"backend": "gemini", "api_version": "v1"}, "the Gemini API has no .* version 'v1'"),
        ({"backend": "gemini", "location": "eu"}, "has no location"),
        ({"backend": "gemini", "base_url": URL + "/endpoints/1"}, "has no project and no location"),
        ({"base_url": URL + "/endpoints/1", "location": "eu"}, "location would be part"),
        ({"base_url": URL, "api_version": "v1"}, "api_version would be part"),
        (
            {"base_url": "api.openai.com/v1"},
            r"(?s)base_url='api.openai.com/v1' is neither of Vertex AI.*for OpenAI's own service",
        ),
        ({"base_url": 5}, "base_url must be a string, not int"),
        ({"base_url": ""}, "neither of Vertex AI"),
        ({"base_url": URL + "/endpoints/"}, "neither of Vertex AI"),
        ({"base_url": "https://h/v1/projects//locations/eu/endpoints/1"}, "an empty part"),
        ({"base_url": "https://h/v1/../openai"}, r"'\.\.'"),
        ({"base_url": "http://example.com/v1beta/openai"}, "unencrypted"),
        ({"base_url": "https://me:pw@example.com/openai"}, "a user name or a password"),
        ({"base_url": "https://a b/openai"}, "base_url is not a valid address"),
        ({"base_url": "https://h/v1/projects/{p}/locations/eu/endpoints/1"}, "project="),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], problem: str) -> None:
    """Each is refused before anything is sent, with a remedy."""
    with pytest.raises(ConfigurationError, match=problem) as caught:
        target(**arguments)
    assert caught.value.remedy


def test_a_gateway_of_ones_own() -> None:
    """A whole URL may lead anywhere, if it is said whose credentials it takes."""
    made = target(base_url="gateway.example/llm", backend="vertex")
    assert (made.base_url, made.model("any thing")) == ("https://gateway.example/llm", "any thing")
    made = target(base_url="http://127.0.0.1:8080/x/openai")
    assert (made.backend, made.origin) == ("gemini", "http://127.0.0.1:8080")


@pytest.mark.parametrize(
    ("endpoint", "vertex", "gemini"),
    [
        ("localhost:8080", "https://localhost:8080", None),
        ("http://localhost:8080/x", "http://localhost:8080/x", None),
        ("generativelanguage.googleapis.com", "https://aiplatform.eu.rep.googleapis.com", None),
        ("aiplatform.example", None, None),
        (
            "https://us-central1-aiplatform.googleapis.com",
            None,
            "https://generativelanguage.googleapis.com",
        ),
    ],
)
def test_a_configured_endpoint_is_where_the_service_is(
    endpoint: str, vertex: str | None, gemini: str | None
) -> None:
    """The path stays; the host that Google has for the other service is not meant."""
    config = GenAIConfig(api_key="k", client_options={"api_endpoint": endpoint})
    here = endpoint if "://" in endpoint else f"https://{endpoint}"
    made = target(config, project="my-project", location="eu")
    path = "/v1/projects/my-project/locations/eu/endpoints/openapi"
    assert made.base_url == (vertex or here) + path
    assert target(config).base_url == (gemini or here) + "/v1beta/openai"


def test_universe_domain() -> None:
    """It takes the place of googleapis.com: the configuration's before the environment's."""
    config = GenAIConfig(api_key="k", client_options={"universe_domain": "one.example"})
    other = {"GOOGLE_CLOUD_UNIVERSE_DOMAIN": "two.example"}
    assert target(config, environ=other, **VERTEX).origin == (
        "https://us-central1-aiplatform.one.example"
    )
    assert target(KEY, environ=other).origin == "https://generativelanguage.two.example"
    with pytest.raises(ConfigurationError, match="universe_domain"):
        target(KEY, environ={"GOOGLE_CLOUD_UNIVERSE_DOMAIN": "evil.example/"})


def test_the_environment_is_that_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless another is given."""
    monkeypatch.setenv("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "one.example")
    assert resolve(KEY).origin == "https://generativelanguage.one.example"


@pytest.mark.parametrize(
    ("name", "vertex", "gemini"),
    [
        ("gemini-3.6-flash", "google/gemini-3.6-flash", "gemini-3.6-flash"),
        ("models/gemini-3.6-flash", "google/gemini-3.6-flash", "gemini-3.6-flash"),
        ("google/gemini-3.6-flash", "google/gemini-3.6-flash", "gemini-3.6-flash"),
        ("publishers/google/models/gemini-x", "google/gemini-x", "gemini-x"),
        ("text-embedding-005", "google/text-embedding-005", "text-embedding-005"),
        ("meta/llama-4@001", "meta/llama-4@001", "meta/llama-4@001"),
        ("gpt-4o", None, "gpt-4o"),
        ("tunedModels/mine", None, "tunedModels/mine"),
        ("", None, None),
        ("../gemini", None, None),
        ("gemini 2", None, None),
        ("gemini-2\n", None, None),
        ("google/", None, None),
    ],
)
def test_a_models_name_is_completed(name: str, vertex: str | None, gemini: str | None) -> None:
    """Each service gets the form that it knows; what is no model's name is refused."""
    for made, wanted in ((target(**VERTEX), vertex), (target(KEY), gemini)):
        if wanted is None:
            with pytest.raises(ConfigurationError) as caught:
                made.model(name)
            assert "gemini-3.6-flash'" in caught.value.remedy
        else:
            assert made.model(name) == wanted
            assert made.model(wanted) == wanted
    assert target(**VERTEX, endpoint="1").model(name) == name


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://HOST:443/x", "https://host"),
        ("http://host:80", "http://host"),
        ("http://host:443", "http://host:443"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
    ],
)
def test_origin(url: str, shown: str) -> None:
    """It is the same however it is written."""
    assert origin(url) == shown
