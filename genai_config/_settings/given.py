"""The types of what callers give: for type checkers and editors, which complete and check it.

What each setting means is said in one place, the docstring of `safe_configure`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from google.api_core.client_options import ClientOptions
    from google.api_core.gapic_v1.client_info import ClientInfo
    from google.auth.credentials import Credentials
    from pydantic import SecretStr

    from genai_config._settings.references import Reference
    from genai_config._settings.secrets import Secret, SecretMapping


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Clears a setting, so that nothing below shows through; None means "not given"."""

Transport = Literal["grpc", "grpc_asyncio", "rest"]
TunedTransport = Literal["grpc", "rest"]
Auth = Literal["auto", "oauth", "api_key"]
RawConfigure = Literal["warn", "merge", "isolate", "error"]
ExistingModels = Literal["keep", "follow"]
Backend = Literal["gemini", "vertex"]

if TYPE_CHECKING:
    GivenKey: TypeAlias = str | Secret | SecretStr | Reference
    GivenToken: TypeAlias = str | tuple[str, dt.datetime | float | None]
    GivenCredentials: TypeAlias = (
        Credentials
        | SecretMapping
        | Mapping[str, Any]
        | Reference
        | str
        | os.PathLike[str]
        | Callable[[], GivenToken]
    )
    GivenOptions: TypeAlias = ClientOptions | Mapping[str, Any]
    GivenHeaders: TypeAlias = Iterable[tuple[str, str | bytes]] | Mapping[str, str | bytes]
    GivenEndpoints: TypeAlias = Mapping[str, str | Unset | None] | Sequence[tuple[str, str]]


class Settings(TypedDict, total=False):
    """The keywords of `GenAIConfig.merge`."""

    api_key: GivenKey | Unset | None
    credentials: GivenCredentials | Unset | None
    transport: Transport | Unset | None
    client_options: GivenOptions | Unset | None
    client_info: ClientInfo | Mapping[str, Any] | Unset | None
    default_metadata: GivenHeaders | Unset | None
    auth: Auth | Unset | None
    tuned_transport: TunedTransport | Unset | None
    scopes: Sequence[str] | Unset | None
    quota_project: str | Unset | None
    timeout: float | Unset | None
    auth_timeout: float | Unset | None
    proxy: str | Secret | Unset | None
    ca_certs: str | os.PathLike[str] | Unset | None
    project: str | Unset | None
    location: str | Unset | None
    endpoint: str | Unset | None
    raw_configure: RawConfigure | Unset | None
    existing_models: ExistingModels | Unset | None
    backend: Backend | Unset | None
    tuned_endpoints: GivenEndpoints | Unset | None
    vertex_endpoint: str | Unset | None


class ScopedSettings(Settings, total=False):
    """The keywords of `override`, `base_models` and `tuned_models`."""

    profile: str | Unset | None
