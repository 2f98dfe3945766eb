"""From a configuration and scopes to google-auth credentials: given ones, a key file, or ADC.

Finding may read files and ask the metadata server; it never fetches a token.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import MethodType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from genai_config._auth import key_files
from genai_config._masking import copied, shown_path
from genai_config._routing.decision import BASE_SCOPES, CLOUD_PLATFORM, TUNED_SCOPES
from genai_config._settings.callables import name_of
from genai_config._settings.environment import Watched
from genai_config._settings.references import Reference
from genai_config._settings.secrets import SecretMapping
from genai_config._settings.validation import is_credentials
from genai_config.exceptions import (
    CredentialsNotFoundError,
    GenAIConfigError,
    InvalidCredentialsError,
)

if TYPE_CHECKING:
    from genai_config._settings.model import ClientOptions
    from genai_config._settings.secrets import Secret

# What decides which Application Default Credentials google-auth finds.
_ADC_VARIABLES = Watched(
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "NO_GCE_CHECK",
    "GCE_METADATA_HOST",
    "COLAB_RELEASE_TAG",
    "GOOGLE_CLOUD_QUOTA_PROJECT",
)


# Said of a file: its reader may have forgotten that a variable names it.
_NAMED_BY = " (named by GOOGLE_APPLICATION_CREDENTIALS)"


class Found(NamedTuple):
    """Credentials, ready to be refreshed.

    Attributes:
        credentials: A `google.auth.credentials.Credentials` with the scopes of the request.
        description: What they are and where they came from, for people.
        quota_project: The project they bill to by themselves; None: none.
        project: The project they belong to; None: unknown.
        secret: What the reference gave that they were made of; None: it was no reference.
    """

    credentials: Any
    description: str
    quota_project: str | None
    project: str | None
    secret: Secret | None = None

    def __repr__(self) -> str:
        return f"Found({self.description})"  # credentials of a user's own may show what they hold


class _Same:
    """Stands for an object in a key: equal to itself alone, whatever it says it is equal to."""

    __slots__ = ("_object",)

    def __init__(self, given: object) -> None:
        self._object = given  # held, so that no other takes over its id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._object is other._object

    def __hash__(self) -> int:
        return id(self._object)


def login_command(scopes: tuple[str, ...] = TUNED_SCOPES) -> str:
    """The gcloud command that makes end-user credentials with these scopes.

    The scopes of end-user credentials are fixed at login, and any beyond cloud-platform need an
    OAuth client of one's own: https://ai.google.dev/gemini-api/docs/oauth.
    """
    if scopes == (CLOUD_PLATFORM,):
        return "gcloud auth application-default login"
    wanted = ",".join(dict.fromkeys((CLOUD_PLATFORM, *scopes)))
    return (
        "gcloud auth application-default login --client-id-file=client_secret.json "
        f"--scopes='{wanted}'"
    )


def adc_identity() -> tuple[object, ...]:
    """What Application Default Credentials depend on: equal means they are the same."""
    values = _ADC_VARIABLES.values(os.environ)
    return (*values, key_files.file_version(values[0] or adc_path()))


def adc_path() -> Path:
    """The file that `gcloud auth application-default login` writes."""
    from google.auth import _cloud_sdk

    return Path(_cloud_sdk.get_application_default_credentials_path())


def identity(credentials: object) -> object:
    """A hashable stand-in for a `credentials` setting that changes when they do."""
    if credentials is None:
        return adc_identity()
    if isinstance(credentials, Path):
        return credentials, key_files.file_version(credentials)
    if isinstance(credentials, Reference):
        return credentials, _version_of(credentials)
    if isinstance(credentials, (SecretMapping, MethodType)):
        return credentials  # equal by content; by their object, of which each look makes a new one
    return _Same(credentials)


def _version_of(reference: Reference) -> object:
    """What changes when a reference leads to something else, as far as this process can see."""
    if reference.variable is not None:
        return hash(os.environ.get(reference.variable))
    if reference.kind == "from_file":
        return key_files.file_version(reference.where[0])
    return None


def audience(options: ClientOptions) -> str:
    """Whom tokens are for, which Google Distributed Cloud's token endpoints have to be told."""
    if options.api_audience:
        return options.api_audience
    endpoint = options.api_endpoint
    if not endpoint:
        return f"https://generativelanguage.{options.universe_domain or 'googleapis.com'}/"
    return f"https://{urlsplit(endpoint if '://' in endpoint else f'//{endpoint}').netloc}/"


