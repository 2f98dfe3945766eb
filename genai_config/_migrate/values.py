"""Migrates values of the old SDK, such as contents and types, to google-genai."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import Source, expression, keyword, string
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._migrate.variables import Variable, is_target, variable

if TYPE_CHECKING:
    from collections.abc import Callable

TYPES = {
    **{f"protos.{name}": name for name in (
        "Blob", "Content", "FileData", "FunctionCall", "FunctionCallingConfig",
        "FunctionDeclaration", "FunctionResponse", "Part", "Schema", "Tool", "ToolConfig", "Type",
        "HarmCategory", "ExecutableCode", "CodeExecutionResult",
    )},
    "protos.CodeExecution": "ToolCodeExecution",
    "protos.GoogleSearchRetrieval": "GoogleSearchRetrieval",
    "protos.SafetySetting": "SafetySetting",
    "protos.SafetySetting.HarmBlockThreshold": "HarmBlockThreshold",
    "protos.FunctionCallingConfig.Mode": "FunctionCallingConfigMode",
    "types.HarmCategory": "HarmCategory",
    "types.HarmBlockThreshold": "HarmBlockThreshold",
    "types.Tool": "Tool",
    "types.FunctionDeclaration": "FunctionDeclaration",
}  # fmt: skip
"""The old SDK's types, and their names in google.genai.types."""

PRODUCERS = frozenset(
    ("GenerativeModel", "upload_file", "get_file", "embed_content", "GenerationConfig",
     "caching.CachedContent.create", "caching.CachedContent.get")
)  # fmt: skip
"""Calls that are migrated separately where they occur inside another value."""

_RENAMED = {"type_": "type", "format_": "format"}
_BY_HAND = "see Moving to google-genai in the documentation."


