"""Key files: read within bounds, checked, and made into google-auth's credentials."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._masking import looks_secret, scrub, shown_path
from genai_config._settings import keys
from genai_config.exceptions import ConfigurationError, InvalidCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# A key file has two or three kilobytes; a list of certificate authorities up to some hundred.
_LARGEST_KEY_FILE = 1 << 20
_LARGEST_CA_FILE = 16 << 20

# Fields of key files that errors, `explain` and `doctor` show, or that go into headers.
_SHOWN_FIELDS = (
    "project_id", "quota_project_id", "client_email", "client_id", "universe_domain",
    "audience", "token_uri", "token_url", "service_account_impersonation_url",
)  # fmt: skip
_FIELD = re.compile(r"[!-~]{0,1024}")


class FileVersion(NamedTuple):
    """What tells one content of a file from another; a mounted secret is swapped as a link."""

    inode: int
    modified: int
    size: int


def file_version(path: str | bytes | Path) -> FileVersion | None:
    """The version of a file; None: it is not there now."""
    try:
        return version_in(os.stat(path))  # noqa: PTH116 -- twice as fast, and asked for at each request
    except (OSError, ValueError):  # the latter: a name that no file system takes
        return None


def version_in(found: os.stat_result) -> FileVersion:
    """The version of a file that has been looked at."""
    return FileVersion(found.st_ino, found.st_mtime_ns, found.st_size)


def read(path: Path, after: str = "") -> dict[str, Any]:
    """The content of a key file.

    Args:
        path: The file.
        after: What errors say after its path.

    Raises:
        InvalidCredentialsError: It cannot be read, or holds no JSON object.
    """
    problem, info = _unreadable(path, _LARGEST_KEY_FILE), None
    if not problem:
        try:
            with path.open(encoding="utf-8-sig") as file:  # Windows puts a byte order mark there
                info = json.loads(file.read(_LARGEST_KEY_FILE))
        except OSError as error:
            problem = error.strerror or type(error).__name__
        except (ValueError, RecursionError):  # the latter: brackets in brackets without end
            info = None
    if problem:
        raise InvalidCredentialsError(
            f"The key file {shown_path(path)}{after} cannot be read: {problem}.",
            "give the path of a file this process may read.",
        )
    return _checked(info, f"{shown_path(path)}{after}")


def parsed(text: str, origin: str) -> dict[str, Any]:
    """The content of a key file, of its text.

    Args:
        text: The text.
        origin: Where it came from, for errors.

    Raises:
        InvalidCredentialsError: It is no JSON object.
    """
    try:
        info = json.loads(text)
    except (ValueError, RecursionError):
        info = None
    return _checked(info, origin)


def _checked(info: Any, origin: str) -> dict[str, Any]:
    if not isinstance(info, dict):
        raise InvalidCredentialsError(
            f"{origin} is not a key file: it does not hold a JSON object.",
            "give the file that the Google Cloud console or gcloud wrote.",
        )
    return info


def is_field(value: object) -> bool:
    """Whether a value can be what these fields are: one short line of ASCII."""
    return isinstance(value, str) and _FIELD.fullmatch(value) is not None


def _check_fields(info: Mapping[str, Any], origin: str) -> None:
    """Refuses a key file in which something else stands where texts belong that are shown."""
    source = info.get("source_credentials")
    if isinstance(source, Mapping):
        _check_fields(source, origin)
    for name in _SHOWN_FIELDS:
        value = info.get(name)
        if value is not None and not (is_field(value) and not looks_secret(value)):
            raise InvalidCredentialsError(
                f"{name} in {origin} is not valid: it must be a short text.",
                "download or create the key file again.",
            )


def _loaders() -> dict[str, Callable[[dict[str, Any], tuple[str, ...]], Any]]:
    """For each type of key file, google-auth's own loader for it."""
    from google.auth import (
        aws,
        external_account_authorized_user,
        identity_pool,
        impersonated_credentials,
        pluggable,
    )
    from google.oauth2 import credentials, gdch_credentials, service_account

    def external_account(info: dict[str, Any], scopes: tuple[str, ...]) -> Any:
        source = info.get("credential_source") or {}
        kind: Any = identity_pool
        if str(info.get("subject_token_type", "")).endswith("aws4_request"):
            kind = aws
        elif "executable" in source:
            kind = pluggable
        return kind.Credentials.from_info(info, scopes=list(scopes))

    return {
        "service_account": lambda info, scopes: (
            service_account.Credentials.from_service_account_info(info, scopes=list(scopes))
        ),
        # Their scopes were fixed at login: asking for others would only make the refresh fail.
        "authorized_user": lambda info, _: credentials.Credentials.from_authorized_user_info(info),
        "external_account": external_account,
        "external_account_authorized_user": lambda info, _: (
            external_account_authorized_user.Credentials.from_info(info)
        ),
        "impersonated_service_account": lambda info, scopes: (
            impersonated_credentials.Credentials.from_impersonated_service_account_info(
                info, scopes=list(scopes)
            )
        ),
        "gdch_service_account": lambda info, _: (
            gdch_credentials.ServiceAccountCredentials.from_service_account_info(info)
        ),
    }