def find(
    credentials: object,
    scopes: tuple[str, ...],
    audience: str = "https://generativelanguage.googleapis.com/",
    origin: str = "the mapping given as credentials=",
) -> Found:
    """Finds the credentials that a `credentials` setting stands for.

    Args:
        credentials: The setting: google-auth credentials, a frozen key file, a path, a function
            that gives tokens, or None for Application Default Credentials.
        scopes: The OAuth scopes to ask for, where the kind of credentials lets one ask.
        audience: Whom the tokens are for, where the kind of credentials wants to know.
        origin: Where a frozen key file came from, for people.

    Raises:
        CredentialsNotFoundError: There are none.
        InvalidCredentialsError: What is there cannot be used.
    """
    from genai_config._auth import custom

    found = _find(credentials, scopes, origin)
    given = found.credentials
    if hasattr(given, "with_gdch_audience") and getattr(given, "_audience", None) is None:
        return found._replace(credentials=given.with_gdch_audience(audience))
    if custom.sets_headers(given):
        return found._replace(credentials=custom.HeaderCredentials(given, audience))
    return found


def find_referenced(
    reference: Reference, secret: Secret, scopes: tuple[str, ...], audience: str
) -> Found:
    """Finds the credentials that a reference leads to: a key file's content.

    Args:
        reference: The reference, for people.
        secret: What it gave.
        scopes: As for `find`.
        audience: As for `find`.

    Raises:
        InvalidCredentialsError: It is no key file's content.
    """
    content = key_files.parsed(secret.get_secret_value(), str(reference))
    found = find(SecretMapping(content), scopes, audience, str(reference))
    return found._replace(secret=secret)


def _find(credentials: object, scopes: tuple[str, ...], origin: str) -> Found:
    if credentials is None:
        return _find_default(scopes)
    if isinstance(credentials, Path):
        return _from_file(credentials, scopes)
    if isinstance(credentials, SecretMapping):
        info = credentials.plain()
        return _found(key_files.load(info, origin, scopes), origin, scopes, info.get("project_id"))
    if not is_credentials(credentials):
        from genai_config._auth.custom import FunctionCredentials

        function: Any = credentials
        origin = f"{name_of(function)}, given as credentials="
        return Found(FunctionCredentials(function), origin, None, None)
    return _found(credentials, "the object given as credentials=", scopes, None)


def find_unasked(credentials: object, scopes: tuple[str, ...]) -> Found | None:
    """As `find`, without a network call: None for the metadata server, and for a reference."""
    if isinstance(credentials, Reference):
        return None
    return _from_adc_file(scopes) if credentials is None else find(credentials, scopes)


def universe(options: ClientOptions) -> str | None:
    """The universe whose credentials are wanted; None: who gave an endpoint knows its own."""
    named = options.universe_domain or os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN")
    return named or (None if options.api_endpoint else "googleapis.com")


def in_universe(found: Found, universe: str | None) -> Found:
    """Credentials, if they belong to the universe that requests go to; None: any.

    Raises:
        InvalidCredentialsError: They belong to another, and their tokens are not to leave it.
    """
    from google.auth.credentials import DEFAULT_UNIVERSE_DOMAIN

    if universe is None:
        return found
    # Some ask the metadata server for it, which is a wait that most people have no use for.
    attribute = "_universe_domain" if universe == DEFAULT_UNIVERSE_DOMAIN else "universe_domain"
    own = getattr(found.credentials, attribute, DEFAULT_UNIVERSE_DOMAIN)
    if own != universe:
        raise InvalidCredentialsError(
            f"{found.description} belong to the universe {own}, and requests go to {universe}.",
            f"safe_configure(client_options={{'universe_domain': {own!r}}}), or give credentials "
            f"of {universe}.",
        )
    return found


def check(credentials: object) -> None:
    """Loads credentials given as a path or a mapping, to refuse bad ones where they are given."""
    if not isinstance(credentials, (Path, SecretMapping)):
        return
    try:
        find(credentials, (CLOUD_PLATFORM,))
    except GenAIConfigError as error:
        refused = copied(error)  # the frames of the loaders hold the content of the key file
    else:
        return
    raise refused


def _from_file(path: Path, scopes: tuple[str, ...], before: str = "", after: str = "") -> Found:
    info = key_files.read(path, after)
    origin = f"{before}{shown_path(path)}{after}"
    return _found(key_files.load(info, origin, scopes), origin, scopes, info.get("project_id"))


