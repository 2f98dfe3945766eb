"""References to secrets: where a secret is kept, and nothing of what it is. Pure.

A reference is no secret: it is shown, compared and pickled by where it points to. It is read when
a request needs what it refers to, in the process that sends the request.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NoReturn, get_args

from genai_config._masking import scrub
from genai_config._settings import addresses
from genai_config._settings.primitives import (
    nearest,
    path_of,
    refuse_secret,
    text_of,
    wrong_type,
)
from genai_config.exceptions import ConfigurationError

Kind = Literal["from_env", "from_file", "from_command", "from_secret_manager", "from_keyring"]

KINDS: Final[tuple[str, ...]] = get_args(Kind)

FORMAT: Final = 1
"""The version of what a pickle holds."""

_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_VERSION_NAME = (
    r"projects/[\w.:-]+(/locations/(?P<location>[a-z0-9-]+))?/secrets/[\w-]+/versions/[\w-]+"
)


class Reference:
    """Where a secret is kept; `from_env`, `from_file` and the like make one.

    Frozen; equal, hashed, shown and pickled by what it refers to.

    Attributes:
        kind: The name of the function that makes it.
        where: What that function was given.
    """

    __slots__ = ("kind", "where")
    kind: Kind
    where: tuple[str, ...]

    def __init__(self, kind: Kind, *where: str) -> None:
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "where", where)

    @property
    def variable(self) -> str | None:
        """The environment variable that it refers to; None: it refers to something else."""
        return self.where[0] if self.kind == "from_env" else None

    @property
    def location(self) -> str | None:
        """The location of a regional secret of Secret Manager; None: it has none."""
        found = re.fullmatch(_VERSION_NAME, self.where[0])
        return found["location"] if found else None

    def dump(self) -> dict[str, str | list[str]]:
        """The reference as plain data, which `api_key=` and `credentials=` take back."""
        single = len(self.where) == 1 and self.kind != "from_command"
        return {self.kind: self.where[0] if single else list(self.where)}

    def __repr__(self) -> str:
        if self.kind == "from_command":
            return f"{self.kind}({list(self.where)!r})"
        first, *others = map(repr, self.where)
        if self.kind == "from_secret_manager":
            others = [f"endpoint={other}" for other in others]
        return f"{self.kind}({', '.join([first, *others])})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Reference):
            return NotImplemented
        return (self.kind, self.where) == (other.kind, other.where)

    def __hash__(self) -> int:
        return hash((Reference, self.kind, self.where))

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"A reference is frozen, {name} too: make another one.")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"A reference is frozen, {name} too: make another one.")

    def __copy__(self) -> Reference:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (FORMAT, self.kind, *self.where)


def from_env(name: str) -> Reference:
    """A secret in an environment variable of the process that sends the request.

    The variable is read anew for each request.

    Args:
        name: The variable's name.

    Raises:
        ConfigurationError: It is not the name of a variable.
    """
    text = text_of("from_env", name, "the name of an environment variable")
    if not re.fullmatch(_VARIABLE, text):
        # It may be the secret itself: it is not shown.
        raise ConfigurationError(
            f"from_env takes the name of an environment variable, not this ({len(text)} "
            "characters).",
            "leave out the '$' that a shell reads, and what is around the name."
            if text.startswith("$")
            else "give from_env('MY_API_KEY'), for example.",
        )
    return Reference("from_env", text)


def from_file(path: str | os.PathLike[str]) -> Reference:
    """A secret in a file, such as a mounted one; it is read again when the file has changed.

    Args:
        path: The file; white space around its content does not count. ``~`` is the home folder
            here.

    Raises:
        ConfigurationError: It is not a path. Whether the file exists is seen when it is read.
    """
    return Reference("from_file", str(path_of("from_file", path)))


def from_command(command: Sequence[str | os.PathLike[str]]) -> Reference:
    """A secret that a command prints; it is run without a shell.

    It is run once for all requests that wait for it, and again when the service has refused what
    it printed. It gets no input, and has `auth_timeout` seconds.

    Args:
        command: The program and its arguments, one by one.

    Raises:
        ConfigurationError: It is not a list of strings, or an argument is a secret.
    """
    wanted, example = "a list of strings", "from_command(['pass', 'show', 'gemini'])"
    given: object = command
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or not given:
        raise wrong_type("from_command", given, f"{wanted}, the program first", example)
    words = []
    for one in given:
        word = os.fspath(one) if isinstance(one, os.PathLike) else one
        if not isinstance(word, str):
            raise wrong_type("from_command", one, wanted, example)
        # Whoever lists processes sees the arguments, and so does whoever prints the reference.
        refuse_secret("from_command: an argument", word)
        words.append(word)
    if not words[0].strip() or any("\0" in word for word in words):
        raise ConfigurationError("from_command names no program.", f"give {example}.")
    return Reference("from_command", *words)


def from_secret_manager(name: str, *, endpoint: str | None = None) -> Reference:
    """A secret in Google Cloud's Secret Manager.

    It is fetched with the configured credentials, else with Application Default Credentials, once
    for all requests that wait for it, and again when the service has refused it.

    Args:
        name: ``projects/P/secrets/S/versions/V``, with ``/locations/L`` after the project for a
            regional secret; V is a number, an alias or ``latest``.
        endpoint: Host or URL of a private endpoint; None: Google's own for the location.

    Raises:
        ConfigurationError: It is not the name of a secret's version.
    """
    text = text_of("from_secret_manager", name, "the name of a secret's version")
    if not re.fullmatch(_VERSION_NAME, text):
        raise ConfigurationError(
            f"from_secret_manager: {scrub(text)!r} is not the name of a secret's version.",
            "give 'projects/PROJECT/secrets/SECRET/versions/latest', or "
            "'projects/PROJECT/locations/LOCATION/secrets/SECRET/versions/latest'.",
        )
    address = None
    if endpoint is not None:
        address = addresses.api_endpoint(endpoint, "from_secret_manager: endpoint")
    return Reference("from_secret_manager", *filter(None, (text, address)))


def from_keyring(service: str, username: str) -> Reference:
    """A secret in the system's keyring; needs ``pip install 'genai-config[keyring]'``.

    Args:
        service: The name under which it was stored.
        username: The name of the user whose it is.

    Raises:
        ConfigurationError: One of them is empty.
    """
    names = [text_of("from_keyring", one) for one in (service, username)]
    if not all(names):
        raise ConfigurationError(
            "from_keyring takes a service and a user name, and one of them is empty.",
            "give from_keyring('gemini', 'me'), for example.",
        )
    return Reference("from_keyring", *names)


_MAKERS: Final[Mapping[str, Callable[..., Reference]]] = {
    "from_env": from_env,
    "from_file": from_file,
    "from_keyring": from_keyring,
    "from_secret_manager": lambda name, endpoint=None: from_secret_manager(name, endpoint=endpoint),
    "from_command": lambda *words: from_command(words),
}


def loaded(setting: str, value: Mapping[Any, Any]) -> Reference | None:
    """The reference that a mapping is, as `Reference.dump` gives it; None: it is none.

    Args:
        setting: What it was given as, for errors.
        value: The mapping.

    Raises:
        ConfigurationError: It names a reference, and is not a valid one or of an unknown kind.
    """
    names = [name for name in value if name in KINDS]
    if not names:
        for name in value:
            if isinstance(name, str) and name.startswith("from_"):
                raise ConfigurationError(
                    f"{setting}: there is no reference {scrub(name)!r}.", nearest(name, KINDS)
                )
        return None
    if len(value) > 1:
        raise ConfigurationError(
            f"A reference has one name, and this mapping has {len(value)}.",
            f"give {{{names[0]!r}: …}} alone.",
        )
    (name,), (given,) = names, value.values()
    words = list(given) if isinstance(given, (list, tuple)) else [given]
    try:
        return _MAKERS[name](*words)
    except TypeError:
        raise ConfigurationError(
            f"{name} does not take {len(words)} values.",
            "give what the function of that name takes.",
        ) from None


def _unpickled(version: int, kind: str, *where: str) -> Reference:
    """The reference that a pickle holds.

    Raises:
        ConfigurationError: Another version of the library has written it in another form.
    """
    if version != FORMAT or kind not in KINDS:
        raise ConfigurationError(
            f"The pickle holds a reference of the form {version} ({scrub(str(kind))}), which this "
            "version of genai-config does not know.",
            "install the same version of genai-config on both sides.",
        )
    return Reference(kind, *where)  # type: ignore[arg-type] # it is one of them
