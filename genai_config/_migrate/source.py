"""A parsed module: the meaning of its names, its variables, and the edits to it."""

from __future__ import annotations

import functools
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

from genai_config._migrate.masked_code import masked_code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from libcst.metadata import CodeRange

OLD = "google.generativeai"

# Longer names of the old SDK, and the shorter names for the same objects.
_SAME = (
    (r"^google\.ai\.generativelanguage(_v1beta)?(\.types)?\.", f"{OLD}.protos."),
    (rf"^{OLD}\.(generative_models|client|files|models|embedding|operations)\.", f"{OLD}."),
    (rf"^{OLD}\.types\.(\w+_types)\.", f"{OLD}.types."),
    (rf"^{OLD}\.types\.GenerationConfig\b", f"{OLD}.GenerationConfig"),
)


class Source:
    """A Python module with the metadata of LibCST.

    Args:
        text: The text of the module.
        shared: Names that other modules import, possibly from this one.

    Attributes:
        lifetimes: The groups of assignments and reads of a name, by its scope; a cache.
        edits: The changes to the module.

    Raises:
        libcst.ParserSyntaxError: LibCST cannot parse the text.
    """

    def __init__(self, text: str, shared: frozenset[str] = frozenset()) -> None:
        self.shared = shared
        # What is parsed has no node twice, so it need not be copied.
        self._wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
        self.module = self._wrapper.module
        self.lifetimes: dict[tuple[Any, str], Any] = {}
        self.edits = Edits()

    # LibCST walks through the whole module for each of these.

    @functools.cached_property
    def _names(self) -> Mapping[cst.CSTNode, Any]:
        return self._wrapper.resolve(QualifiedNameProvider)

    @functools.cached_property
    def _parents(self) -> Mapping[cst.CSTNode, cst.CSTNode]:
        return self._wrapper.resolve(ParentNodeProvider)

    @functools.cached_property
    def _positions(self) -> Mapping[cst.CSTNode, CodeRange]:
        return self._wrapper.resolve(PositionProvider)

    @functools.cached_property
    def _in_order(self) -> list[cst.CSTNode]:
        return sorted(self._positions, key=self.start)

    @functools.cached_property
    def _scopes(self) -> Mapping[cst.CSTNode, Any]:
        return self._wrapper.resolve(ScopeProvider)

    @functools.cached_property
    def exported(self) -> set[str]:
        """The names in `__all__`."""
        return {
            evaluated(node) or ""
            for assign in self.nodes(cst.Assign)
            if any(self.text(target.target) == "__all__" for target in assign.targets)
            for node in self.within(assign.value, cst.SimpleString)
        }

    @functools.cached_property
    def variables(self) -> Mapping[str, list[cst.Name]]:
        """The names that are variables, by name: of no import, and no attribute or keyword."""
        found = _Variables()
        self.module.visit(found)
        return found.nodes

    def nodes(self, *kinds: type[cst.CSTNode]) -> Iterator[Any]:
        """All nodes of these kinds, in the order of the text."""
        return (node for node in self._in_order if isinstance(node, kinds))

    def within(self, node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> Iterator[Any]:
        """All nodes of these kinds in a part of the tree."""
        if isinstance(node, kinds):
            yield node
        for child in node.children:
            yield from self.within(child, *kinds)

    def line(self, node: cst.CSTNode) -> int:
        """The line where a node starts, from 1."""
        return int(self._positions[node].start.line)

    def start(self, node: cst.CSTNode) -> tuple[int, int]:
        """The line and the column where a node starts."""
        found = self._positions[node].start
        return found.line, found.column

    def end(self, node: cst.CSTNode) -> tuple[int, int]:
        """The line and the column where a node ends."""
        found = self._positions[node].end
        return found.line, found.column

    def parent(self, node: cst.CSTNode) -> cst.CSTNode:
        """The parent of a node; the module is its own parent."""
        return self._parents.get(node, self.module)

    def above(self, node: cst.CSTNode, *kinds: type[cst.CSTNode]) -> Any:
        """The nearest enclosing node of these kinds; None if there is none."""
        while node is not self.module:
            node = self.parent(node)
            if isinstance(node, kinds):
                return node
        return None

    def name(self, node: cst.CSTNode) -> str:
        """The full name of an imported object, such as "google.generativeai.configure".

        "" for every other expression, and if more than one import could be meant.
        """
        found = self._names.get(node, set())
        found = found() if callable(found) else found  # LibCST computes some names lazily
        imported: set[str] = {one.name for one in found if one.source is QualifiedNameSource.IMPORT}
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

    def label(self, node: cst.CSTNode) -> str:
        """The code of a node in at most 40 characters of one line, without its secrets."""
        # What is cut in two would be recognised no more.
        return masked_code(self.text(node)).strip().partition("\n")[0][:40]

    def scope(self, node: cst.CSTNode) -> Any:
        """The scope that a node belongs to; None if LibCST knows none."""
        return self._scopes.get(node)

    def before(self, node: cst.CSTNode) -> Iterator[Any]:
        """The statements before that of a node, in the same block, nearest first."""
        at = node
        while not isinstance(self.parent(at), cst.IndentedBlock | cst.Module):
            at = self.parent(at)
        block: Any = self.parent(at)
        yield from reversed(block.body[: list(block.body).index(at)])

    def is_alone(self, statement: cst.CSTNode, call: cst.Call) -> bool:
        """Whether a statement is only this call, awaited or not, and its result is unused."""
        outer = self.parent(call)
        outer = self.parent(outer) if isinstance(outer, cst.Await) else outer
        return isinstance(statement, cst.SimpleStatementLine) and (
            [outer] == list(statement.body) and isinstance(outer, cst.Expr)
        )

    def is_tested(self, node: cst.CSTNode) -> bool:
        """Whether an expression is used only for its truth value."""
        above: Any = self.parent(node)
        match above:
            case cst.If() | cst.While() | cst.IfExp() | cst.Assert() | cst.CompIf():
                return above.test is node
            case cst.UnaryOperation(operator=cst.Not()):
                return True
            case cst.BooleanOperation() | cst.NamedExpr():
                return self.is_tested(above)
        return False

    def uses_name(self, name: str) -> bool:
        """Whether a name occurs anywhere in the module."""
        return any(node.value == name for node in self.nodes(cst.Name))

    def free(self, name: str) -> str:
        """The name, with underscores added if it occurs in the module."""
        while self.uses_name(name):
            name += "_"
        return name

    def result(self) -> str:
        """The text of the module after its edits."""
        changed: Any = self.module.visit(self.edits)
        return str(changed.code)


class _Variables(cst.CSTVisitor):
    """Collects the names that are variables."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: dict[str, list[cst.Name]] = {}

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Adds a name, and goes on to the parts that are no names of something else."""
        if isinstance(node, cst.Name):
            self.nodes.setdefault(node.value, []).append(node)
        elif isinstance(node, (cst.Attribute, cst.Arg)):
            node.value.visit(self)
            return False
        return not isinstance(node, (cst.Import, cst.ImportFrom))


class Edits(cst.CSTTransformer):
    """Changes to nodes: each is a function from the node with changed children to the new node."""

    def __init__(self) -> None:
        super().__init__()
        self._of: dict[cst.CSTNode, Callable[[Any], Any]] = {}

    def __contains__(self, node: cst.CSTNode) -> bool:
        return node in self._of

    def __len__(self) -> int:
        return len(self._of)

    def add(self, node: cst.CSTNode, change: Callable[[Any], Any]) -> None:
        """Adds a change; a second one for the same node is applied after the first."""
        first = self._of.get(node)
        self._of[node] = change if first is None else lambda updated: change(first(updated))

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        """Applies the change of a node after those of its children."""
        left = super().on_leave(original_node, updated_node)
        change = self._of.get(original_node)
        return left if change is None else change(left)


def expression(code: str, **parts: cst.BaseExpression) -> Any:
    """Parses an expression, and replaces the given names in it with existing nodes."""
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
    """A change that replaces a node, whatever its children have become."""
    return lambda _: new


def string(node: cst.CSTNode | None) -> str | None:
    """The value of a string literal; None for everything else."""
    return evaluated(node) if isinstance(node, cst.SimpleString) else None


def evaluated(node: cst.SimpleString | cst.ConcatenatedString) -> str | None:
    """The value of a literal; None if it is no text, or has an escape that Python refuses."""
    try:
        value = node.evaluated_value
    except (SyntaxError, ValueError):
        return None
    return value if isinstance(value, str) else None


def keyword(name: str, value: cst.BaseExpression) -> cst.Arg:
    """An argument ``name=value``."""
    return cst.Arg(
        keyword=cst.Name(name), value=value, equal=cst.AssignEqual(
            whitespace_before=cst.SimpleWhitespace(""), whitespace_after=cst.SimpleWhitespace("")
        ),
    )  # fmt: skip
