"""Errors of google.api_core around calls that are moved: google-genai raises its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import always, expression
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from genai_config._migrate.follow import Follower

_PACKAGE = "google.api_core.exceptions."
_WIDE = {
    "GoogleAPIError": "APIError", "GoogleAPICallError": "APIError",
    "ClientError": "ClientError", "ServerError": "ServerError",
}  # fmt: skip
_NARROW = {
    "InvalidArgument": ("ClientError", "INVALID_ARGUMENT"),
    "Unauthenticated": ("ClientError", "UNAUTHENTICATED"),
    "PermissionDenied": ("ClientError", "PERMISSION_DENIED"),
    "NotFound": ("ClientError", "NOT_FOUND"),
    "ResourceExhausted": ("ClientError", "RESOURCE_EXHAUSTED"),
    "InternalServerError": ("ServerError", "INTERNAL"),
    "ServiceUnavailable": ("ServerError", "UNAVAILABLE"),
}
_OTHERS = "catch google.genai.errors, and compare .status, by hand."


def move_errors(mover: Follower, alias: str) -> None:
    """Changes the handlers around calls that are moved, or blocks these.

    Args:
        mover: Has followed everything.
        alias: What google.genai.errors is called here.
    """
    for handled in mover.source.nodes(cst.Try):
        theirs = [h for h in handled.handlers if _names(mover, h)]
        inside = set(mover.source.within(handled.body, cst.Call))
        units = [unit for call, unit in mover.sent if call in inside]
        if not theirs or not units:
            continue
        unit = units[0]
        for other in units[1:]:
            unit.join(other)
        for handler in theirs:
            line = mover.source.line(handler)
            unit.site(line, "except")
            try:
                _move(mover, handled, handler, unit, alias)
            except BlockedError as error:
                unit.block(line, "except", error)


def _types(handler: cst.ExceptHandler) -> list[Any]:
    if isinstance(handler.type, cst.Tuple):
        return [element.value for element in handler.type.elements]
    return [] if handler.type is None else [handler.type]


def _names(mover: Follower, handler: cst.ExceptHandler) -> list[str]:
    """The errors of google.api_core, and the old SDK, that a handler catches."""
    full = [mover.source.name(one) for one in _types(handler)]
    return [one for one in full if one.startswith((_PACKAGE, "google.generativeai."))]


def _move(
    mover: Follower, handled: cst.Try, handler: cst.ExceptHandler, unit: Unit, alias: str
) -> None:
    names = [name.removeprefix(_PACKAGE) for name in _names(mover, handler)]
    types = _types(handler)
    if len(names) != len(types):
        raise BlockedError("a handler also catches what is not Google's", _OTHERS)
    unit.need("errors")
    if all(name in _WIDE for name in names):
        for node, name in zip(types, names, strict=True):
            unit.edit(node, always(expression(f"{alias}.{_WIDE[name]}")))
        return
    if not all(name in _NARROW for name in names):
        raise BlockedError(f"{', '.join(names)} has no counterpart", _OTHERS)
    if handler is not handled.handlers[-1]:
        raise BlockedError(
            f"{', '.join(names)} is a part of an error of google-genai, and other handlers follow",
            _OTHERS,
        )
    kinds = {_NARROW[name][0] for name in names}
    statuses = [_NARROW[name][1] for name in names]
    kind = kinds.pop() if len(kinds) == 1 else "APIError"
    name = handler.name.name.value if handler.name else mover.source.free("error")  # type: ignore[union-attr] # a name is what grammar allows

    def change(updated: cst.ExceptHandler) -> cst.ExceptHandler:
        test = (
            f'{name}.status != "{statuses[0]}"'
            if len(statuses) == 1
            else f"{name}.status not in ({', '.join(map(repr, statuses))})".replace("'", '"')
        )
        guard = cst.parse_statement(f"if {test}:\n    raise\n")
        body = updated.body.with_changes(body=[guard, *updated.body.body])
        return updated.with_changes(
            type=expression(f"{alias}.{kind}"),
            whitespace_after_except=cst.SimpleWhitespace(" "),
            name=updated.name or cst.AsName(cst.Name(name)),
            body=body,
        )

    if not isinstance(handler.body, cst.IndentedBlock):
        raise BlockedError("a handler on one line", _OTHERS)
    unit.edit(handler, change)
