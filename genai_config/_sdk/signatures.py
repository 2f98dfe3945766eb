"""A conversation that changes its identity or its service half way: told before it is sent.

Models of Gemini 3 sign parts of their answers, and the service accepts a signature only from the
identity it was given to. The SDK keeps signatures as field 13 of a part, which its messages do not
know: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from google.ai.generativelanguage import GenerateContentResponse

from genai_config._settings import forks
from genai_config._settings.state import call_site, warn
from genai_config.exceptions import ThoughtSignatureWarning

try:
    from google.protobuf.unknown_fields import UnknownFieldSet
except ImportError:  # pragma: no cover -- protobuf before 4, where nobody can look
    UnknownFieldSet = None

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_config._transport.call_credentials import CallContext

_FIELD = 13
_content = attrgetter("content")
_MOST = 4096

_lock = threading.Lock()
_owners: OrderedDict[int, int] = OrderedDict()
"""To whom each signature was given, both by their hashes; the oldest are dropped."""


@forks.in_children
def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 -- a thread of the parent may have held it
    _lock = threading.Lock()


def check(request: Any, context: CallContext) -> None:
    """Warns of a conversation with signatures that were given to another identity."""
    contents = getattr(getattr(request, "_pb", None), "contents", ())
    if len(contents) < 2 or UnknownFieldSet is None:  # noqa: PLR2004 -- nothing was said yet
        return
    signatures = _signatures(contents)
    # Those of streams are not seen when they come: who sends them first is taken for their owner.
    others = [one for one in signatures if _remember(one, _owner(context)) != _owner(context)]
    if others:
        warn(
            "The conversation has thought signatures that were given to other credentials or by "
            "another service; the service will refuse them (400). Keep a conversation on one "
            "identity and one service, or start a new chat.",
            ThoughtSignatureWarning,
            call_site(),
        )


def remember(answer: Any, context: CallContext) -> None:
    """Notes the signatures of an answer."""
    if isinstance(answer, GenerateContentResponse) and UnknownFieldSet is not None:
        for one in _signatures(map(_content, answer._pb.candidates[:])):
            _remember(one, _owner(context))


def forget() -> None:
    """Forgets whose the signatures are."""
    with _lock:
        _owners.clear()


def _signatures(contents: Iterable[Any]) -> list[int]:
    # Each answer comes by. Slices, as protobuf's repeated fields end their iteration by an error.
    found: list[int] = []
    for content in contents:
        for part in content.parts[:]:
            fields = UnknownFieldSet(part)
            if len(fields):
                found += [hash(field.data) for field in fields if field.field_number == _FIELD]
    return found


def _owner(context: CallContext) -> int:
    place = context.resolve is not None
    return hash((context.credentials.owner, place))


def _remember(signature: int, owner: int) -> int:
    """The owner of a signature: who is known to be, else whoever has it now."""
    with _lock:
        known = _owners.setdefault(signature, owner)
        _owners.move_to_end(signature)
        if len(_owners) > _MOST:
            _owners.popitem(last=False)
    return known
