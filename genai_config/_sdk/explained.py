"""Errors of the service, with what they mean and the remedy as a note: class and message stay."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.api_core.exceptions import GoogleAPICallError, from_grpc_error
from grpc import aio

from genai_config._masking import mask_exception
from genai_config._transport.loop_streams import OfItsLoop

if TYPE_CHECKING:
    from genai_config._auth import refusals
    from genai_config._transport.call_credentials import CallContext

_FIELDS = ("model", "name", "parent")
_MARK = "genai_config: "


def raise_explained(error: Exception, request: Any, context: CallContext | None) -> NoReturn:
    """Raises an error of a call as the SDK does; it says what it means."""
    raised = error
    if isinstance(error, grpc.RpcError) and not isinstance(error, GoogleAPICallError):
        raised = from_grpc_error(error)
    if context is not None:
        _explain(raised, request, context)
    if raised is error:
        raise error
    raise raised from error


@functools.cache
def is_stream(kind: type) -> bool:
    """Whether answers of a class come one by one."""
    return issubclass(kind, (grpc.Call, aio.UnaryStreamCall))


def explained(answers: Any, request: Any, context: CallContext) -> Any:
    """A stream of answers, which stays one of the SDK's, and explains its errors."""
    mixin: Any = _AsyncStream if isinstance(answers, aio.UnaryStreamCall) else _Stream
    kind: Any = _mixed(mixin, answers.__class__)
    watched = kind.__new__(kind)
    vars(watched).update(vars(answers), _genai_config_call=(request, context))
    if mixin is _AsyncStream:
        vars(watched).update(_genai_config_items=OfItsLoop(watched._wrapped_aiter()))
    return watched


class _Stream:
    """Mixed into the SDK's stream: an error in the middle says what it means, too."""

    def __next__(self) -> Any:
        try:
            return super().__next__()  # type: ignore[misc] # the SDK's
        except GoogleAPICallError as error:
            _explain(error, *vars(self)["_genai_config_call"])
            raise


class _AsyncStream:
    """The same for a stream that is awaited; its first answer comes as late as all others."""

    def __aiter__(self) -> OfItsLoop:
        own: OfItsLoop = vars(self)["_genai_config_items"]
        return own

    async def read(self) -> Any:
        try:
            return await super().read()  # type: ignore[misc] # the SDK's
        except GoogleAPICallError as error:
            _explain(error, *vars(self)["_genai_config_call"])
            raise

    async def _wrapped_aiter(self) -> Any:
        try:
            async for answer in super()._wrapped_aiter():  # type: ignore[misc] # the SDK's
                yield answer
        except GoogleAPICallError as error:
            _explain(error, *vars(self)["_genai_config_call"])
            raise


@functools.cache
def _mixed(mixin: Any, kind: Any) -> Any:
    return type(kind.__name__, (mixin, kind), {})


def answer_of(error: Any) -> refusals.Answer:
    """What the service said in an error of google-api-core's."""
    from genai_config._auth import refusals

    reason = getattr(error, "reason", None)
    # Where errors have no notes, the message holds what it means already.
    message = str(error.message).partition(f"\n{_MARK}")[0]
    return refusals.Answer(int(error.code or 0), str(reason or ""), message)


def _explain(error: Any, request: Any, context: CallContext) -> None:
    from genai_config._auth import refusals

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
