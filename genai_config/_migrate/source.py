"""A parsed module: what its names mean, where its variables go, and the edits that it gets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.metadata import (
    MetadataWrapper,
    ParentNodeProvider,
    PositionProvider,
    QualifiedNameProvider,
    QualifiedNameSource,
    ScopeProvider,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OLD = "google.generativeai"

# Where the old SDK defines what it also has under a shorter name.
_SAME = (
    (r"^google\.ai\.generativelanguage(_v1beta)?(\.types)?\.", f"{OLD}.protos."),
    (rf"^{OLD}\.(generative_models|client|files|models|embedding|operations)\.", f"{OLD}."),
    (rf"^{OLD}\.types\.(\w+_types)\.", f"{OLD}.types."),
    (rf"^{OLD}\.types\.GenerationConfig\b", f"{OLD}.GenerationConfig"),
)


class Source:
    """A module of Python with what LibCST knows about it.

    Args:
        text: The text of the module.
        shared: Names that other modules import, perhaps from this one.

    Raises:
        libcst.ParserSyntaxError: It is no Python that LibCST understands.
    """

    def __init__(self, text: str, shared: frozenset[str] = frozenset()) -> None:
        self.shared = shared
        self._wrapper = MetadataWrapper(cst.parse_module(text))
        self.module = self._wrapper.module
        self._names = self._wrapper.resolve(QualifiedNameProvider)
        self._parents = self._wrapper.resolve(ParentNodeProvider)
        self._positions = self._wrapper.resolve(PositionProvider)
        self._scopes = self._wrapper.resolve(ScopeProvider)
        self.edits = Edits()

    def nodes(self, *kinds: type[cst.CSTNode]) -> Iterator[Any]:
        """All nodes of these kinds, in the order of the text."""
        found = [node for node in self._positions if isinstance(node, kinds)]
        found.sort(key=lambda node: (self._positions[node].start.line,
                                     self._positions[node].start.column))  # fmt: skip
        return iter(found)

    def within(self, node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> Iterator[Any]:
        """All nodes of these kinds in a part of the tree."""
        if isinstance(node, kinds):
            yield node
        for child in node.children:
            yield from self.within(child, *kinds)

    def line(self, node: cst.CSTNode) -> int:
        """The line that a node starts in, from 1."""
        return int(self._positions[node].start.line)

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """The node that a node is part of; for the module itself, the module."""
        return self._parents.get(node, self.module)

    def above(self, node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> Any:
        """The nearest node of these kinds that a node is in; None: there is none."""
        while node is not self.module:
            node = self.parent(node)
            if isinstance(node, kinds):
                return node
        return None

    def name(self, node: cst.CSTNode) -> str:
        """What an expression names of an import, such as "google.generativeai.configure".

        "" for everything else, and where two imports could be meant.
        """
        found = self._names.get(node, set())
        found = found() if callable(found) else found  # LibCST computes some names when asked
        imported = {one.name for one in found if one.source is QualifiedNameSource.IMPORT}
        if len(found) != 1 or len(imported) != 1:
            return ""
        (name,) = imported
        for pattern, short in _SAME:
            name = re.sub(pattern, short, name)
        return name

    def old(self, node: cst.CSTNode) -> str:
        """The name below the old SDK's package, such as "types.Tool"; "" for anything else."""
        name = self.name(node)
        return name.removeprefix(f"{OLD}.") if name.startswith(f"{OLD}.") else ""

    def text(self, node: cst.CSTNode) -> str:
        """The code of a node."""
        return self.module.code_for_node(node)

    def scope(self, node: cst.CSTNode) -> Any:
        """The scope that a node belongs to; None: LibCST knows of none."""
        return self._scopes.get(node)

    def accesses(self, target: cst.Name) -> tuple[list[cst.CSTNode], list[cst.CSTNode]]:
        """Of a variable that is assigned here: the names that assign it, and those that read it."""
        scope = self.scope(target)
        assigned: list[cst.CSTNode] = []
        read: list[cst.CSTNode] = []
        for assignment in scope[target.value] if scope is not None else ():
            assigned.append(getattr(assignment, "node", target))
            read += [access.node for access in assignment.references]
        return assigned, list(dict.fromkeys(read))

    def uses_name(self, name: str) -> bool:
        """Whether a name occurs anywhere in the module."""
        return any(node.value == name for node in self.nodes(cst.Name))

    def free(self, name: str) -> str:
        """The name, or one like it, that does not occur in the module."""
        while self.uses_name(name):
            name += "_"
        return name

    def result(self) -> str:
        """The text of the module after its edits."""
        changed: Any = self.module.visit(self.edits)
        return str(changed.code)


class Edits(cst.CSTTransformer):
    """Changes of nodes, each a function from the node as its own parts left it to the new one."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[cst.CSTNode, Callable[[Any], Any]] = {}

    def __contains__(self, node: cst.CSTNode) -> bool:
        return node in self._of

    def __len__(self) -> int:
        return len(self._of)

    def add(self, node: cst.CSTNode, change: Callable[[Any], Any]) -> None:
        """Adds a change; a second one of the same node comes after the first."""
        first = self._of.get(node)
        self._of[node] = change if first is None else lambda updated: change(first(updated))

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Applies the change of a node, when those of its parts are done."""
        left = super().on_leave(original_node, updated_node)
        change = self._of.get(original_node)
        return left if change is None else change(left)


def expression(code: str, **parts: cst.BaseExpression) -> Any:
    """An expression from code in which names stand for parts that are kept as they are."""
    parsed = cst.parse_expression(code)
    return parsed.visit(_Put(parts)) if parts else parsed


class _Put(cst.CSTTransformer):
    def __init__(self, parts: dict[str, cst.BaseExpression]) -> None:
        super().__init__()
        self._parts = parts

    def leave_Name(  # noqa: N802 -- LibCST's
        self,
        original_node: cst.Name,
        updated_node: cst.Name,
    ) -> cst.BaseExpression:
        return self._parts.get(original_node.value, updated_node)


def always(new: Any) -> Callable[[Any], Any]:
    """A change that puts something in the place of a node, whatever has become of its parts."""
    return lambda _: new


def string(node: cst.CSTNode | None) -> str | None:
    """The value of a literal string; None: it is none."""
    if isinstance(node, cst.SimpleString):
        value = node.evaluated_value
        return value if isinstance(value, str) else None
    return None


def keyword(name: str, value: cst.BaseExpression) -> cst.Arg:
    """An argument ``name=value``."""
    return cst.Arg(
        keyword=cst.Name(name), value=value, equal=cst.AssignEqual(
            whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace("")
        ),
    )  # fmt: skip
