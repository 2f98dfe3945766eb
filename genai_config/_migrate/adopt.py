"""The first step: a raw ``genai.configure()`` becomes `safe_configure()`, or `override()`.

`safe_configure` accepts the keywords of ``configure``, so the call keeps its arguments. Where a
function configures one caller's key and sends requests with it, the requests move into a scope.
"""

from __future__ import annotations

from typing import Any

import libcst as cst

from genai_config._migrate.imports import with_imports, without_unused
from genai_config._migrate.report import Site
from genai_config._migrate.source import OLD, Source, string

_SAFE, _OVERRIDE = "safe_configure", "override"

# A scope must not return these: they would be used after the scope ends.
_MADE = ("GenerativeModel", "ChatSession", "GenerativeModel.from_cached_content")
_LAZY = ("generate_content", "generate_content_async", "send_message", "send_message_async")


def adopt(text: str) -> tuple[str, list[Site]]:
    """Replaces the raw ``configure`` calls of a module; returns the new text and the sites found.

    Raises:
        libcst.ParserSyntaxError: LibCST cannot parse the text.
    """
    if OLD not in text and "google.generativeai" not in text:
        return text, []
    source = Source(text)
    sites: list[Site] = []
    wanted: dict[str, str] = {}
    for node in source.nodes(cst.Name, cst.Attribute):
        if source.old(node) != "configure" or source.above(node, cst.Import, cst.ImportFrom):
            continue
        call = source.parent(node)
        if not isinstance(call, cst.Call) or call.func is not node:
            sites.append(Site(
                source.line(node), "configure", "unchanged",
                "the function is used without being called",
                "pass genai_config.safe_configure instead, if the receiver calls it.",
            ))  # fmt: skip
            continue
        wanted |= _replace(source, call, sites)
    sites += _patched(source)
    if not len(source.edits):
        return text, sites
    imports = [("genai_config", name, "" if alias == name else alias) for name, alias in
               sorted(wanted.items())]  # fmt: skip
    return without_unused(with_imports(source.result(), imports), source), sites


def _replace(source: Source, call: cst.Call, sites: list[Site]) -> dict[str, str]:
    """Replaces a call; returns the names to import from `genai_config`, with their aliases."""
    line = source.line(call)
    scope = _Scope(source, call)
    if scope.is_plain:
        alias = _alias(source, _OVERRIDE)
        scope.replace(alias)
        sites.append(Site(line, "configure", "migrated", "", ""))
        return {_OVERRIDE: alias}
    alias = _alias(source, _SAFE)
    source.edits.add(call.func, lambda _: cst.Name(alias))
    sites.append(Site(line, "configure", "migrated"))
    if not call.args:
        sites.append(Site(
            line, "configure", "note", "configure() without arguments restores the environment's "
            "key; safe_configure() keeps the current configuration",
            "call genai_config.reset() to restore the environment's configuration.",
        ))  # fmt: skip
    if scope.reason:
        sites.append(Site(
            line, "configure", "note", f"one caller's key is set for all callers: {scope.reason}",
            "put the requests into `with genai_config.override(api_key=…):`.",
        ))  # fmt: skip
    return {_SAFE: alias}


def _alias(source: Source, name: str) -> str:
    """The name to import one of our functions under; prefixed if the name is already used."""
    for node in source.nodes(cst.Name):
        if node.value == name and source.name(node) != f"genai_config.{name}":
            return f"genai_{name}"
    return name


def _patched(source: Source) -> list[Site]:
    """Strings that name ``configure``, as in a test that patches it."""
    return [
        Site(source.line(node), "configure", "unchanged", "a string names it, as in mock.patch()",
             "patch what the code calls now, or test against the server in genai_config.testing.")
        for node in source.nodes(cst.SimpleString)
        if string(node) in (f"{OLD}.configure", f"{OLD}.client.configure")
    ]  # fmt: skip


