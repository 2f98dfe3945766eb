"""Adds the imports that a changed module needs, and removes those that it no longer needs."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import libcst as cst
from libcst.codemod import CodemodContext
from libcst.codemod.visitors import AddImportsVisitor

from genai_config._migrate.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable

# Imports from these packages are removed when nothing uses them any more.
_REPLACED = ("google.generativeai", "google.ai.generativelanguage", "google.api_core.exceptions")


def with_imports(text: str, wanted: Iterable[tuple[str, str, str]]) -> str:
    """The module with additional imports ``from package import name as alias``.

    Args:
        text: The module.
        wanted: (package, name, alias). An empty name imports the package itself; an empty alias
            means none.
    """
    context = CodemodContext()
    for package, name, alias in wanted:
        AddImportsVisitor.add_needed_import(context, package, name or None, asname=alias or None)
    module = cst.parse_module(text)
    return AddImportsVisitor(context).transform_module(module).code


def without_unused(text: str, before: Source) -> str:
    """The module without the imports of the old SDK that were used before but are not now."""
    source = Source(text)
    dropped = _used(before) - _used(source)
    # Lines above a removed statement, such as comments, go to the next statement.
    above: dict[cst.CSTNode, list[cst.EmptyLine]] = {}
    for statement in source.nodes(cst.SimpleStatementLine):
        kept = [_pruned(source, small, dropped) for small in statement.body]
        if all(new is old for new, old in zip(kept, statement.body, strict=True)):
            continue
        left = [small for small in kept if small is not None]
        if left:
            left[-1] = left[-1].with_changes(semicolon=cst.MaybeSentinel.DEFAULT)
        block: Any = source.parent(statement)
        if left:
            source.edits.add(statement, functools.partial(_with_body, left))
        elif isinstance(block, cst.IndentedBlock) and len(block.body) == 1:
            source.edits.add(statement, lambda updated: updated.with_changes(body=[cst.Pass()]))
        else:
            source.edits.add(statement, lambda _: cst.RemoveFromParent())
            lines = [*above.pop(statement, ()), *statement.leading_lines]
            at = list(block.body).index(statement) + 1
            if lines and at < len(block.body):
                above[block.body[at]] = lines
    for statement, lines in above.items():
        source.edits.add(statement, functools.partial(_with_lines, lines))
    return source.result() if len(source.edits) else text


def _with_lines(lines: list[cst.EmptyLine], statement: Any) -> Any:
    own = list(statement.leading_lines)
    comments = any(line.comment is not None for line in lines)
    return statement.with_changes(leading_lines=[*(lines if comments or not own else []), *own])


def _with_body(body: list[Any], statement: Any) -> Any:
    return statement.with_changes(body=body)


def _used(source: Source) -> set[str]:
    """The names that a module reads, or exports in `__all__`."""
    return source.exported | source.variables.keys()


def _pruned(source: Source, small: Any, dropped: set[str]) -> Any:
    """An import without the removed names; None if no names remain."""
    if not isinstance(small, cst.Import | cst.ImportFrom) or isinstance(
        small.names, cst.ImportStar
    ):
        return small
    package = ""
    if isinstance(small, cst.ImportFrom) and small.module is not None:
        package = f"{source.text(small.module)}."
    kept = [
        alias
        for alias in small.names
        if not f"{package}{alias.evaluated_name}".startswith(_REPLACED)
        or (alias.evaluated_alias or alias.evaluated_name).partition(".")[0] not in dropped
    ]
    if len(kept) == len(small.names):
        return small
    if not kept:
        return None
    kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return small.with_changes(names=kept)
