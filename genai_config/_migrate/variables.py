"""Variables that can be followed: locals, module globals, and attributes of self."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import libcst as cst
from libcst.metadata import GlobalScope

from genai_config._migrate.lifetimes import lifetimes

if TYPE_CHECKING:
    from collections.abc import Hashable

    from genai_config._migrate.source import Source


class Variable(NamedTuple):
    """A variable and all its uses in the module.

    Attributes:
        key: The same for every use of this variable.
        name: Its name, such as "model" or "self.model".
        values: The values assigned to it; None where it is not a simple assignment.
        reads: Where it is read.
        targets: Where it is assigned; None where LibCST has no position.
        problem: Why it cannot be followed; "" if it can.
    """

    key: Hashable
    name: str
    values: list[cst.BaseExpression | None]
    reads: list[cst.CSTNode]
    targets: list[Any]
    problem: str = ""


def variable(source: Source, node: cst.CSTNode) -> Variable | None:
    """The variable of a name or of ``self.x``; None for every other expression."""
    if isinstance(node, cst.Name):
        return _name(source, node)
    if isinstance(node, cst.Attribute) and _is_self(node.value):
        return _attribute(source, node)
    return None


def _is_self(node: cst.CSTNode) -> bool:
    return isinstance(node, cst.Name) and node.value == "self"


def _name(source: Source, node: cst.Name) -> Variable | None:
    scope = source.scope(node)
    assignments = list(scope[node.value]) if scope is not None else []
    if not assignments:
        return None
    owner = assignments[0].scope
    problem = f"{node.value} is exported in __all__" if node.value in source.exported else ""
    if node.value in source.shared and isinstance(owner, GlobalScope):
        problem = f"another file imports {node.value}"
    targets = [getattr(assignment, "node", None) for assignment in assignments]
    reads = {access.node for assignment in assignments for access in assignment.references}
    if (owner, node.value) not in source.lifetimes:
        source.lifetimes[owner, node.value] = lifetimes(source, targets, reads)
    lives = source.lifetimes[owner, node.value]
    number = next((n for n, (ours, read) in enumerate(lives) if node in ours or node in read), 0)
    ours, read = lives[number]
    values = [value_of(source, target) for target in ours]
    key = (id(owner), node.value, number)
    return Variable(key, node.value, values, read, ours, problem)


def _attribute(source: Source, node: cst.Attribute) -> Variable | None:
    owner = source.above(node, cst.ClassDef)
    if owner is None:
        return None
    name = node.attr.value
    values: list[cst.BaseExpression | None] = []
    reads: list[cst.CSTNode] = []
    targets: list[Any] = []
    problem = ""
    for other in source.nodes(cst.Attribute):
        if other.attr.value != name or source.name(other):
            continue
        if not _is_self(other.value) or source.above(other, cst.ClassDef) is not owner:
            where = source.line(other)
            if not _is_self(other.value):
                problem = f"{source.text(other)} on line {where} may be the same attribute"
            continue
        if is_target(source, other):
            values.append(value_of(source, other))
            targets.append(other)
        else:
            reads.append(other)
    return Variable((id(owner), f"self.{name}"), f"self.{name}", values, reads, targets, problem)


def is_target(source: Source, node: cst.CSTNode) -> bool:
    """Whether a node is the target of an assignment."""
    parent = source.parent(node)
    return (isinstance(parent, cst.AssignTarget | cst.AnnAssign | cst.AugAssign | cst.For)
            and parent.target is node) or isinstance(parent, cst.Del)  # fmt: skip


def value_of(source: Source, target: cst.CSTNode | None) -> Any:
    """The value that a simple assignment gives a target; None for other assignments."""
    if target is None:
        return None
    parent = source.parent(target)
    if isinstance(parent, cst.AssignTarget):
        assign = source.parent(parent)
        return assign.value if isinstance(assign, cst.Assign) else None
    if isinstance(parent, cst.AnnAssign | cst.NamedExpr) and parent.target is target:
        return parent.value
    if isinstance(parent, cst.For | cst.CompFor) and parent.target is target:
        return parent.iter
    return None
