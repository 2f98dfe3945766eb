"""Errors of the service, with what they mean and the remedy as a note: class and message stay."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import GoogleAPICallError

from genai_config._auth import refusals
from genai_config._masking import mask_exception
from genai_config._sdk import signatures
from genai_config._transport.call_credentials import context_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._transport.call_credentials import CallContext

_FIELDS = ("model", "name", "parent")
_MARK = "genai_config: "


def explained(send: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose errors say what they mean, and whose conversations are watched."""

    def call(request: Any, *, metadata: Any = (), **options: Any) -> Any:
        context = context_of(metadata)
        if context is None:
            return send(request, metadata=metadata, **options)
        signatures.check(request, context)
        try:
            answer = send(request, metadata=metadata, **options)
        except GoogleAPICallError as error:
            _explain(error, request, context)
            raise
        signatures.remember(answer, context)
        return answer

    return call


def explained_async(send: Callable[..., Any]) -> Callable[..., Any]:
    """The same for a method that is awaited."""

    async def call(request: Any, *, metadata: Any = (), **options: Any) -> Any:
        context = context_of(metadata)
        if context is None:
            return await send(request, metadata=metadata, **options)
        signatures.check(request, context)
        try:
            answer = await send(request, metadata=metadata, **options)
        except GoogleAPICallError as error:
            _explain(error, request, context)
            raise
        signatures.remember(answer, context)
        return answer

    return call


def answer_of(error: Any) -> refusals.Answer:
    """What the service said in an error of google-api-core's."""
    reason = getattr(error, "reason", None)
    return refusals.Answer(int(error.code or 0), str(reason or ""), str(error.message))


def _explain(error: Any, request: Any, context: CallContext) -> None:
    mask_exception(error)
    named = (getattr(request, field, "") for field in _FIELDS)
    resource = next((name for name in named if name and isinstance(name, str)), "")
    resolve = context.resolve
    place: refusals.Place = "gemini" if resolve is None else "vertex"
    sent = refusals.Sent(context.credentials.kind, place, resource)
    if resolve is not None and resource:
        where = resolve(resource)
        sent = sent._replace(project=where.project, location=where.location)
    means = refusals.meaning(sent, answer_of(error))
    if means is None:
        return
    if sys.version_info >= (3, 11):
        error.add_note(f"{_MARK}{means}")
    else:  # pragma: no cover -- Python 3.10, which has no notes
        error.message += f"\n{_MARK}{means}"