class _Scope:
    """A call of ``configure``, and whether it sets one caller's key for the rest of its block.

    Attributes:
        is_plain: Whether the rest of the block can become the body of ``with override(…):``.
        reason: Why it cannot, although it sets one caller's key; "" otherwise.
    """

    def __init__(self, source: Source, call: cst.Call) -> None:
        self._source = source
        self._call = call
        self.reason = ""
        self.is_plain = False
        function = source.above(call, cst.FunctionDef)
        self._line: Any = source.parent(source.parent(call))
        self._block: Any = source.parent(self._line)
        if function is None or not self._is_of_one_caller(function):
            return
        self.reason = self._objection(function)
        self.is_plain = not self.reason

    def _is_of_one_caller(self, function: cst.FunctionDef) -> bool:
        """Whether the key comes from a parameter or loop variable and is used in this block."""
        keys = [
            arg.value
            for arg in self._call.args
            if arg.keyword is not None and arg.keyword.value in ("api_key", "credentials")
        ]
        given = {param.name.value for param in self._source.within(function.params, cst.Param)}
        loop = self._source.above(self._call, cst.For)
        if loop is not None and self._source.above(loop, cst.FunctionDef) is function:
            given |= {name.value for name in self._source.within(loop.target, cst.Name)}
        given -= {"self", "cls"}
        read = {name.value for key in keys for name in self._source.within(key, cst.Name)}
        return bool(read & given) and any(map(self._asks, self._rest()))

    def _asks(self, statement: cst.CSTNode) -> bool:
        """Whether a statement uses the SDK."""
        return any(
            isinstance(node.func, cst.Attribute)
            and (node.func.attr.value in (*_LAZY, "start_chat") or self._source.old(node.func))
            for node in self._source.within(statement, cst.Call)
        )

    def _asks_after(self, loop: cst.CSTNode, function: cst.FunctionDef) -> bool:
        end = self._source.line(loop)
        inside = set(self._source.within(loop, cst.Call))
        return any(
            self._asks(call) and self._source.line(call) >= end
            for call in self._source.within(function, cst.Call)
            if call not in inside
        )

    def _rest(self) -> list[Any]:
        if not isinstance(self._block, cst.IndentedBlock) or self._line not in self._block.body:
            return []
        at = list(self._block.body).index(self._line)
        return list(self._block.body[at + 1 :])

    def _objection(self, function: cst.FunctionDef) -> str:  # noqa: C901, PLR0911, PLR0912 -- a reason each
        source = self._source
        owner = source.parent(self._block)
        if owner is not function and not isinstance(owner, cst.For):
            return "the scope would cover only part of the function"
        if owner is not function and self._asks_after(owner, function):
            return "requests after the loop use the key too"
        if len(self._line.body) != 1 or not isinstance(source.parent(self._call), cst.Expr):
            return "configure() is called inside another expression"
        if any(arg.star for arg in self._call.args):
            return "its arguments are unpacked from a list or dictionary"
        if any(source.within(function.body, cst.Yield)):
            return "the function is a generator, so the scope would leak to its caller"
        made = self._made()
        for statement in self._rest():
            for node in source.within(statement, cst.Return):
                if node.value is not None and self._hands_out(node.value, made):
                    return "the returned object sends requests after the scope ends"
            for node in source.within(statement, cst.Assign):
                for target in node.targets:
                    if isinstance(target.target, cst.Attribute | cst.Subscript) and (
                        self._hands_out(node.value, made)
                    ):
                        return "a stored model sends requests after the scope ends"
            if any(source.within(statement, cst.Global, cst.Nonlocal)):
                return "the function assigns a global or nonlocal variable"
            if any(source.within(statement, cst.Lambda, cst.FunctionDef, cst.ClassDef)):
                return "an inner function may run after the scope ends"
        return ""

    def _made(self) -> set[str]:
        """The variables that hold objects which send requests later: models, chats, streams."""
        found: set[str] = set()
        for statement in self._rest():
            for node in self._source.within(statement, cst.Assign):
                if self._hands_out(node.value, found):
                    found |= {name.value for target in node.targets
                              for name in self._source.within(target.target, cst.Name)}  # fmt: skip
        return found

    def _hands_out(  # noqa: PLR0911 -- a case each
        self, value: cst.BaseExpression, made: set[str]
    ) -> bool:
        """Whether a value is, or holds, an object that sends requests later."""
        source = self._source
        if isinstance(value, cst.Name):
            return value.value in made
        if isinstance(value, cst.Await):
            return self._hands_out(value.expression, made)
        if isinstance(value, cst.Call):
            func = value.func
            if source.old(func) in _MADE:
                return True
            if isinstance(func, cst.Attribute):
                if func.attr.value == "start_chat":
                    return True
                if func.attr.value in _LAZY:
                    streams = any(arg.keyword and arg.keyword.value == "stream"
                                  for arg in value.args)  # fmt: skip
                    in_coroutine = func.attr.value.endswith("_async") and not isinstance(
                        source.parent(value), cst.Await
                    )
                    return streams or in_coroutine
            return any(self._hands_out(arg.value, made) for arg in value.args)
        if isinstance(value, cst.Tuple | cst.List | cst.Set | cst.Dict):
            return any(self._hands_out(e.value, made) for e in value.elements)
        return False

    def replace(self, name: str) -> None:
        """Moves the rest of the block into ``with override(…):``."""
        rest, line, call = self._rest(), self._line, self._call
        head = cst.With(
            items=[cst.WithItem(call.with_changes(func=cst.Name(name)))],
            body=cst.IndentedBlock(body=[]),
            leading_lines=line.leading_lines,
        )

        def change(updated: cst.IndentedBlock) -> cst.IndentedBlock:
            at = len(updated.body) - len(rest) - 1
            header = cst.TrailingWhitespace(
                comment=line.trailing_whitespace.comment,
                whitespace=line.trailing_whitespace.whitespace,
            )  # fmt: skip
            inner = cst.IndentedBlock(
                body=updated.body[at + 1 :], header=header, footer=updated.footer
            )
            return updated.with_changes(
                body=[*updated.body[:at], head.with_changes(body=inner)], footer=[]
            )

        self._source.edits.add(self._block, change)
