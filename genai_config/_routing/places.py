"""Where a request is served: the Gemini API or Vertex AI, hosts and names of models. Pure.

A name becomes part of a URL, and may come from an end user: what does not have exactly one of the
forms below is refused. Sources: [H] https://cloud.google.com/vertex-ai/docs/reference/rest (hosts),
[M] https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1beta1 (names).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Literal, NamedTuple

from genai_config._masking import scrub
from genai_config._settings import validation
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genai_config._settings.model import GenAIConfig

Backend = Literal["gemini", "vertex"]

TUNED_PREFIX = "tunedModels/"

MULTI_REGIONS = ("us", "eu")
"""Locations that are several regions, and have hosts of their own form."""

_MODEL = r"[A-Za-z0-9][A-Za-z0-9._@-]*"
_PUBLISHER = r"[a-z0-9][a-z0-9-]*"
_ID = r"[A-Za-z0-9_-]+"
_PARENT = r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)"
_FULL = (
    rf"{_PARENT}/(?P<rest>endpoints/{_ID}|publishers/{_PUBLISHER}/models/{_MODEL}"
    rf"|cachedContents/{_ID})"
)
_PUBLISHED = rf"publishers/{_PUBLISHER}/models/{_MODEL}"
_GOOGLES = rf"(models/)?(?P<model>{_MODEL})"
_PUBLISHERS = rf"(?P<publisher>{_PUBLISHER})/(?P<model>{_MODEL})"
_CACHE = rf"cachedContents/{_ID}"

VERTEX_PREFIXES = ("projects/", "publishers/")

FORMS = (
    "projects/P/locations/L/endpoints/ID, projects/P/locations/L/publishers/google/models/M, "
    "publishers/google/models/M"
)
"""The names that choose Vertex AI by themselves."""


class Resource(NamedTuple):
    """Something that Vertex AI serves.

    Attributes:
        project: The id or number of a Google Cloud project.
        location: A region, "global", "us" or "eu".
        path: What follows: "endpoints/ID", "publishers/P/models/M", "cachedContents/ID", or "".
    """

    project: str
    location: str
    path: str

    @property
    def parent(self) -> str:
        """The project and the location, as names have them."""
        return f"projects/{self.project}/locations/{self.location}"

    @property
    def name(self) -> str:
        """The full name."""
        return f"{self.parent}/{self.path}" if self.path else self.parent


def is_vertex_name(name: str) -> bool:
    """Whether a resource's name belongs to Vertex AI whatever `backend` says."""
    return name.startswith(VERTEX_PREFIXES)


def endpoint_of(config: GenAIConfig, model: str) -> str | None:
    """The endpoint that a tuned model is mapped to; None: it is not."""
    return dict(config.tuned_endpoints).get(model)


def backend_of(config: GenAIConfig, name: str) -> Backend:
    """Where a resource is served."""
    mapped = name.startswith(TUNED_PREFIX) and endpoint_of(config, name) is not None
    return "vertex" if mapped or is_vertex_name(name) else config.backend


def vertex_host(location: str, universe_domain: str = "googleapis.com") -> str:
    """The host of Vertex AI for a location [H]."""
    if location == "global":
        return f"aiplatform.{universe_domain}"
    if location in MULTI_REGIONS:
        return f"aiplatform.{location}.rep.{universe_domain}"
    return f"{location}-aiplatform.{universe_domain}"


def vertex_url(config: GenAIConfig, location: str, environ: Mapping[str, str] | None = None) -> str:
    """The URL that paths of Vertex AI are appended to.

    It is never `client_options.api_endpoint`: a gateway for the Gemini API gets no token that
    opens the rest of Google Cloud.
    """
    if config.vertex_endpoint:
        address = config.vertex_endpoint
        return address if "://" in address else f"https://{address}"
    environ = os.environ if environ is None else environ
    universe = (
        config.client_options.universe_domain
        or validation.CLIENT_OPTIONS["universe_domain"](
            environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "")
        )
        or "googleapis.com"
    )
    return f"https://{vertex_host(location, universe)}"