def _found(credentials: Any, origin: str, scopes: tuple[str, ...], project: str | None) -> Found:
    from google.auth.credentials import with_scopes_if_required
    from google.oauth2 import service_account

    credentials = with_scopes_if_required(credentials, list(scopes))
    if isinstance(credentials, service_account.Credentials):
        # Service accounts sign their own tokens (https://google.aip.dev/auth/4111): no token
        # endpoint and no wait; the SDK's clients do the same.
        credentials = credentials.with_always_use_jwt_access(True)
    kind = f"{type(credentials).__module__}.{type(credentials).__qualname__}"
    quota = _text_of(credentials, "quota_project_id")
    project = project or _text_of(credentials, "project_id")
    return Found(credentials, f"{kind} from {origin}", quota, project)


def _text_of(credentials: Any, name: str) -> str | None:
    """An attribute of credentials that goes into a header; None: there is none that could."""
    value = getattr(credentials, name, None)
    return value if isinstance(value, str) and key_files.is_field(value) else None


def _find_default(scopes: tuple[str, ...]) -> Found:
    """ADC, in the order of https://google.aip.dev/auth/4110.

    google.auth.default() would ask the network for the project of an external account, and so
    hang on a dead token endpoint: it is left the metadata server alone.
    """
    found = _from_adc_file(scopes)
    if found is not None:
        return found
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        credentials, project = google.auth.default(scopes=list(scopes))
    except GoogleAuthError:
        raise _not_found(scopes) from None
    return _found(credentials, "ADC, the metadata server", scopes, project)


def _from_adc_file(scopes: tuple[str, ...]) -> Found | None:
    """ADC of a file; None where it is the metadata server's turn."""
    explicit = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    path = Path(explicit) if explicit else adc_path()
    if os.path.isfile(path):  # noqa: PTH113 -- Path's raises if the name is too long or not ours
        return _from_file(path, scopes, "ADC, ", _NAMED_BY if explicit else "")
    if explicit or "COLAB_RELEASE_TAG" in os.environ or _no_gce_check():
        # Colab's metadata server belongs to Colab, not to the user; the SDK leaves it out too.
        # google-auth looks at NO_GCE_CHECK when it is imported, and never again.
        raise _not_found(scopes)
    return None


def _no_gce_check() -> bool:
    return os.environ.get("NO_GCE_CHECK", "").lower() == "true"


_KEY_REMEDY = (
    'for base models, an API key: safe_configure(api_key="…") or export GEMINI_API_KEY=… (and not '
    'auth="oauth")'
)
_OWN_CLIENT = (
    "\n  client_secret.json is an OAuth client of your own: "
    "https://ai.google.dev/gemini-api/docs/oauth"
)


def _not_found(scopes: tuple[str, ...]) -> CredentialsNotFoundError:
    explicit = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    looked = ["credentials= (not given)"]
    if explicit:
        named = shown_path(explicit)
        looked.append(f"GOOGLE_APPLICATION_CREDENTIALS (names {named}, which is not a file)")
    else:
        looked.append("GOOGLE_APPLICATION_CREDENTIALS (not set)")
        looked.append(f"{shown_path(adc_path())} (does not exist)")
        in_colab = "COLAB_RELEASE_TAG" in os.environ
        not_asked = "NO_GCE_CHECK" if _no_gce_check() else "no answer"
        state = "Colab's own, not used" if in_colab else not_asked
        looked.append(f"the metadata server ({state})")
    return CredentialsNotFoundError(
        f"No OAuth credentials were found. Looked for: {'; '.join(looked)}.", remedy(scopes)
    )


def remedy(scopes: tuple[str, ...]) -> str:
    """What to do where there are no credentials for requests with these scopes, line by line."""
    from genai_config._settings.state import state

    explicit = bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))
    # Base models come here because there is no key, which is all that most people lack.
    lacks_key = scopes == BASE_SCOPES
    fixtures = "gemini_api_key or gemini_adc" if lacks_key else "gemini_adc"
    in_test = state.in_test and "PYTEST_CURRENT_TEST" in os.environ
    # There, gcloud's file is not looked for.
    login = "" if in_test else login_command(scopes)
    remedies = [
        *([f"in a test: the fixture {fixtures} (a method of GeminiTestMixin)"] * in_test),
        *([_KEY_REMEDY] if lacks_key else []),
        *(["unset GOOGLE_APPLICATION_CREDENTIALS, or give it a key file's path"] * explicit),
        *([login] if login else []),
        *([] if explicit else ["export GOOGLE_APPLICATION_CREDENTIALS=/path/to/key.json"]),
        "safe_configure(credentials='/path/to/key.json')",
    ]
    return "\n  or: ".join(remedies) + (_OWN_CLIENT if "client_secret" in login else "")
