"""Every environment variable that has a say, in one table.

The rows with a ``setting`` are read by this library, in the order in which they stand: the first
variable that is not empty gives the value. GENAI_CONFIG_PROFILE names a profile, which gives
several. The others are read by google-auth, gRPC or requests.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Variable(NamedTuple):
    """An environment variable: its name, the setting it gives (if any), and what it does."""

    name: str
    setting: str | None
    meaning: str


PROFILE_VARIABLE = "GENAI_CONFIG_PROFILE"
FILE_VARIABLE = "GENAI_CONFIG_FILE"

VARIABLES = (
    Variable(
        PROFILE_VARIABLE,
        None,
        "The profile to use; its settings take precedence over the variables below.",
    ),
    Variable(
        FILE_VARIABLE,
        None,
        "The file with profiles; by default the nearest `genai-config.toml`, or `pyproject.toml` "
        "with `[tool.genai-config]`, in the current folder or above it.",
    ),
    Variable(
        "GEMINI_API_KEY",
        "api_key",
        "The API key; takes precedence over GOOGLE_API_KEY, as in the SDK.",
    ),
    Variable("GOOGLE_API_KEY", "api_key", "The API key, if GEMINI_API_KEY is not set."),
    Variable(
        "GOOGLE_CLOUD_QUOTA_PROJECT",
        "quota_project",
        "The project that OAuth requests are billed to; takes precedence over the one in the ADC "
        "file, as in google-auth.",
    ),
    Variable("GOOGLE_CLOUD_PROJECT", "project", "The project of the Vertex AI clients."),
    Variable("GOOGLE_CLOUD_LOCATION", "location", "The location of the Vertex AI clients."),
    Variable("GOOGLE_APPLICATION_CREDENTIALS", None, "The ADC file, looked for first."),
    Variable("CLOUDSDK_CONFIG", None, "The folder of gcloud's own ADC file, looked for second."),
    Variable("NO_GCE_CHECK", None, '"true": the metadata server is not asked for credentials.'),
    Variable("GCE_METADATA_HOST", None, "The metadata server, looked for last."),
    Variable("COLAB_RELEASE_TAG", None, "Set by Colab, whose metadata server is not used."),
    Variable(
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        None,
        "Certificate authorities for gRPC, read once; `ca_certs` is for these clients only.",
    ),
    Variable(
        "REQUESTS_CA_BUNDLE",
        None,
        "Certificate authorities for REST and for token endpoints; `ca_certs` takes precedence.",
    ),
    Variable("GOOGLE_CLOUD_UNIVERSE_DOMAIN", None, "The universe domain of the API endpoint."),
    Variable("GOOGLE_API_USE_CLIENT_CERTIFICATE", None, '"true": client certificates are used.'),
    Variable("GOOGLE_API_USE_MTLS_ENDPOINT", None, '"always", "never" or "auto".'),
)

_READ = tuple((v.name, v.setting) for v in VARIABLES if v.setting is not None)


AT_IMPORT = frozenset(
    value.strip()
    for value in (os.environ.get(v.name) for v in VARIABLES if v.setting == "api_key")
    if value
)
"""The keys that the environment held when this library was imported: one that the SDK has picked
up at its own import is told from one that the user configured."""


class Found(NamedTuple):
    """A value found in the environment, and the variable that gave it."""

    variable: str
    value: str


_NAMES = tuple(name for name, _ in _READ)
# As os.environ keeps them.
_KEPT = tuple(os.environ.encodekey(name) for name in (PROFILE_VARIABLE, *_NAMES))
_KEPT_FILE = os.environ.encodekey(FILE_VARIABLE)


def fingerprint(environ: Mapping[str, str]) -> tuple[object, ...]:
    """The values of the variables this library reads: two equal ones mean nothing has changed."""
    # Each call asks. os.environ itself takes several microseconds for a variable that is not set.
    kept = getattr(environ, "_data", None)
    if not isinstance(kept, dict):
        return (*profile(environ), *[environ.get(name) for name in _NAMES])
    values = tuple(map(kept.get, _KEPT))
    if values[0] is None:
        return values
    return (*values, kept.get(_KEPT_FILE)) if values[0] else (None, *values[1:])


def profile(environ: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The profile that the environment names, and the file for it; (None, None): it names none."""
    name = environ.get(PROFILE_VARIABLE) or None
    return name, environ.get(FILE_VARIABLE) if name else None


def read(environ: Mapping[str, str]) -> dict[str, list[Found]]:
    """For each setting, what the environment says about it, the winner first.

    A variable that is empty or holds white space alone counts as not set, as in the SDK.
    """
    found: dict[str, list[Found]] = {}
    for name, setting in _READ:
        value = environ.get(name, "").strip()
        if value:
            found.setdefault(setting, []).append(Found(name, value))
    return found


class Watched:
    """Variables that are looked at with each request.

    Args:
        names: Theirs.
    """

    def __init__(self, *names: str) -> None:
        self._names = names
        self._kept = tuple(os.environ.encodekey(name) for name in names)

    def values(self, environ: Mapping[str, str]) -> tuple[Any, ...]:
        """Their values as `os.environ` keeps them, bytes where the system does; None: not set."""
        kept = getattr(environ, "_data", None)
        if not isinstance(kept, dict):
            return tuple([environ.get(name) for name in self._names])
        return tuple(map(kept.get, self._kept))
