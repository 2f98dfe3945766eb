"""Migrates except clauses for google.api_core errors: google-genai raises its own errors."""

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
_SHARED = ("message", "code")
_OTHERS = "catch google.genai.errors and compare .status."


def move_errors(mover: Follower, alias: str) -> None:
    """Changes the except clauses around migrated calls, or blocks those calls.

    Args:
        mover: The follower, after it has followed everything.
        alias: The name of google.genai.errors in the module.
    """
    sending = _Sending(mover)
    for handled in mover.source.nodes(cst.Try):
        theirs = [h for h in handled.handlers if _names(mover, h)]
        units = sending.within(handled.body) if theirs else []
        for other in units[1:]:
            units[0].join(other)
        for handler in theirs if units else ():
            line = mover.source.line(handler)
            units[0].site(line, "except")
            try:
                _move(mover, handled, handler, units[0], alias)
            except BlockedError as error:
                units[0].block(line, "except", error)
    for node in mover.source.nodes(cst.Name, cst.Attribute):
        if mover.source.name(node).startswith(_PACKAGE) and not _is_caught(mover, node):
            _block_named(mover, node, sending)


def _block_named(mover: Follower, node: Any, sending: _Sending) -> None:
    """Blocks calls where code names an error that they would no longer raise."""
    owner = mover.source.above(node, cst.Decorator)
    function = mover.source.parent(owner) if owner else None
    line = mover.source.line(node)
    for unit in sending.within(function or mover.source.module):
        unit.block(line, mover.source.text(node), BlockedError(
            "the error is used outside an except clause, and google-genai raises other errors",
            _OTHERS,
        ))  # fmt: skip


def _is_caught(mover: Follower, node: cst.CSTNode) -> bool:
    """Whether an error is named in an except clause."""
    handler = mover.source.above(node, cst.ExceptHandler)
    return handler is not None and any(
        node is one for kind in _types(handler) for one in mover.source.within(kind, type(node))
    )


class _Sending:
    """Finds the migrated calls that a part of a module makes, directly or through functions.

    Args:
        mover: The follower, after it has followed everything.
    """

    def __init__(self, mover: Follower) -> None:
        self._source = mover.source
        self._sent = dict(mover.sent)
        self._functions: dict[str, list[cst.FunctionDef]] = {}
        for function in mover.source.nodes(cst.FunctionDef):
            self._functions.setdefault(function.name.value, []).append(function)

    def within(self, node: cst.CSTNode) -> list[Unit]:
        """The units of all calls that a part makes."""
        found: list[Unit] = []
        waiting, seen = [node], set[cst.CSTNode]()
        while waiting:
            part = waiting.pop()
            seen.add(part)
            for call in self._source.within(part, cst.Call):
                if call in self._sent:
                    found.append(self._sent[call])
                name = getattr(call.func, "attr", call.func)
                called = self._functions.get(getattr(name, "value", ""), [])
                waiting += [one for one in called if one not in seen]
        return found


def _types(handler: cst.ExceptHandler) -> list[Any]:
    if isinstance(handler.type, cst.Tuple):
        return [element.value for element in handler.type.elements]
    return [] if handler.type is None else [handler.type]


def _names(mover: Follower, handler: cst.ExceptHandler) -> list[str]:
    """The errors of google.api_core and the old SDK that an except clause catches."""
    full = [mover.source.name(one) for one in _types(handler)]
    return [one for one in full if one.startswith((_PACKAGE, "google.generativeai."))]


def _check_uses(mover: Follower, handler: cst.ExceptHandler) -> None:
    """Checks that an except clause reads only attributes that google-genai's errors have.

    Raises:
        BlockedError: It reads another attribute.
    """
    name = handler.name.name.value if handler.name else ""  # type: ignore[union-attr] # a name is what grammar allows
    for node in mover.source.within(handler.body, cst.Attribute):
        value = node.value
        if isinstance(value, cst.Name) and value.value == name and node.attr.value not in _SHARED:
            raise BlockedError(f"google-genai's errors have no .{node.attr.value}", _OTHERS)


def _move(
    mover: Follower, handled: cst.Try, handler: cst.ExceptHandler, unit: Unit, alias: str
) -> None:
    names = [name.removeprefix(_PACKAGE) for name in _names(mover, handler)]
    types = _types(handler)
    if len(names) != len(types):
        raise BlockedError("the except clause also catches errors that are not Google's", _OTHERS)
    unit.need("errors")
    if all(name in _WIDE for name in names):
        _check_uses(mover, handler)
        for node, name in zip(types, names, strict=True):
            unit.edit(node, always(expression(f"{alias}.{_WIDE[name]}")))
        return
    if not all(name in _NARROW for name in names):
        raise BlockedError(f"{', '.join(names)} has no equivalent in google-genai", _OTHERS)
    if handler is not handled.handlers[-1]:
        raise BlockedError(
            f"google-genai has no class for {', '.join(names)}, and other except clauses follow",
            _OTHERS,
        )
    _check_uses(mover, handler)
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
        raise BlockedError(
            "the except clause is on one line",
            "put its body on a line of its own, then run the command again.",
        )
    unit.edit(handler, change)