class Values:
    """Changes values inside the arguments of migrated calls.

    Args:
        source: The module.
        aliases: The names of "types" and the other imports in it.

    Attributes:
        given: The nodes that hold contents of migrated calls, each with its unit.
        allowed: The variables that change, each with its unit and the uses that allow it.
    """

    def __init__(self, source: Source, aliases: dict[str, str]) -> None:
        self.source = source
        self.aliases = aliases
        self._dicts: set[cst.CSTNode] = set()
        self._histories: list[tuple[cst.CSTNode, Unit]] = []
        self._unknown: list[tuple[cst.CSTNode, Unit]] = []
        self.given: dict[cst.CSTNode, Unit] = {}
        self.allowed: dict[Any, tuple[Any, Unit, set[cst.CSTNode]]] = {}

    def type_name(self, name: str) -> Any:
        """The expression of a type in google.genai.types."""
        return expression(f"{self.aliases['types']}.{name}")

    def types(self, node: cst.CSTNode, unit: Unit) -> None:
        """Changes the old SDK's types in an expression.

        Raises:
            BlockedError: It holds something that has no equivalent in google-genai.
        """
        old = self.source.old(node) if isinstance(node, cst.Name | cst.Attribute) else ""
        if old:
            self._type(node, old, unit)
            return
        if isinstance(node, cst.Call):
            called = self.source.old(node.func)
            if called in PRODUCERS or called.startswith("GenerativeModel."):
                return
            if called in TYPES:
                self._keywords(node, called, unit)
        if isinstance(node, cst.DictElement):
            self._schema_key(node, unit)
        for child in node.children:
            self.types(child, unit)

    def _type(self, node: cst.CSTNode, old: str, unit: Unit) -> None:
        if old in TYPES:
            unit.edit(node, lambda _: self.type_name(TYPES[old]))
        elif old.rpartition(".")[0] in TYPES and isinstance(node, cst.Attribute):
            # A member of an enum, or an alternative constructor.
            holder, _, member = old.rpartition(".")
            if member.startswith("from_"):
                raise BlockedError(f"{old} has no equivalent in google-genai", _BY_HAND)
            unit.edit(node, lambda _: expression(
                f"{self.aliases['types']}.{TYPES[holder]}.{member}"))  # fmt: skip
        else:
            raise BlockedError(f"{old} has no equivalent in google-genai", _BY_HAND)
        unit.need("types")

    def _keywords(self, call: cst.Call, called: str, unit: Unit) -> None:
        for arg in call.args:
            if arg.keyword is None or arg.star:
                raise BlockedError(
                    f"{called} has positional or unpacked arguments",
                    "use keyword arguments, then run the command again.",
                )
            renamed = _RENAMED.get(arg.keyword.value)
            if renamed:
                unit.edit(arg.keyword, _name(renamed))

    def _schema_key(self, element: cst.DictElement, unit: Unit) -> None:
        renamed = _RENAMED.get(string(element.key) or "")
        if renamed:
            unit.edit(element.key, lambda updated: updated.with_changes(
                value=updated.value.replace(f"{renamed}_", renamed)))  # fmt: skip

    def contents(self, node: Any, unit: Unit) -> None:
        """Changes contents or, inside a list, parts of them.

        Raises:
            BlockedError: As for `types`, or a dictionary cannot be interpreted.
        """
        if isinstance(node, cst.Dict):
            self._content_dict(node, unit)
        elif isinstance(node, cst.List):
            for element in node.elements:
                if isinstance(element, cst.StarredElement):
                    raise BlockedError("a list is unpacked into the contents", "write it out.")
                self.contents(element.value, unit)
        elif isinstance(node, cst.Tuple | cst.Set | cst.GeneratorExp):
            raise BlockedError("google-genai accepts only lists as contents", "use a list.")
        elif isinstance(node, cst.Name | cst.Attribute) and self._is_literal(node):
            self._contents_variable(node, unit)
        elif isinstance(node, cst.Subscript) and self._is_literal(node.value):
            if not self._holds_texts(node.value):
                self._contents_variable(node.value, unit)
        else:
            self.types(node, unit)
            if not is_text(self.source, node):
                self._unknown.append((node, unit))

    def known_later(self, history: Any, unit: Unit) -> None:
        """Records the history of a chat if it is not a literal, for `check_unknown`.

        Args:
            history: The expression.
            unit: The unit it belongs to.
        """
        written = isinstance(history, cst.List) or self.source.text(history) == "None"
        found = variable(self.source, history)
        if not written and not (found and all(isinstance(v, cst.List) for v in found.values)):
            self._histories.append((history, unit))

    def check_unknown(self, is_followed: Callable[[cst.CSTNode], bool]) -> None:
        """Blocks units whose contents may be a dictionary in the old SDK's format.

        Args:
            is_followed: Whether an expression is known to be an object of the old SDK.
        """
        for node, unit in self._histories:
            if not is_followed(node):
                unit.block(self.source.line(node), self.source.label(node), BlockedError(
                    "the history may hold dictionaries in the old SDK's format",
                    'write its parts as {"text": …}, then run the command again.',
                ))  # fmt: skip
        read = self._dicts
        old = next((d for d in self.source.nodes(cst.Dict) if _is_old(d) and d not in read), None)
        if old is None:
            return
        for node, unit in self._unknown:
            may_be = isinstance(node, cst.Name | cst.Subscript | cst.Attribute | cst.Call)
            if may_be and not is_followed(node):
                line = self.source.line(node)
                unit.block(line, self.source.label(node), BlockedError(
                    f"it may hold the dictionary of line {self.source.line(old)}, whose format "
                    "google-genai does not accept",
                    "write that as a types.Part or types.Content, then run the command again.",
                ))  # fmt: skip

    def _is_literal(self, node: Any) -> bool:
        """Whether a variable holds a literal list or dictionary that has to change.

        A list of strings is valid in both SDKs, unless files or dictionaries may be added to it.
        """
        found = variable(self.source, node)
        if found is None or node in found.values:
            return False
        written = [value for value in found.values if isinstance(value, cst.List | cst.Dict)]
        return any(
            self._has_files
            or any(self.source.within(value, cst.Dict))
            or any(map(self.source.old, self.source.within(value, cst.Attribute)))
            or self._is_extended(found)
            or any(self._is_literal(one.value) for one in self.source.within(value, cst.Subscript))
            for value in written
        )

    def _holds_texts(self, node: Any) -> bool:
        """Whether a variable holds a literal dictionary of strings that is never changed."""
        found = variable(self.source, node)
        assert found is not None  # noqa: S101 -- the caller has checked it
        written = [value for value in found.values if isinstance(value, cst.Dict)]
        texts = (is_text(self.source, getattr(one, "value", None))
                 for value in written for one in value.elements)  # fmt: skip
        return (
            not found.problem
            and len(written) == len(found.values)
            and all(texts)
            and not any(map(self._is_put_into, found.reads))
        )

    def _is_put_into(self, read: cst.CSTNode) -> bool:
        holder = self.source.parent(read)
        if isinstance(holder, cst.Attribute):
            return holder.attr.value in ("update", "setdefault")
        return isinstance(holder, cst.Subscript) and is_target(self.source, holder)

    @functools.cached_property
    def _has_files(self) -> bool:
        names = map(self.source.old, self.source.nodes(cst.Attribute, cst.Name))
        return any(name in ("upload_file", "get_file", "list_files") for name in names)

    def _is_extended(self, found: Variable) -> bool:
        """Whether values other than strings may be added to a list of contents."""
        for read in found.reads:
            attribute = self.source.parent(read)
            call = self.source.parent(attribute)
            if isinstance(attribute, cst.Attribute) and isinstance(call, cst.Call):
                inner = [node for arg in call.args for node in self.source.within(arg, cst.Dict)]
                answers = "candidates" in self.source.text(call)
                if attribute.attr.value in ("append", "insert", "extend") and (inner or answers):
                    return True
        return False

    def _contents_variable(self, node: Any, unit: Unit) -> None:
        found = variable(self.source, node)
        assert found is not None  # noqa: S101 -- the caller has checked it
        first = self.allow(found, unit, node)
        if not first:
            return
        for value in found.values:
            if value is None:
                raise BlockedError(f"{found.name} is not assigned by a simple statement", _BY_HAND)
            self.given[value] = unit
            self.contents(value, unit)
        for read in found.reads:
            if self._is_appended(read, unit) or self._is_counted(read):
                self.allow(found, unit, read)

    def _is_appended(self, read: cst.CSTNode, unit: Unit) -> bool:
        """Whether it is ``contents.append(…)``; if so, changes what is appended."""
        attribute = self.source.parent(read)
        call = self.source.parent(attribute)
        if (
            isinstance(attribute, cst.Attribute)
            and attribute.attr.value == "append"
            and isinstance(call, cst.Call)
            and len(call.args) == 1
        ):
            self.given[call.args[0]] = unit
            self.contents(call.args[0].value, unit)
            return True
        return False

    def _is_counted(self, read: cst.CSTNode) -> bool:
        arg = self.source.parent(read)
        call = self.source.parent(arg)
        return isinstance(call, cst.Call) and self.source.text(call.func) in ("len", "print")

    def _content_dict(self, node: cst.Dict, unit: Unit) -> None:
        keys: dict[str | None, Any] = {
            string(e.key): e for e in node.elements if isinstance(e, cst.DictElement)
        }
        if len(keys) != len(node.elements) or None in keys:
            raise BlockedError("a dictionary has keys that are not literals", "write them out.")
        self._dicts.add(node)
        if keys.keys() == {"mime_type", "data"}:
            names = {string(getattr(e, "key", None)): i for i, e in enumerate(node.elements)}
            self.types(keys["data"].value, unit)
            unit.need("types")
            unit.edit(node, lambda updated: self._from_bytes(updated, names))
        elif "parts" in keys and keys.keys() <= {"role", "parts"}:
            parts = keys["parts"].value
            elements = parts.elements if isinstance(parts, cst.List) else [None]
            for element in elements:
                value = parts if element is None else element.value
                if is_text(self.source, value):
                    unit.edit(value, lambda text: expression('{"text": value}', value=text))
                elif isinstance(value, cst.Name | cst.Attribute | cst.Subscript):
                    raise BlockedError(
                        "the parts of a content cannot be followed",
                        'write each as {"text": …} or a types.Part.',
                    )
                else:
                    self.contents(value, unit)
            if not isinstance(parts, cst.List):
                unit.edit(keys["parts"], lambda e: e.with_changes(
                    value=cst.List([cst.Element(e.value)])))  # fmt: skip
        elif keys.keys() == {"text"}:
            return
        else:
            raise BlockedError("a dictionary is not a valid content", _BY_HAND)

    def _from_bytes(self, updated: cst.Dict, names: dict[Any, int]) -> cst.Call:
        data, mime = (updated.elements[names[key]].value for key in ("data", "mime_type"))
        return cst.Call(
            self.type_name("Part.from_bytes"),
            [keyword("data", data), keyword("mime_type", mime)],
        )

    def allow(self, found: Any, unit: Unit, read: cst.CSTNode) -> bool:
        """Records a use of a variable that allows its change; returns whether it is the first."""
        if found.problem:
            raise BlockedError(found.problem, "migrate it together with the code that uses it.")
        known = self.allowed.get(found.key)
        if known is None:
            self.allowed[found.key] = (found, unit, {read})
            return True
        unit.join(known[1])
        known[2].add(read)
        return False

    def check_variables(self) -> None:
        """Blocks units with variables that have other uses than the recorded ones."""
        for found, unit, allowed in self.allowed.values():
            for read in found.reads:
                if read not in allowed:
                    unit.block(
                        self.source.line(read), found.name,
                        BlockedError(f"{found.name} is also used for something else",
                                     "use a separate copy for google-genai."),
                    )  # fmt: skip
                    break


