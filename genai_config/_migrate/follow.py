"""Follows what the old SDK makes, through variables, to all that is done with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import string
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._migrate.variables import Variable, is_target, variable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from genai_config._migrate.source import Source

_FOLLOWED = "move it by hand, with what uses it."


class Thing:
    """What an expression of the old SDK gives: a model, a chat, an answer, or a file.

    Attributes:
        kind: Which of these, for messages.
        unit: What it moves with.
        is_content: Whether it may be among the contents of a call.
        names: Attributes that it always has, in both SDKs.
    """

    kind = "object"
    is_content = False
    names: frozenset[str] = frozenset()

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def merge(self, other: Any) -> None:
        """Takes over what another says that is assigned to the same variable."""

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """What an attribute of it gives; None: nothing that has to be followed.

        Raises:
            BlockedError: google-genai has no such attribute, or another.
        """
        del mover
        raise BlockedError(f".{node.attr.value} of a {self.kind} has no counterpart", _FOLLOWED)

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """What calling a method gives; as for `attribute`."""
        thing = self.attribute(mover, method)
        return None if thing is None else thing.called(mover, node)

    def called(self, mover: Follower, node: cst.Call) -> Thing | None:
        """What calling it gives."""
        del mover, node
        raise BlockedError(f"a {self.kind} is called", _FOLLOWED)

    def awaited(self) -> Thing:
        """What awaiting it gives."""
        raise BlockedError(f"a {self.kind} is awaited", _FOLLOWED)

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """What iterating over it, as the expression `node`, gives."""
        del node, is_async
        raise BlockedError(f"a {self.kind} is iterated over", _FOLLOWED)

    def item(self, mover: Follower, node: cst.Subscript) -> Thing | None:
        """What a subscript gives."""
        del mover, node
        raise BlockedError(f"a {self.kind} is subscripted", _FOLLOWED)

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """Whether it may be an argument, or part of one, of a call."""
        match mover.source.text(call.func), call.args:
            case "print", _:
                return True
            case "hasattr", [cst.Arg(value=first), cst.Arg(value=second)]:
                return first is node and string(second) in self.names
        return False

    def compared(self, mover: Follower, node: cst.CSTNode, comparison: cst.Comparison) -> None:
        """Whether it may be compared: with None, by ``is``."""
        del mover, node
        if not all(isinstance(one.operator, cst.Is | cst.IsNot) for one in comparison.comparisons):
            raise BlockedError(f"a {self.kind} is compared", _FOLLOWED)

    def formatted(self) -> None:
        """Whether it may be shown in a text."""
        raise BlockedError(f"a {self.kind} is formatted", _FOLLOWED)

    def assigned(self, mover: Follower, found: Variable) -> None:
        """Is told of a variable that it is assigned to."""


class Follower:
    """Follows things through a module.

    Args:
        source: The module.
        aliases: What "types" and the others are called in it.

    Attributes:
        units: What moves together.
        models: The models that are made.
        sent: The calls that send requests, each with its unit.
    """

    def __init__(self, source: Source, aliases: dict[str, str]) -> None:
        self.source = source
        self.aliases = aliases
        self.units: list[Unit] = []
        self.models: list[Any] = []
        self.sent: list[tuple[cst.CSTNode, Unit]] = []
        self._variables: dict[Hashable, tuple[Variable, Thing, list[cst.BaseExpression]]] = {}
        self._reads: list[tuple[cst.CSTNode, Thing]] = []
        self._given_later: list[tuple[cst.CSTNode, Thing]] = []

    def start(self, line: int, what: str) -> Unit:
        """A new unit, for something that is made in a line."""
        unit = Unit()
        unit.site(line, what)
        self.units.append(unit)
        return unit

    def follow(self, node: Any, thing: Thing) -> None:
        """Follows what an expression gives to its use; blocks the unit where that is unknown."""
        try:
            self._follow(node, thing)
        except BlockedError as error:
            what = self.source.text(node).strip().partition("\n")[0][:40]
            thing.unit.block(self.source.line(node), what, error)

    def _follow(self, node: Any, thing: Thing) -> None:  # noqa: C901, PLR0912 -- a case each
        parent: Any = self.source.parent(node)
        match parent:
            case cst.Expr():
                return
            case cst.Await():
                self._follow(parent, thing.awaited())
            case cst.Attribute():
                outer = self.source.parent(parent)
                if isinstance(outer, cst.Call) and outer.func is parent:
                    self._on(outer, thing.call(self, outer, parent))
                elif is_target(self.source, parent):
                    raise BlockedError(f".{parent.attr.value} is assigned", _FOLLOWED)
                else:
                    self._on(parent, thing.attribute(self, parent))
            case cst.Assign():
                self._assigned(node, parent, thing)
            case cst.AnnAssign() if not any(map(
                self.source.old, self.source.within(parent.annotation, cst.Name, cst.Attribute)
            )):  # fmt: skip
                self._bound(parent.target, node, thing)
            case cst.For() | cst.CompFor() if parent.iter is node:
                inner = thing.element(node, is_async=parent.asynchronous is not None)
                self._bound(parent.target, node, inner)
            case cst.Index():
                raise BlockedError(f"a {thing.kind} is an index", _FOLLOWED)
            case cst.Subscript() if parent.value is node:
                self._on(parent, thing.item(self, parent))
            case cst.NamedExpr() if parent.value is node:
                self._bound(parent.target, node, thing)
                self._follow(parent, thing)
            case cst.Comparison():
                thing.compared(self, node, parent)
            case cst.ComparisonTarget():
                thing.compared(self, node, cst.ensure_type(
                    self.source.parent(parent), cst.Comparison))  # fmt: skip
            case _ if self.source.is_tested(node):
                return
            case cst.BooleanOperation():
                raise BlockedError(f"a {thing.kind} is handed on by a condition", _FOLLOWED)
            case cst.Arg() | cst.Element():
                self._given(node, parent, thing)
            case cst.FormattedStringExpression():
                call = self.source.parent(self.source.parent(self.source.parent(parent)))
                if not (isinstance(call, cst.Call) and self.source.text(call.func) == "print"):
                    thing.formatted()
            case _:
                raise BlockedError(
                    f"the {thing.kind} goes where it is not followed: "
                    f"{type(parent).__name__.lower()}", _FOLLOWED,
                )  # fmt: skip

    def _on(self, node: cst.CSTNode, thing: Thing | None) -> None:
        if thing is not None:
            self.follow(node, thing)

    def _given(self, node: cst.CSTNode, parent: Any, thing: Thing) -> None:
        call = self.source.parent(parent)
        if isinstance(call, cst.Call) and thing.may_be_given(self, node, call):
            return
        if not thing.is_content:
            raise BlockedError(f"the {thing.kind} is passed on to what is not followed", _FOLLOWED)
        self._given_later.append((node, thing))

    def is_followed(self, node: cst.CSTNode) -> bool:
        """Whether an expression is known to give something of the old SDK's."""
        return self.thing(node) is not None or any(node is one for one, _ in self._given_later)

    def check_given(self, contents: Mapping[cst.CSTNode, Unit]) -> None:
        """Blocks what has been passed on and is, now that all is followed, no content of a call.

        Args:
            contents: What holds contents of calls that move, each with its unit.
        """
        for node, thing in self._given_later:
            at: Any = self.source.parent(node)
            while isinstance(at, cst.Element | cst.List) and at not in contents:
                at = self.source.parent(at)
            if at in contents:
                thing.unit.join(contents[at])
                continue
            thing.unit.block(self.source.line(node), self.source.text(node)[:40], BlockedError(
                f"the {thing.kind} is passed on to what is not followed", _FOLLOWED))  # fmt: skip

    def _assigned(self, node: cst.BaseExpression, assign: cst.Assign, thing: Thing) -> None:
        if len(assign.targets) != 1:
            raise BlockedError("several targets are assigned at once", _FOLLOWED)
        self._bound(assign.targets[0].target, node, thing)

    def _bound(self, target: Any, value: cst.BaseExpression, thing: Thing) -> None:
        found = variable(self.source, target)
        if found is None:
            raise BlockedError(
                f"the {thing.kind} is kept in {self.source.text(target)}, which is not followed",
                _FOLLOWED,
            )
        if found.problem:
            raise BlockedError(found.problem, _FOLLOWED)
        known = self._variables.get(found.key)
        if known is not None:
            known[2].append(value)
            thing.unit.join(known[1].unit)
            if type(known[1]) is not type(thing):
                raise BlockedError(
                    f"{found.name} holds a {known[1].kind} here and a {thing.kind} there",
                    "use two names.",
                )
            known[1].merge(thing)
            thing.assigned(self, found)
            return
        self._variables[found.key] = (found, thing, [value])
        thing.assigned(self, found)
        self._reads += [(read, thing) for read in found.reads]

    def drain(self) -> None:
        """Follows the variables that have been assigned to so far."""
        while self._reads:
            self.follow(*self._reads.pop(0))

    def thing(self, node: cst.CSTNode) -> Thing | None:
        """What a variable holds; None: nothing that is followed."""
        found = variable(self.source, node)
        known = self._variables.get(found.key) if found else None
        return known[1] if known else None

    def check_variables(self) -> None:
        """Blocks the units one of whose variables holds something else as well."""
        for found, thing, values in self._variables.values():
            for value in found.values:
                if value in values or (isinstance(value, cst.Name) and value.value == "None"):
                    continue
                line = self.source.line(values[0])
                thing.unit.block(line, found.name, BlockedError(
                    f"{found.name} is assigned something else as well", "use another name for it.",
                ))  # fmt: skip
