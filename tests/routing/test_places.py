"""Where requests are served, and the names and hosts of Vertex AI."""

from __future__ import annotations

from typing import Any

import pytest

from genai_config import GenAIConfig
from genai_config._routing import places
from genai_config._routing.decision import RULES, TUNED_SCOPES, VERTEX_SCOPES, route, tuned_scopes
from genai_config.exceptions import (
    ConfigurationError,
    OAuthRequiredError,
    UnsupportedRequestError,
)

PARENT = "projects/my-project/locations/us-central1"
ENDPOINT = f"{PARENT}/endpoints/456"
OTHER = "projects/123/locations/europe-west4/endpoints/789"


def config(**settings: Any) -> GenAIConfig:
    """A configuration with a project, a location and two tuned models on Vertex AI."""
    return GenAIConfig().merge(
        **{
            "api_key": "made-up",
            "project": "my-project",
            "location": "us-central1",
            "tuned_endpoints": {"tunedModels/mine": "456", "tunedModels/other": OTHER},
            **settings,
        }
    )


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("tunedModels/mine", ENDPOINT),
        ("tunedModels/other", OTHER),
        (ENDPOINT, ENDPOINT),
        (OTHER, OTHER),
        ("projects/example.com:old-one/locations/global/endpoints/9",
         "projects/example.com:old-one/locations/global/endpoints/9"),
        ("endpoints/456", ENDPOINT),
        ("gemini-x", f"{PARENT}/publishers/google/models/gemini-x"),
        ("models/gemini-x", f"{PARENT}/publishers/google/models/gemini-x"),
        ("models/embedding-5@1", f"{PARENT}/publishers/google/models/embedding-5@1"),
        ("publishers/google/models/gemini-x", f"{PARENT}/publishers/google/models/gemini-x"),
        ("publishers/meta/models/llama-4", f"{PARENT}/publishers/meta/models/llama-4"),
        ("meta/llama-4", f"{PARENT}/publishers/meta/models/llama-4"),
        (f"{PARENT}/publishers/google/models/gemini-x",
         f"{PARENT}/publishers/google/models/gemini-x"),
        ("cachedContents/1", f"{PARENT}/cachedContents/1"),
        (f"{PARENT}/cachedContents/1", f"{PARENT}/cachedContents/1"),
        ("", PARENT),
    ],
)  # fmt: skip
def test_a_name_has_a_full_form(name: str, full: str) -> None:
    """What google-genai makes of it, and what it misreads: an endpoint's own name, an alias."""
    assert places.resource(config(), name).name == full


HOSTILE = [
    "projects/p/locations/evil.com%2F/endpoints/1",
    "projects/my-project/locations/evil.com/endpoints/1",
    "projects/my-project/locations/moon/endpoints/1",
    "projects/my-project/locations/us-central1/endpoints/1/../2",
    "projects/my-project/locations/us-central1/endpoints/1?key=x",
    "projects/my-project/locations/us-central1/endpoints/1#x",
    "projects/my-project/locations/us-central1/endpoints/1:predict",
    "projects/my-project/locations/us-central1/endpoints/",
    "projects/my-project/locations/us-central1/endpoints/1\n",
    "projects/my-project/locations/us-central1/publishers/google/models/../x",
    "projects/my-project/locations/us-central1/models/789@2",
    "projects/../locations/us-central1/endpoints/1",
    "projects/my-project/endpoints/1",
    "projects/",
    "publishers/google/models/x/y",
    "publishers/google/models/",
    "publishers/Google/models/x",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_name_never_reaches_a_url(name: str) -> None:
    """A model's name may come from an end user, and would choose OAuth and a host."""
    assert places.is_vertex_name(name)
    with pytest.raises(ConfigurationError, match="endpoints/ID"):
        places.resource(config(), name)
    with pytest.raises(ConfigurationError, match="endpoints/ID"):
        route(config(), "generative", "generate_content", name)


@pytest.mark.parametrize(
    "name", ["a/b/c", "../x", "models/../x", "tunedModel/x", "x?y", "x y", "/x"]
)
def test_under_the_backend_too(name: str) -> None:
    """There, names that do not choose Vertex AI by themselves go to it."""
    with pytest.raises(ConfigurationError, match="endpoints/ID"):
        route(config(backend="vertex"), "generative", "generate_content", name)


@pytest.mark.parametrize(
    "settings",
    [
        {"vertex_endpoint": "https://gateway.example.com/?"},
        {"vertex_endpoint": "https://gateway.example.com/a#"},
        {"vertex_endpoint": "https://gateway.example.com/a/../b"},
        {"vertex_endpoint": "https://gateway.example.com/%2e%2E/b"},
        {"tuned_endpoints": {"tunedModels/mine": "projects/p-12345/locations/moon/endpoints/1"}},
    ],
)
def test_what_leads_elsewhere_is_refused_where_it_is_given(settings: dict[str, Any]) -> None:
    """The path of a request would end in a query, or in another part of the gateway."""
    with pytest.raises(ConfigurationError):
        GenAIConfig(**settings)


def test_a_tuned_model_without_an_endpoint_is_refused_there() -> None:
    """The remedy is the setting, and how to find the endpoint."""
    with pytest.raises(ConfigurationError) as caught:
        route(config(backend="vertex"), "generative", "generate_content", "tunedModels/x")
    assert "tuned_endpoints={'tunedModels/x':" in caught.value.remedy
    assert "gcloud ai endpoints list" in caught.value.remedy


@pytest.mark.parametrize(
    ("changed", "name", "setting"),
    [
        ({"project": None}, "gemini-x", "project="),
        ({"location": None}, "gemini-x", "location="),
        ({"location": "moon"}, "gemini-x", "location="),
        ({"project": None}, "tunedModels/mine", "project="),
    ],
)
def test_what_is_missing_is_named(changed: dict[str, Any], name: str, setting: str) -> None:
    """A full name needs neither."""
    bare = GenAIConfig().merge(
        **{
            "project": "my-project",
            "location": "us-central1",
            "tuned_endpoints": {"tunedModels/mine": "456"},
            **changed,
        }
    )
    with pytest.raises(ConfigurationError) as caught:
        places.resource(bare, name)
    assert setting in caught.value.remedy
    assert places.resource(bare, ENDPOINT).name == ENDPOINT


def test_the_project_of_the_credentials_is_taken() -> None:
    """It is asked for where it is needed alone, and checked like all that goes into a URL."""
    bare = GenAIConfig().merge(location="global", tuned_endpoints={"tunedModels/o": OTHER})
    assert places.needs_project(bare, "gemini-x")
    assert not places.needs_project(bare, OTHER)
    assert not places.needs_project(bare, "tunedModels/o")
    assert not places.needs_project(bare.merge(project="my-project"), "gemini-x")
    assert places.resource(bare, "gemini-x", "found-1").project == "found-1"
    with pytest.raises(ConfigurationError):
        places.resource(bare, "gemini-x", "evil/../x")


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("us-central1", "us-central1-aiplatform.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
    ],
)
def test_each_location_has_its_host(location: str, host: str) -> None:
    """The list is Google's; google-genai builds the same."""
    assert places.vertex_url(config(), location, {}) == f"https://{host}"


