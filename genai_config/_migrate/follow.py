"""Follows objects of the old SDK through variables to every use of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import string
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._migrate.variables import Variable, is_target, variable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from genai_config._migrate.source import Source

# Uses that end the analysis, in words, by the node that the object is part of.
_USES: dict[type[cst.CSTNode], str] = {
    cst.Return: "returned",
    cst.Lambda: "returned by a lambda",
    cst.DictElement: "stored in a dictionary",
    cst.GeneratorExp: "collected by a comprehension",
    cst.ListComp: "collected by a comprehension",
    cst.Call: "called",
    cst.Del: "deleted",
    cst.AnnAssign: "annotated with a type of the old SDK",
}


class Thing:
    """The value of an expression of the old SDK: a model, a chat, a response, or a file.

    Attributes:
        kind: Which of these it is, for messages.
        todo: What to do by hand where its use is unknown.
        unit: The unit it belongs to.
        is_content: Whether it may be among the contents of a call.
        names: The attributes that it always has in both SDKs.
    """

    kind = "object"
    todo = "migrate it together with the code that uses it."
    is_content = False
    names: frozenset[str] = frozenset()

    def __init__(self, unit: Unit) -> None:
        self.unit = unit

    def merge(self, other: Any) -> None:
        """Combines it with another value that is assigned to the same variable."""

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """The value of an attribute; None if it does not have to be followed.

        Raises:
            BlockedError: google-genai has no such attribute, or a different one.
        """
        del mover
        raise BlockedError(f".{node.attr.value} of the {self.kind} has no equivalent", self.todo)

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """The result of calling a method; otherwise like `attribute`."""
        thing = self.attribute(mover, method)
        return None if thing is None else thing.called(mover, node)

    def called(self, mover: Follower, node: cst.Call) -> Thing | None:
        """The result of calling it."""
        del mover, node
        raise BlockedError(f"the {self.kind} is called", self.todo)

    def awaited(self) -> Thing:
        """The result of awaiting it."""
        raise BlockedError(f"the {self.kind} is awaited", self.todo)

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """The value of each step of an iteration over it; `node` is its expression."""
        del node, is_async
        raise BlockedError(f"the {self.kind} is iterated over", self.todo)

    def item(self, mover: Follower, node: cst.Subscript) -> Thing | None:
        """The value of a subscript."""
        del mover, node
        raise BlockedError(f"the {self.kind} is indexed", self.todo)

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """Whether it may be passed to a call, as an argument or as part of one."""
        match mover.source.text(call.func), call.args:
            case "print", _:
                return True
            case "hasattr", [cst.Arg(value=first), cst.Arg(value=second)]:
                return first is node and string(second) in self.names
        return False

    def compared(self, mover: Follower, node: cst.CSTNode, comparison: cst.Comparison) -> None:
        """Checks a comparison: it may be compared with None, using ``is``."""
        del mover, node
        if not all(isinstance(one.operator, cst.Is | cst.IsNot) for one in comparison.comparisons):
            raise BlockedError(f"the {self.kind} is compared", self.todo)

    def formatted(self) -> None:
        """Checks whether it may be formatted into a string."""
        raise BlockedError(f"the {self.kind} is formatted", self.todo)

    def assigned(self, mover: Follower, found: Variable) -> None:
        """Called for each variable that it is assigned to."""


class Follower:
    """Follows objects of the old SDK through a module.

    Args:
        source: The module.
        aliases: The names of "types" and the other imports in it.

    Attributes:
        units: The units of migration.
        models: The models that the module creates.
        sent: The calls that send requests, each with its unit.
        made: The calls that create models, each with its unit.
    """

    def __init__(self, source: Source, aliases: dict[str, str]) -> None:
        self.source = source
        self.aliases = aliases
        self.units: list[Unit] = []
        self.models: list[Any] = []
        self.sent: list[tuple[cst.CSTNode, Unit]] = []
        self.made: list[tuple[cst.CSTNode, Unit]] = []
        self._variables: dict[Hashable, tuple[Variable, Thing, list[cst.BaseExpression]]] = {}
        self._reads: list[tuple[cst.CSTNode, Thing]] = []
        self._given_later: list[tuple[cst.CSTNode, Thing]] = []

    def start(self, line: int, what: str) -> Unit:
        """Starts a unit for an object that is created on a line."""
        unit = Unit()
        unit.site(line, what)
        self.units.append(unit)
        return unit

    def follow(self, node: Any, thing: Thing) -> None:
        """Follows the value of an expression to its use; blocks the unit if the use is unknown."""
        try:
            self._follow(node, thing)
        except BlockedError as error:
            thing.unit.block(self.source.line(node), self.source.label(node), error)

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
                    raise BlockedError(f"a value is assigned to .{parent.attr.value}", thing.todo)
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
                raise BlockedError(f"the {thing.kind} is used as an index", thing.todo)
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
                raise BlockedError(f"the {thing.kind} is an operand of `and` or `or`", thing.todo)
            case cst.Arg() | cst.Element():
                self._given(node, parent, thing)
            case cst.FormattedStringExpression():
                call = self.source.parent(self.source.parent(self.source.parent(parent)))
                if not (isinstance(call, cst.Call) and self.source.text(call.func) == "print"):
                    thing.formatted()
            case _:
                use = _USES.get(type(parent), "used where it cannot be followed")
                raise BlockedError(f"the {thing.kind} is {use}", thing.todo)

    def _on(self, node: cst.CSTNode, thing: Thing | None) -> None:
        if thing is not None:
            self.follow(node, thing)

    def _given(self, node: cst.CSTNode, parent: Any, thing: Thing) -> None:
        call = self.source.parent(parent)
        if isinstance(call, cst.Call) and thing.may_be_given(self, node, call):
            return
        if not thing.is_content:
            use = "passed to other code" if isinstance(call, cst.Call) else "stored in a collection"
            raise BlockedError(f"the {thing.kind} is {use}", thing.todo)
        self._given_later.append((node, thing))

    def is_followed(self, node: cst.CSTNode) -> bool:
        """Whether an expression is known to be an object of the old SDK."""
        return self.thing(node) is not None or any(node is one for one, _ in self._given_later)

    def check_given(self, contents: Mapping[cst.CSTNode, Unit]) -> None:
        """Blocks objects that were passed to something other than the contents of a migrated call.

        Args:
            contents: The nodes that hold contents of migrated calls, each with its unit.
        """
        for node, thing in self._given_later:
            at: Any = self.source.parent(node)
            while isinstance(at, cst.Element | cst.List) and at not in contents:
                at = self.source.parent(at)
            if at in contents:
                thing.unit.join(contents[at])
                continue
            thing.unit.block(self.source.line(node), self.source.label(node), BlockedError(
                f"the {thing.kind} is passed to other code", thing.todo))  # fmt: skip

    def _assigned(self, node: cst.BaseExpression, assign: cst.Assign, thing: Thing) -> None:
        if len(assign.targets) != 1:
            raise BlockedError("several targets are assigned at once", thing.todo)
        self._bound(assign.targets[0].target, node, thing)

    def _bound(self, target: Any, value: cst.BaseExpression, thing: Thing) -> None:
        found = variable(self.source, target)
        if found is None:
            raise BlockedError(
                f"the {thing.kind} cannot be followed into {self.source.text(target)}", thing.todo
            )
        if found.problem:
            raise BlockedError(found.problem, thing.todo)
        known = self._variables.get(found.key)
        if known is not None:
            known[2].append(value)
            thing.unit.join(known[1].unit)
            if type(known[1]) is not type(thing):
                raise BlockedError(
                    f"{found.name} holds values of two kinds: {known[1].kind} and {thing.kind}",
                    "use two variables.",
                )
            known[1].merge(thing)
            thing.assigned(self, found)
            return
        self._variables[found.key] = (found, thing, [value])
        thing.assigned(self, found)
        self._reads += [(read, thing) for read in found.reads]

    def drain(self) -> None:
        """Follows the variables that have been assigned so far."""
        while self._reads:
            self.follow(*self._reads.pop(0))

    def thing(self, node: cst.CSTNode) -> Thing | None:
        """The object that a variable holds; None if it is not followed."""
        found = variable(self.source, node)
        known = self._variables.get(found.key) if found else None
        return known[1] if known else None

    def check_variables(self) -> None:
        """Blocks units with a variable that is also assigned another value."""
        for found, thing, values in self._variables.values():
            for value in found.values:
                if value in values or (isinstance(value, cst.Name) and value.value == "None"):
                    continue
                line = self.source.line(values[0])
                thing.unit.block(line, found.name, BlockedError(
                    f"{found.name} is also assigned another value", "use another variable.",
                ))  # fmt: skip