def needs_project(config: GenAIConfig, name: str) -> bool:
    """Whether the project has to be looked up in the credentials to name a resource in full."""
    full = endpoint_of(config, name) or name
    return config.project is None and not full.startswith("projects/")


def resource(config: GenAIConfig, name: str, project: str | None = None) -> Resource:
    """The full name of a model or cache, as Vertex AI wants it [M].

    Args:
        config: The configuration in force.
        name: "tunedModels/…" with an endpoint, a full name, "publishers/…/models/…", the name of
            one of Google's models, "PUBLISHER/MODEL", "cachedContents/…"; "": project and
            location alone.
        project: The credentials' project, for when none is configured.

    Raises:
        ConfigurationError: It has no such form, or the project or the location is missing.
    """
    if name.startswith(TUNED_PREFIX):
        mapped = endpoint_of(config, name)
        if mapped is None:
            raise unmapped(name)
        name = mapped if "/" in mapped else f"endpoints/{mapped}"
    if name.startswith("projects/"):
        return _full(name)
    return Resource(
        config.project or _project(project), checked_location(config.location), _path(name)
    )


def unmapped(name: str) -> ConfigurationError:
    """The error for a tuned model of the Gemini API that Vertex AI knows nothing of."""
    return ConfigurationError(
        f"{scrub(name)} is a tuned model of the Gemini API, and Vertex AI serves tuned models by "
        "their endpoint.",
        f"safe_configure(tuned_endpoints={{{scrub(name)!r}: 'projects/P/locations/L/endpoints/ID'}}"
        ") (find the ID with: gcloud ai endpoints list --region=L)",
    )


def _full(name: str) -> Resource:
    match = re.fullmatch(_FULL, name)
    if match is None:
        raise _refused(name)
    try:
        validation.SETTINGS["project"](match["project"])
        validation.SETTINGS["location"](match["location"])
        checked_location(match["location"])
    except ConfigurationError:
        raise _refused(name) from None
    return Resource(match["project"], match["location"], match["rest"])


def _path(name: str) -> str:
    if not name or re.fullmatch(_PUBLISHED, name) or re.fullmatch(_CACHE, name):
        return name
    if re.fullmatch(rf"endpoints/{_ID}", name):
        return name
    match = re.fullmatch(_GOOGLES, name)
    if match:
        return f"publishers/google/models/{match['model']}"
    match = re.fullmatch(_PUBLISHERS, name)
    if match is None:
        raise _refused(name)
    return f"publishers/{match['publisher']}/models/{match['model']}"


def _refused(name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{scrub(name)!r} is not the name of a model on Vertex AI.",
        f"give one of these forms: {FORMS}; or, with backend='vertex', the bare name of one of "
        "Google's models.",
    )


def _project(found: str | None) -> str:
    if not found:
        raise ConfigurationError(
            "Vertex AI needs a project, and none is configured; the credentials name none either.",
            "safe_configure(project='my-project') or export GOOGLE_CLOUD_PROJECT=my-project",
        )
    # Out of a file or a metadata server: it goes into a URL like all else.
    checked: str = validation.SETTINGS["project"](found)
    return checked


def checked_location(location: str | None) -> str:
    """A location that Vertex AI may have.

    Raises:
        ConfigurationError: None is given, or it is no location.
    """
    if not location:
        raise ConfigurationError(
            "Vertex AI needs a location, and none is configured.",
            "give location='us-central1' ('global', 'us' and 'eu' are locations too), or export "
            "GOOGLE_CLOUD_LOCATION=us-central1",
        )
    if "-" not in location and location not in ("global", *MULTI_REGIONS):
        raise ConfigurationError(
            f"location={location!r} is not a location of Vertex AI.",
            "give a region, such as location='us-central1', or 'global', 'us' or 'eu'.",
        )
    return location
