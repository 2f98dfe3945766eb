"""Configuration for google-generativeai that merges, and routes every request.

    from genai_config import safe_configure

    safe_configure(api_key="…")         # like genai.configure(), but
    safe_configure(transport="rest")    # this merges: the key is still there

Importing this loads neither the SDK nor grpc nor pydantic: they come with the first use.
"""

from typing import TYPE_CHECKING, Any

from genai_config import exceptions
from genai_config._api.carrying import bind, carry
from genai_config._api.configure import (
    generative_model,
    get_config,
    is_configured,
    reset,
    safe_configure,
    uninstall,
)
from genai_config._api.scopes import base_models, override, tuned_models
from genai_config._auth.events import TokenEvent, watch_tokens
from genai_config._settings.patch import UNSET

if TYPE_CHECKING:
    from genai_config._diagnosis.explain import Explanation, explain
    from genai_config._settings.model import GenAIConfig
    from genai_config._settings.references import (
        from_command,
        from_env,
        from_file,
        from_keyring,
        from_secret_manager,
    )

__version__ = "0.1.0"

__all__ = [
    "UNSET",
    "Explanation",
    "GenAIConfig",
    "TokenEvent",
    "base_models",
    "bind",
    "carry",
    "exceptions",
    "explain",
    "from_command",
    "from_env",
    "from_file",
    "from_keyring",
    "from_secret_manager",
    "generative_model",
    "get_config",
    "is_configured",
    "override",
    "reset",
    "safe_configure",
    "tuned_models",
    "uninstall",
    "watch_tokens",
]


_AT_FIRST_USE = {
    "Explanation": "_diagnosis.explain",
    "GenAIConfig": "_settings.model",
    "explain": "_diagnosis.explain",
    "from_command": "_settings.references",
    "from_env": "_settings.references",
    "from_file": "_settings.references",
    "from_keyring": "_settings.references",
    "from_secret_manager": "_settings.references",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name not in _AT_FIRST_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = found = getattr(import_module(f"{__name__}.{_AT_FIRST_USE[name]}"), name)
    return found
