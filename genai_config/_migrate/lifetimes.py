"""Groups the reads of a name with the assignments that they may see.

A name may hold different objects over time. Where that is unclear, all uses form one group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_config._migrate.source import Source

_LATER = (cst.FunctionDef, cst.Lambda, cst.ClassDef, cst.GeneratorExp)
_BLOCKS = (cst.IndentedBlock, cst.SimpleStatementSuite, cst.Module)
_LOOPS = (cst.For, cst.While)


def lifetimes(
    source: Source, targets: list[Any], reads: Iterable[cst.CSTNode]
) -> list[tuple[list[Any], list[cst.CSTNode]]]:
    """The assignments and reads of a name, in independent groups.

    Args:
        source: The module.
        targets: Where it is assigned; None where LibCST has no position.
        reads: Where it is read.
    """
    places = {target: _place(source, target) for target in targets}
    ordered = sorted(reads, key=source.start)
    if len(targets) == 1 or None in places.values():
        return [(targets, ordered)]
    group = {target: number for number, target in enumerate(targets)}
    of_read: dict[cst.CSTNode, Any] = {}
    for read in ordered:
        reaching = _reaching(source, read, places)
        of_read[read] = reaching[0]
        numbers = {group[target] for target in reaching}
        for target, number in group.items():
            if number in numbers:
                group[target] = min(numbers)
    return [
        (
            [target for target in targets if group[target] == number],
            [read for read in ordered if group[of_read[read]] == number],
        )
        for number in sorted(set(group.values()))
    ]


class _Place:
    """Where an assignment takes effect.

    Attributes:
        block: The block in which all later statements see it.
        owner: The function or class that it is in.
        end: The line and column after which it is in effect.
        statement: The statement that makes it.
    """

    def __init__(self, source: Source, block: Any, end: tuple[int, int], statement: Any) -> None:
        self.block = block
        self.owner = source.above(statement, *_LATER)
        self.end = end
        self.statement = statement


def _place(source: Source, target: Any) -> _Place | None:
    """Where a simple assignment, a loop variable or a parameter takes effect; else None."""
    parent: Any = None if target is None else source.parent(target)
    if isinstance(parent, cst.AssignTarget):
        parent = source.parent(parent)
    if isinstance(parent, cst.Assign | cst.AnnAssign) and parent.value is not None:
        block = source.above(parent, *_BLOCKS)
        return _Place(source, block, source.end(parent), parent)
    if isinstance(parent, cst.For) and parent.target is target:
        return _Place(source, parent.body, source.end(parent.iter), parent.body)
    if isinstance(target, cst.Param):
        function = source.above(target, cst.FunctionDef)
        return function and _Place(
            source, function.body, source.start(function.body), function.body
        )
    return None


def _reaching(source: Source, read: cst.CSTNode, places: dict[Any, Any]) -> list[Any]:
    """The assignments whose value a read may see."""
    owner = source.above(read, *_LATER)
    if any(place.owner is not owner for place in places.values()):
        return list(places)
    at = source.start(read)
    around = set(_around(source, read))
    before = sorted(
        (target for target in places if places[target].end <= at),
        key=lambda target: places[target].end,
    )
    found: list[Any] = []
    last: Any = None
    for target in reversed(before):
        found.append(target)
        if places[target].block in around:
            last = target
            break
    if last is None:
        return list(places)
    inside = set(_around(source, places[last].statement))
    for loop in around:
        if isinstance(loop, _LOOPS) and loop not in inside:
            found += [
                target
                for target in places
                if target not in found and loop in set(_around(source, places[target].statement))
            ]
    return found


def _around(source: Source, node: cst.CSTNode) -> Iterable[cst.CSTNode]:
    """The nodes that enclose a node, up to the module."""
    while node is not source.module:
        node = source.parent(node)
        yield node