def load(info: dict[str, Any], origin: str, scopes: tuple[str, ...]) -> Any:
    """The google-auth credentials that the content of a key file makes.

    Args:
        info: The content.
        origin: Where it came from, for errors.
        scopes: The OAuth scopes to ask for, where the kind of credentials lets one ask.

    Raises:
        InvalidCredentialsError: It makes none.
    """
    loaders = _loaders()
    kind = info.get("type")
    if not isinstance(kind, str) or kind not in loaders:
        shown = repr(scrub(kind)) if isinstance(kind, str) else "missing"
        raise InvalidCredentialsError(
            f"The type of {origin} is {shown}; google-auth knows {', '.join(sorted(loaders))}.",
            f"give a key file of one of these types; {keys.OAUTH_CLIENT}",
        )
    _check_fields(info, origin)
    try:
        return loaders[kind](info, scopes)
    except Exception as error:  # noqa: BLE001 -- each loader has errors of its own
        if "\\n" in str(info.get("private_key")):
            # What writes the JSON of a variable or a secret store anew doubles the backslash.
            raise InvalidCredentialsError(
                f"The private_key in {origin} has a backslash and an n where its lines should end.",
                r"write \n where the JSON has \\n, or mend what was read before it is given: "
                r"""info["private_key"] = info["private_key"].replace("\\n", "\n")""",
            ) from None
        # The loaders' messages name fields, but a parser's may quote the key: the type is enough.
        reason = scrub(str(error)) if "missing" in str(error) else type(error).__name__
        raise InvalidCredentialsError(
            f"{origin} says it is a {kind} key file, but it cannot be used: {reason}.",
            "download or create the key file again.",
        ) from None


def check_ca_certs(path: Path) -> None:
    """Refuses a file of certificate authorities that cannot be used, where it is given."""
    import ssl

    problem = _unreadable(path, _LARGEST_CA_FILE)
    if not problem:
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            problem = error.strerror or str(error)
    if problem:
        raise ConfigurationError(
            f"ca_certs={shown_path(path)!r} cannot be used: {problem}.",
            "give the path of a PEM file with certificates.",
        )


def _unreadable(path: Path, largest: int) -> str:
    """Why a file is not read; "": nothing speaks against it. A device may be read without end."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- as above
    except OSError as error:
        return error.strerror or type(error).__name__
    except ValueError:
        return "this is not the name of a file"
    if stat.S_ISDIR(found.st_mode):
        return "Is a directory"
    if not stat.S_ISREG(found.st_mode):
        return "it is a device or a pipe, not a file"
    if found.st_size > largest:
        return f"it has more than {largest >> 20} MiB"
    return ""