def _is_old(node: cst.Dict) -> bool:
    """Whether a dictionary looks like a content or a part in the old SDK's format."""
    keys = {string(getattr(element, "key", None)) for element in node.elements}
    return keys == {"mime_type", "data"} or ("parts" in keys and keys <= {"role", "parts"})


def is_text(source: Source, node: Any) -> bool:
    """Whether an expression is known to be a string."""
    match node:
        case cst.SimpleString() | cst.FormattedString() | cst.ConcatenatedString():
            return True
        case cst.Call():
            return source.text(node.func) in ("input", "str")
        case cst.Name():
            found = variable(source, node)
            return found is not None and all(
                _annotation(source, target) == "str" if isinstance(target, cst.Param)
                else not isinstance(value, cst.Name) and is_text(source, value)
                for target, value in zip(found.targets, found.values, strict=True)
            )  # fmt: skip
    return False


def is_texts(source: Source, node: cst.CSTNode) -> bool:
    """Whether an expression is a variable that is annotated as a list of strings everywhere."""
    found = variable(source, node)
    texts = [
        re.fullmatch(_TEXTS, _annotation(source, one)) for one in (found.targets if found else ())
    ]
    return bool(texts) and all(texts)


_TEXTS = r"(?:\w+\.)*(?:list|List|Sequence)\[str\]"


def _annotation(source: Source, target: Any) -> str:
    """The annotation of a parameter or a variable; "" if there is none, or it has many values."""
    owner: Any = target if isinstance(target, cst.Param) else target and source.parent(target)
    annotation = getattr(owner, "annotation", None)
    if annotation is None or getattr(owner, "star", "") in ("*", "**"):
        return ""
    return source.text(annotation.annotation).strip("\"'")


def _name(name: str) -> Callable[[Any], cst.Name]:
    """A change that replaces a node with a name."""
    return lambda _: cst.Name(name)
