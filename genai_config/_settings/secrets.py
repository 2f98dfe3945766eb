"""Values that are never shown: they print, dump and log as asterisks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from genai_config._masking import MASK, register
from genai_config.exceptions import ConfigurationError, SecretPicklingError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Secret:
    """A secret string and, if it came from there, the environment variable that gave it.

    Equal and hashed by the string. A secret with a variable pickles as a reference to that
    variable and is read again where it is unpickled; a literal one is not pickled at all.

    Attributes:
        variable: The variable's name; None: it came from elsewhere.
        is_googles: Whether it has been found to look as Google's keys do.
    """

    __slots__ = ("__weakref__", "_value", "is_googles", "variable")

    def __init__(
        self, value: str, variable: str | None = None, *, is_googles: bool = False
    ) -> None:
        self._value = value
        self.variable = variable
        self.is_googles = is_googles
        register(self)

    def get_secret_value(self) -> str:
        """The string itself."""
        return self._value

    def secret_values(self) -> tuple[str, ...]:
        """What is masked in texts while this secret is held."""
        return (self._value,)

    def __repr__(self) -> str:
        return f"Secret('{MASK}')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Secret:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self.variable is None:
            refuse_pickling("a literal secret")
        return _from_environment, (self.variable,)


class SecretText(str):  # noqa: SLOT000 -- with slots it could not be referred to weakly
    """A header's value: a string when it is sent, asterisks in a repr.

    Error reports show the local variables of every frame by their repr.
    """

    def __repr__(self) -> str:
        return repr(MASK)

    def secret_values(self) -> tuple[str, ...]:
        """What is masked in texts, if it is registered."""
        return (str(self),)


class SecretBytes(bytes):
    """A binary header's value: bytes when it is sent, asterisks in a repr."""

    def __repr__(self) -> str:
        return f"b{MASK!r}"

    __str__ = __repr__


# The fields of key files whose values are secret, wherever they stand in the file.
_SECRET_FIELDS = (
    "private_key", "private_key_id", "client_secret", "refresh_token", "token", "access_token",
)  # fmt: skip


class SecretMapping(Mapping[str, Any]):
    """The content of a key file: an immutable mapping that shows no value.

    Equal and hashed by content; not pickled.
    """

    __slots__ = ("__weakref__", "_content")

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = {key: _frozen(value) for key, value in content.items()}
        register(self)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __hash__(self) -> int:
        return hash(frozenset(self._content.items()))

    def __repr__(self) -> str:
        return f"SecretMapping({MASK})"

    def __copy__(self) -> SecretMapping:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> SecretMapping:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        refuse_pickling("the content of a key file")

    def secret_values(self) -> list[str]:
        """What is masked in texts while this content is held: the fields that are secret."""
        fields = (self._content.get(name) for name in _SECRET_FIELDS)
        return [value for value in fields if isinstance(value, str)]

    def plain(self) -> dict[str, Any]:
        """A new dict with the content, for google-auth's loaders."""
        return {key: _plain(value) for key, value in self._content.items()}


def refuse_pickling(what: str) -> NoReturn:
    """Raises the error that says how to carry a configuration to another process.

    Raises:
        SecretPicklingError: Always.
    """
    raise SecretPicklingError(
        f"This configuration holds {what}, which a pickle would hold unencrypted.",
        "give a reference, which each process reads for itself: from_env('NAME'), from_file(PATH), "
        "from_command([…]) or from_secret_manager(NAME), or credentials=PATH; or export "
        "GEMINI_API_KEY in each process; or call safe_configure() in the worker's initializer.",
    )


def _from_environment(variable: str) -> Secret:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigurationError(
            f"The pickled configuration takes its API key from {variable}, "
            "which is not set in this process.",
            f"export {variable} for the process that unpickles it.",
        )
    return Secret(value, variable)


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return SecretMapping(value)
    if isinstance(value, (list, tuple)):
        return tuple(_frozen(item) for item in value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, SecretMapping):
        return value.plain()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
