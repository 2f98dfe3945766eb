"""The one room that masks secrets in texts: by their shape, and by their value.

By shape: Google's keys and tokens, private keys, and whatever follows a name such as
``client_secret``. By value: whatever is configured, held as a token, or found in the environment.
Nobody keeps a list of values: those that own a secret are asked for it when a text is masked.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import weakref
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

F = TypeVar("F", bound="Callable[..., Any]")
E = TypeVar("E", bound=BaseException)

MASK = "**********"

_LONGEST_LINE = 300
# How much of a foreign message is read: an error page may have any length.
_LONGEST_INPUT = 20_000
_LONGEST_PATH = 1024
# A value of fewer characters may be part of any word.
_SHORTEST_VALUE = 6


class Owner(Protocol):
    """Something that holds secrets for as long as it lives."""

    def secret_values(self) -> Iterable[str]:
        """The secrets it holds now."""


class _Held(weakref.ref["Owner"]):
    """A weak reference that is equal to no other: two equal secrets have owners of their own."""

    __slots__ = ()
    __hash__ = object.__hash__
    __eq__ = object.__eq__


# Each scope with a key adds one and drops it: a set and its `discard` run no code of Python's.
_owners: set[_Held] = set()


def register(owner: Owner) -> None:
    """From now on, what an object holds is masked wherever it appears, until the object is gone."""
    _owners.add(_Held(owner, _owners.discard))


# Patterns are compiled when they are first needed: together they take longer than most modules.
# Shapes that are secret wherever they stand.
_TELLING = (
    r"AIza[\w-]{10,}"  # API keys
    r"|(?<![A-Za-z0-9])AQ\.[\w-]{6,}"  # API keys of AI Studio since 2026
    r"|auth_tokens/[\w-]{6,}"  # tokens of the Live API
    r"|ya29\.[\w.-]+"  # access tokens
    r"|(?<!\d)1//[\w-]{10,}"  # refresh tokens
    r"|(?<![\w/.-])1/[\w-]{16,}"  # older ones, and those that somebody made a path of
    r"|GOCSPX-[\w-]+"  # secrets of OAuth clients
    # Keys of OpenAI and others, which are random: sk-telecom-prod1 is a project.
    r"|(?<![\w-])sk-(?:proj-|ant-[a-z]+\d+-|(?=[\w-]*(?:[0-9a-f]{12}|[a-z\d][A-Z])))[\w-]{16,}"
    r"|(?<![A-Z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}"  # keys of AWS, for external accounts
    # JWT, and a key file in base64: at once, twice, with a byte order mark, quoted, compressed.
    # Only where a word begins: MonkeyApp/ and firewood/ are folders.
    r"|(?<![A-Za-z0-9])(?:eyJ|eyA[gi]|ewo[giJ]|ew0K|77u/ey|77u/ew|IntcI|ZXl[BJ]|ZXdv|ZXcw"
    r"|LS0tLS1CRUdJTi|TFMwdExT|H4sI)"
    r"[A-Za-z0-9+/=_-]{6,}(?:\.[\w.=-]+)?"
    r"|(?<![A-Za-z0-9])M(?:II|IG|HcCAQ|C4CAQ)[A-Za-z0-9+/=\\]{20,}"  # keys without their header
)
# Nothing that people read is one word of this length, but for the name of a file or a folder.
_LONG_WORD = r"(?<![\w+=-])(?=[\w+=-]*\d)(?=[\w+=-]*[A-Z])[A-Za-z0-9+_=-]{80,}"
SHAPES = rf"{_TELLING}|{_LONG_WORD}"
_PEM = r"(?s)-----BEGIN\b.*?(?:-----END[^-]*-----|\Z)"
# A path made of a URL has one of its two slashes. No two repetitions that may stand side by side
# match the same characters: what a service says would be read in quadratic time.
USER_OF_URL = r"(://|:/(?=[^\s/@'\":]*:[^\s/@'\"]+@))[^\s/@'\"]+(?=@)"
_LOGIN_OF_URL = r":/{1,2}[^\s/@'\":]*:[^\s/@'\"]+@"
_BEARER = r"(?i)(?<=\bbearer )[^\s'\"&,}]{8,}|(?<=\bbasic )[A-Za-z0-9+/=]{6,}"
# In foreign addresses, where the meaning of a query is unknown.
_QUERY = r"(?<=\?)[\w%.-]+=[^\s'\"<>)]*"
# A name that tells, and its value: a quoted one to the quotation mark that closes it, or to the
# end of the text. The "…" of our own remedies stays, a shell's "$NAME", and a reference.
_TOLD = r"""(?xsi)(?P<name>
        (?:(?:access|id|refresh|subject|auth|session)[_-]?token|assertion|client[_-]?secret
        |private[_-]?key(?:[_-]?id)?|pass(?:word|wd|phrase)|secret) \\*["']?\s*[:=]\s*
        |(?:key|sig|signature)=)
        (?:(?P<quote>\\*["'])(?!\$[A-Z({])(?P<value>.*?)(?:(?<!\\)(?P=quote)|\Z)
        |(?!from_[a-z_]+\()[^\s'"&,;{}()]{4,})"""


def _told(match: re.Match[str]) -> str:
    if match["quote"] is None:
        return f"{match['name']}{MASK}"
    if len(match["value"]) < 4:  # noqa: PLR2004 -- as for words without quotation marks
        return match[0]
    return f"{match['name']}{match['quote']}{MASK}{match['quote']}"


def looks_secret(text: str) -> bool:
    """Whether a text has a key, a token, a private key or a URL's password in it, by its shape."""
    return bool(re.search(_LONG_WORD, text)) or _tells(text)


def _tells(text: str) -> bool:
    return any(re.search(shape, text) for shape in (_TELLING, _PEM, _LOGIN_OF_URL))


def without_secrets(text: str) -> str:
    """A text without secrets, by value and by shape, and without control characters."""
    text = _without_values_and_shapes(text)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def _without_values_and_shapes(text: str) -> str:
    for value in all_values():
        text = text.replace(value, MASK)
    text = re.sub(_PEM, MASK, text)
    text = re.sub(_BEARER, MASK, text)
    text = re.sub(_TOLD, _told, text)
    text = re.sub(SHAPES, MASK, text)
    return re.sub(USER_OF_URL, rf"\1{MASK}", text)


def scrub(text: str) -> str:
    """Somebody else's message in one line of at most 300 characters, without secrets."""
    if len(text) > _LONGEST_INPUT:
        # What is cut in two would be recognised no more: the last word goes.
        text = text[:_LONGEST_INPUT].rpartition(" ")[0]
    line = " ".join(re.sub(_QUERY, MASK, without_secrets(text)).split())
    return line if len(line) <= _LONGEST_LINE else f"{line[: _LONGEST_LINE - 1]}…"


_NO_PATH = r"""(?i)[{}"]|%7B|^\W*base64[:,]|[^/\\]{256}"""


def described(error: BaseException) -> str:
    """An exception's type and message in one line, without secrets."""
    kind = type(error).__name__
    try:
        return scrub(f"{kind}: {error}")
    except Exception:  # noqa: BLE001 -- its own __str__ fails
        return kind


def shown_path(path: str | os.PathLike[str]) -> str:
    """A path as people are shown it; what is given in its place by mistake is not shown."""
    text = os.fspath(path)
    if is_plausible_path(text):
        return without_secrets(text)
    return f"{MASK} ({len(text)} characters, content where a path belongs)"


def is_plausible_path(text: str) -> bool:
    """Whether a text may be the path of a file, and is not a key file's content or a key.

    Content comes bare, in quotation marks, in base64, with a byte order mark or a prefix; all of
    that is longer than a path, has characters no path has, or the shape of a secret.
    """
    return (
        len(text) <= _LONGEST_PATH
        and text.isprintable()
        and not re.search(_NO_PATH, text)
        and not re.fullmatch(_LONG_WORD, text)
        and not _tells(text)
    )


def shown_url(url: str) -> str:
    """An address as people are shown it: without user, query and fragment, which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    return scrub(f"{parts.scheme}://{host}{parts.path}")


# What stands in addresses and in JSON as it is.
_PLAIN = r"[A-Za-z0-9_.~-]*"


def all_values() -> list[str]:
    """All secret values there are now, and the forms they take in other texts, longest first."""
    found: set[str] = set()
    for reference in list(_owners):  # others come and go meanwhile
        owner = reference()
        # Some ask objects of other people's making, and a text is masked whatever they do.
        with contextlib.suppress(Exception):
            found.update(owner.secret_values() if owner is not None else ())
    found.update(_of_environment())
    for value in [value for value in found if not re.fullmatch(_PLAIN, value)]:
        found.update((*_in_url(value), quote(value, safe=""), json.dumps(value)[1:-1]))
    return sorted(
        (value for value in found if len(value) >= _SHORTEST_VALUE and value != MASK),
        key=len,
        reverse=True,
    )


def _in_url(value: str) -> Iterator[str]:
    """The password in a URL, a proxy's for example."""
    scheme, separator, rest = value.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if scheme and separator and at:
        password = user.partition(":")[2]
        yield from (user, password, unquote(password))


# Variables whose names say that their values are secret; those of files hold paths.
_SECRET_ENDS = ("API_KEY", "APIKEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "ACCESS_KEY")
_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GRPC_PROXY")


def _of_environment() -> Iterator[str]:
    for name, value in list(os.environ.items()):
        if name.upper().endswith(_SECRET_ENDS):
            yield value.strip()
        elif name.upper() in _PROXY_VARIABLES:
            yield from _in_url(value)


def copied(error: E) -> E:
    """An equal error for one more to raise: without traceback, causes, contexts and notes.

    One object for all would gather the frames of everybody who raises it, prompts included.
    """
    copy = type(error).__new__(type(error))
    copy.args = error.args
    vars(copy).update({n: value for n, value in vars(error).items() if n != "__notes__"})
    return copy


def without_frames(error: BaseException) -> BaseException:
    """The same error without the frames it came through, which hold keys, tokens and headers."""
    chain: list[BaseException] = [error]
    for link in chain:
        link.__traceback__ = None
        chain += [
            cause for cause in (link.__cause__, link.__context__) if cause and cause not in chain
        ]
    return error


def forgets_arguments(function: F) -> F:
    """A function whose errors carry no frame that holds its arguments, or anything made of them.

    An argument may be a key, and error trackers show the local variables of every frame. The error
    is raised anew here, as if it had come no further.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 -- raised below
            raised = without_frames(error)
        del args, kwargs
        raise raised

    return cast("F", call)


def mask_exception(error: BaseException) -> None:
    """Masks the texts of an exception in place: arguments, message, notes, causes and contexts.

    For exceptions of other libraries: the service's texts and details may quote the key that it
    was sent.
    """
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        waiting += [one.__cause__, one.__context__]
        # The error of gRPC or of an HTTP library that an error was made of.
        waiting += [value for value in vars(one).values() if isinstance(value, BaseException)]
        one.args = _masked(one.args)
        for name, value in list(vars(one).items()):
            vars(one)[name] = _masked(value)


def _masked(value: Any) -> Any:
    """What an exception holds, with its texts masked; messages of protobuf in place."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, bytes):
        return _masked_bytes(value)
    if type(value) in (list, tuple):
        return type(value)(map(_masked, value))
    if type(value) is dict:
        return {key: _masked(item) for key, item in value.items()}
    if _is_metadata(value):
        return type(value)(*map(_masked, value))
    if not isinstance(value, BaseException):
        _mask_attributes(value)
    return value


def _mask_attributes(value: Any) -> None:
    """Masks, in place, a message of protobuf, gRPC's state of a call, or an HTTP answer's body."""
    if hasattr(value, "ListFields"):
        for field, item in value.ListFields():
            _mask_field(value, field.name, item)
    elif hasattr(value, "debug_error_string"):
        # gRPC makes the text of its error of it.
        for name in ("details", "debug_error_string", "initial_metadata", "trailing_metadata"):
            if hasattr(value, name):
                setattr(value, name, _masked(getattr(value, name)))
    elif isinstance(getattr(value, "_content", None), bytes):
        value._content = _masked_bytes(value._content)  # noqa: SLF001 -- requests and httpx alike
        vars(value).pop("_text", None)  # what httpx has made of it


def _is_metadata(value: Any) -> bool:
    """Whether something is gRPC's metadata, or one entry of it."""
    kind = type(value)
    named = isinstance(value, tuple) and getattr(kind, "_fields", None) == ("key", "value")
    return named or (kind.__name__ == "Metadata" and kind.__module__.startswith("grpc."))


def _masked_bytes(value: bytes) -> bytes:
    """The body of an answer without secrets; of what is no text, nothing is left."""
    try:
        text, is_text = value.decode(), True
    except UnicodeDecodeError:
        text, is_text = value.decode("latin-1"), False
    masked = _without_values_and_shapes(text)
    if masked == text:
        return value
    # In a serialized message the lengths would be wrong.
    return masked.encode() if is_text and "\0" not in text and "\x12" not in text else b""


def _mask_field(message: Any, name: str, item: Any) -> None:
    """Masks the texts in one field of a protobuf message: single, repeated, or a map."""
    if isinstance(item, str):
        setattr(message, name, without_secrets(item))
    elif hasattr(item, "keys"):
        for key in item:
            if isinstance(item[key], str):
                item[key] = without_secrets(item[key])
            else:
                _masked(item[key])
    elif hasattr(item, "extend"):
        for index, one in enumerate(item):
            if isinstance(one, str):
                item[index] = without_secrets(one)
            else:
                _masked(one)
    else:
        _masked(item)