def test_a_universe_has_hosts_of_its_own() -> None:
    """From the option, or from the variable."""
    url = "https://us-central1-aiplatform.example.org"
    assert (
        places.vertex_url(
            config(client_options={"universe_domain": "example.org"}), "us-central1", {}
        )
        == url
    )
    assert (
        places.vertex_url(config(), "us-central1", {"GOOGLE_CLOUD_UNIVERSE_DOMAIN": "example.org"})
        == url
    )


def test_each_service_has_an_endpoint_of_its_own() -> None:
    """A gateway for the Gemini API does not get a token for all of Google Cloud."""
    gateway = config(client_options={"api_endpoint": "gateway.example.com"})
    assert places.vertex_url(gateway, "global", {}) == "https://aiplatform.googleapis.com"
    theirs = gateway.merge(vertex_endpoint="vertex.example.com:8443")
    assert places.vertex_url(theirs, "global", {}) == "https://vertex.example.com:8443"
    with_path = gateway.merge(vertex_endpoint="https://gateway.example.com/vertex")
    assert places.vertex_url(with_path, "global", {}) == "https://gateway.example.com/vertex"


@pytest.mark.parametrize("name", ["tunedModels/mine", ENDPOINT, "publishers/google/models/m"])
@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_route_of_what_vertex_serves(name: str, transport: str, *, asynchronous: bool) -> None:
    """OAuth with one scope, JSON, although there is a key and whatever the transport."""
    given = config(transport=transport, tuned_transport=transport)
    decided = route(given, "generative", "generate_content", name, asynchronous=asynchronous)
    assert decided[:3] == ("oauth", "rest", VERTEX_SCOPES)
    assert decided.place == "vertex"
    assert all(reason.endswith(".") for reason in decided.reasons)


def test_what_is_not_vertex_ais_stays() -> None:
    """Base models go to the Gemini API with the key, in the same configuration."""
    decided = route(config(), "generative", "generate_content", "models/gemini-x")
    assert (decided.place, decided.auth) == ("gemini", "api_key")
    assert route(config(), "generative", "generate_content", "tunedModels/x").place == "gemini"
    assert route(config(backend="vertex"), "generative", "generate_content").place == "vertex"


def test_a_key_is_not_enough() -> None:
    """`auth="api_key"` and Vertex AI exclude each other."""
    with pytest.raises(OAuthRequiredError, match="Vertex AI"):
        route(config(auth="api_key"), "generative", "generate_content", "tunedModels/mine")
    # This comes first: a location would not help.
    nowhere = GenAIConfig().merge(api_key="made-up", backend="vertex", auth="api_key")
    with pytest.raises(OAuthRequiredError, match='auth="api_key"'):
        route(nowhere, "generative", "generate_content", "models/gemini-x")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.service}-{rule.methods[0]}")
def test_a_method_is_served_or_refused_with_the_remedy(rule: Any) -> None:
    """Generating, counting, embedding and caches; the rest belongs to the Gemini API."""
    served = rule.vertex
    assert served == ((rule.service == "cache" and "cached" in rule.methods[0])
                      or rule.methods[0] in ("generate_content", "count_tokens", "embed_content",
                                             "batch_embed_contents"))  # fmt: skip
    for method in rule.methods:
        call = (config(backend="vertex"), rule.service, method)
        if served:
            assert route(*call).place == "vertex"
        else:
            with pytest.raises(UnsupportedRequestError) as caught:
                route(*call)
            assert "override(backend='gemini')" in caught.value.remedy
            assert ("gs://" in caught.value.remedy) == (rule.service == "file")


def test_the_scopes_of_tuned_models_are_those_of_where_they_are() -> None:
    """What `tuned_models()` looks for on entry."""
    assert tuned_scopes(GenAIConfig()) == TUNED_SCOPES
    assert tuned_scopes(config()) == VERTEX_SCOPES
    assert tuned_scopes(GenAIConfig().merge(backend="vertex")) == VERTEX_SCOPES
    assert tuned_scopes(config(scopes=["https://mine"])) == ("https://mine",)
