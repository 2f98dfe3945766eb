"""Migrates the settings of a model or call to arguments of GenerateContentConfig."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import always, expression, keyword, string
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._migrate.variables import variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._migrate.values import Values

    Recipe = Callable[[Any], list[cst.Arg]]

_FIELDS = frozenset(
    ("candidate_count", "stop_sequences", "max_output_tokens", "temperature", "top_p", "top_k",
     "response_mime_type", "response_schema", "presence_penalty", "frequency_penalty", "seed",
     "response_logprobs", "logprobs")
)  # fmt: skip

_CATEGORIES = {
    "harassment": "HARASSMENT",
    "hate_speech": "HATE_SPEECH", "hate": "HATE_SPEECH",
    "sexual": "SEXUALLY_EXPLICIT", "sex": "SEXUALLY_EXPLICIT",
    "sexually_explicit": "SEXUALLY_EXPLICIT",
    "dangerous": "DANGEROUS_CONTENT", "danger": "DANGEROUS_CONTENT",
    "dangerous_content": "DANGEROUS_CONTENT",
}  # fmt: skip
_THRESHOLDS = {
    "low": "BLOCK_LOW_AND_ABOVE", "block_low_and_above": "BLOCK_LOW_AND_ABOVE",
    "medium": "BLOCK_MEDIUM_AND_ABOVE", "med": "BLOCK_MEDIUM_AND_ABOVE",
    "block_medium_and_above": "BLOCK_MEDIUM_AND_ABOVE",
    "high": "BLOCK_ONLY_HIGH", "block_only_high": "BLOCK_ONLY_HIGH",
    "block_none": "BLOCK_NONE",
}  # fmt: skip

NAMES = ("generation_config", "safety_settings", "tools", "tool_config", "system_instruction",
         "request_options")  # fmt: skip

_MS = 1000


class Settings:
    """Turns arguments of the old SDK into recipes: functions from the changed value to arguments.

    Args:
        values: Changes the values inside them.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._source = values.source

    def recipe(self, name: str, value: Any, unit: Unit, *, afc: bool) -> Recipe:
        """How one argument becomes arguments of the config.

        Args:
            name: The argument, one of `NAMES`.
            value: Its value.
            unit: The unit it belongs to.
            afc: Whether functions among the tools are called automatically.

        Raises:
            BlockedError: Its meaning cannot be determined.
        """
        if isinstance(value, cst.Name) and value.value == "None":
            return lambda _: []
        found: Recipe = getattr(self, f"_{name}")(value, unit, afc)
        return found

    def _system_instruction(self, value: Any, unit: Unit, _afc: bool) -> Recipe:  # noqa: FBT001
        self._values.contents(value, unit)
        return lambda updated: [keyword("system_instruction", updated)]

    def _generation_config(self, value: Any, unit: Unit, _afc: bool) -> Recipe:  # noqa: FBT001
        if isinstance(value, cst.Dict):
            self._check_fields(value, unit)
            return lambda updated: [
                _like(keyword(string(e.key) or "", e.value), e) for e in updated.elements
            ]
        if self._is_config(value):
            self._check_call(value, unit)
            unit.cover(value.func)
            return lambda updated: list(updated.args)
        found = variable(self._source, value)
        if found is None or not all(
            isinstance(one, cst.Dict) or self._is_config(one) for one in found.values
        ):
            raise BlockedError(
                f"the value of generation_config={self._source.text(value)} cannot be determined",
                "pass config=types.GenerateContentConfig(…).",
            )
        if self._values.allow(found, unit, value):
            for one in found.values:
                if isinstance(one, cst.Dict):
                    self._check_fields(one, unit)
                else:
                    self._check_call(one, unit)
                    assert isinstance(one, cst.Call)  # noqa: S101 -- so it was checked
                    unit.edit(one.func, lambda _: cst.Name("dict"))
        return lambda updated: [cst.Arg(updated, star="**")]

    def _is_config(self, node: Any) -> bool:
        return isinstance(node, cst.Call) and self._source.old(node.func) == "GenerationConfig"

    def _check_call(self, call: Any, unit: Unit) -> None:
        for arg in call.args:
            if arg.keyword is None or arg.star or arg.keyword.value not in _FIELDS:
                raise BlockedError(
                    "GenerationConfig has positional or unknown arguments",
                    "use known keyword arguments, then run the command again.",
                )
            self._field(arg.value, unit)

    def _check_fields(self, node: cst.Dict, unit: Unit) -> None:
        for element in node.elements:
            if not isinstance(element, cst.DictElement) or string(element.key) not in _FIELDS:
                raise BlockedError(
                    f"generation_config has an unknown field: {self._source.text(element).strip()}",
                    "use the fields of types.GenerateContentConfig, as string literals.",
                )
            self._field(element.value, unit)

    def _field(self, value: cst.BaseExpression, unit: Unit) -> None:
        self._values.types(value, unit)

    def _safety_settings(self, value: Any, unit: Unit, _afc: bool) -> Recipe:  # noqa: FBT001
        literals = [value]
        if isinstance(value, cst.SimpleString) or self._source.old(value).rpartition(".")[0] in (
            "types.HarmBlockThreshold", "protos.SafetySetting.HarmBlockThreshold"
        ):  # fmt: skip
            return self._one_threshold(value, unit)
        if not isinstance(value, cst.Dict | cst.List):
            found = variable(self._source, value)
            if found is None or not all(isinstance(o, cst.Dict | cst.List) for o in found.values):
                raise BlockedError(
                    f"the value of safety_settings={self._source.text(value)} cannot be determined",
                    "pass a list of types.SafetySetting.",
                )
            literals = found.values if self._values.allow(found, unit, value) else []
        for literal in literals:
            self._safety_literal(literal, unit)
        return lambda updated: [keyword("safety_settings", updated)]

    def _one_threshold(self, value: Any, unit: Unit) -> Recipe:
        """One threshold for all categories that the old SDK knows."""
        threshold = self._member(value, unit, "HarmBlockThreshold")
        categories = dict.fromkeys(_CATEGORIES.values())
        settings = [
            cst.Element(cst.Call(self._values.type_name("SafetySetting"), [
                keyword("category", self._values.type_name(f"HarmCategory.HARM_CATEGORY_{name}")),
                keyword("threshold", threshold),
            ]))
            for name in categories
        ]  # fmt: skip
        return lambda _: [keyword("safety_settings", cst.List(settings))]

    def _safety_literal(self, literal: Any, unit: Unit) -> None:
        unit.need("types")
        if isinstance(literal, cst.Dict):
            pairs = []
            for element in literal.elements:
                if not isinstance(element, cst.DictElement):
                    raise BlockedError(
                        "safety_settings are unpacked with **", "write each setting out."
                    )
                pairs.append((self._member(element.key, unit, "HarmCategory"),
                              self._member(element.value, unit, "HarmBlockThreshold")))  # fmt: skip
            unit.edit(literal, lambda updated: self._as_list(updated, pairs))
            return
        for element in literal.elements:
            if not isinstance(element.value, cst.Dict):
                self._values.types(element.value, unit)
                continue
            for entry in element.value.elements:
                key = string(getattr(entry, "key", None))
                kind = {"category": "HarmCategory", "threshold": "HarmBlockThreshold"}.get(
                    key or ""
                )
                if kind is None:
                    raise BlockedError(
                        "a safety setting has a key other than category and threshold",
                        "use types.SafetySetting(category=…, threshold=…).",
                    )
                member = self._member(entry.value, unit, kind)
                unit.edit(entry.value, always(member))

    def _member(self, node: Any, unit: Unit, kind: str) -> cst.BaseExpression:
        """A category or threshold, as a member of google-genai's enum."""
        old = self._source.old(node) if isinstance(node, cst.Name | cst.Attribute) else ""
        name = old.rpartition(".")[2]
        text = string(node)
        if text is not None:
            short = text.lower().removeprefix("harm_category_")
            name = _THRESHOLDS.get(short, "") if kind == "HarmBlockThreshold" else (
                f"HARM_CATEGORY_{_CATEGORIES[short]}" if short in _CATEGORIES else ""
            )  # fmt: skip
        if not name or name == "HARM_CATEGORY_UNSPECIFIED":
            raise BlockedError(
                f"{self._source.text(node)} is not a {kind} of google-genai",
                f"use a member of types.{kind}.",
            )
        unit.need("types")
        unit.cover(node)
        member: cst.BaseExpression = self._values.type_name(f"{kind}.{name}")
        return member

    def _as_list(self, updated: cst.Dict, pairs: list[Any]) -> cst.List:
        elements = [
            cst.Element(
                cst.Call(self._values.type_name("SafetySetting"),
                         [keyword("category", category), keyword("threshold", threshold)]),
                comma=element.comma,
            )
            for element, (category, threshold) in zip(updated.elements, pairs, strict=True)
        ]  # fmt: skip
        return cst.List(
            elements,
            lbracket=cst.LeftSquareBracket(whitespace_after=updated.lbrace.whitespace_after),
            rbracket=cst.RightSquareBracket(whitespace_before=updated.rbrace.whitespace_before),
        )

    def _tools(self, value: Any, unit: Unit, afc: bool) -> Recipe:  # noqa: FBT001
        literals = [value]
        if not isinstance(value, cst.List | cst.SimpleString):
            found = variable(self._source, value)
            if found is None or not all(isinstance(one, cst.List) for one in found.values):
                raise BlockedError(
                    f"the value of tools={self._source.text(value)} cannot be determined",
                    "pass a list of functions or types.Tool objects.",
                )
            literals = list(found.values)
            if not self._values.allow(found, unit, value):
                literals = []
        functions = [self._tool_list(literal, unit) for literal in literals]
        whole = isinstance(value, cst.SimpleString)

        def recipe(updated: Any) -> list[cst.Arg]:
            tools = cst.List([cst.Element(updated)]) if whole else updated
            args = [keyword("tools", tools)]
            if not afc and (any(functions) or not functions):
                # google-genai calls functions automatically unless this is disabled.
                disabled = expression(
                    f"{self._values.aliases['types']}.AutomaticFunctionCallingConfig(disable=True)"
                )
                args.append(keyword("automatic_function_calling", disabled))
            return args

        unit.need("types")
        return recipe

    def _tool_list(self, literal: Any, unit: Unit) -> bool:
        """Changes the tools of a list; returns whether it may hold Python functions."""
        items = [literal] if not isinstance(literal, cst.List) else [
            element.value for element in literal.elements
        ]  # fmt: skip
        functions = False
        for item in items:
            text = string(item)
            if text is not None:
                new = {
                    "code_execution": "Tool(code_execution={0}.ToolCodeExecution())",
                    "google_search_retrieval":
                        "Tool(google_search_retrieval={0}.GoogleSearchRetrieval())",
                }.get(text)  # fmt: skip
                if new is None:
                    raise BlockedError(f"the tool {text!r} is unknown", "pass a types.Tool.")
                alias = self._values.aliases["types"]
                code = f"{alias}.{new.format(alias)}"
                if text == "code_execution":
                    unit.note(
                        self._source.line(item), text,
                        ".text omits the code that the service ran, and its output",
                        "read executable_code and code_execution_result in .parts.",
                    )  # fmt: skip
                unit.edit(item, always(expression(code)))
            elif isinstance(item, cst.Call) and self._source.old(item.func).endswith(".Tool"):
                self._values.types(item, unit)
            elif isinstance(item, cst.Name) and self._is_function(item):
                functions = True
            else:
                raise BlockedError(
                    f"the tool {self._source.text(item)} cannot be followed",
                    "pass functions, or a types.Tool with declarations.",
                )
        return functions

    def _is_function(self, node: cst.Name) -> bool:
        """Whether a name is a function that this module defines."""
        scope = self._source.scope(node)
        found = [getattr(one, "node", None) for one in scope[node.value]] if scope else []
        return bool(found) and all(isinstance(one, cst.FunctionDef) for one in found)

    def _tool_config(self, value: Any, unit: Unit, _afc: bool) -> Recipe:  # noqa: FBT001
        if isinstance(value, cst.Dict):
            modes = [
                e.value for e in self._source.within(value, cst.DictElement)
                if string(e.key) == "mode"
            ]  # fmt: skip
            for mode in modes:
                text = string(mode)
                if text is None:
                    raise BlockedError(
                        "the mode is not a literal", 'write a literal, such as "ANY".'
                    )
                unit.edit(mode, always(cst.SimpleString(f'"{text.upper()}"')))
        elif not isinstance(value, cst.Call):
            raise BlockedError(
                f"the value of tool_config={self._source.text(value)} cannot be determined",
                "pass types.ToolConfig(…).",
            )
        self._values.types(value, unit)
        return lambda updated: [keyword("tool_config", updated)]

    def _request_options(self, value: Any, unit: Unit, _afc: bool) -> Recipe:  # noqa: FBT001
        pairs: list[tuple[str | None, Any]] = []
        if isinstance(value, cst.Dict):
            pairs = [(string(getattr(e, "key", None)), e.value) for e in value.elements]
        elif isinstance(value, cst.Call) and (
            self._source.old(value.func) == "types.RequestOptions"
        ):
            pairs = [(arg.keyword.value if arg.keyword else None, arg.value) for arg in value.args]
        if [name for name, _ in pairs] != ["timeout"]:
            raise BlockedError(
                "request_options hold more than a timeout, or cannot be determined",
                "use types.HttpOptions(timeout=…, retry_options=…); timeout is in milliseconds.",
            )
        seconds = pairs[0][1]
        if isinstance(seconds, cst.Integer):
            timeout: Any = cst.Integer(str(seconds.evaluated_value * _MS))
        elif isinstance(seconds, cst.Float):
            timeout = cst.Integer(str(int(seconds.evaluated_value * _MS)))
        else:
            timeout = expression("int((seconds) * 1000)", seconds=seconds)
        options = cst.Call(self._values.type_name("HttpOptions"), [keyword("timeout", timeout)])
        unit.need("types")
        return lambda _: [keyword("http_options", options)]


def _like(arg: cst.Arg, element: Any) -> cst.Arg:
    """An argument with the comma and whitespace of an element."""
    return arg.with_changes(comma=element.comma)


def joined(call: cst.Call, args: list[cst.Arg]) -> cst.Call:
    """A call with new arguments, in the layout of the old ones."""
    before = call.whitespace_before_args
    spread = isinstance(before, cst.ParenthesizedWhitespace)
    last = call.args[-1].comma if call.args else cst.MaybeSentinel.DEFAULT
    between = cst.Comma(whitespace_after=before if spread else cst.SimpleWhitespace(" "))
    # The whitespace before the closing parenthesis belongs to the last argument.
    after = call.args[-1].whitespace_after_arg if call.args else cst.SimpleWhitespace("")
    done = []
    for number, arg in enumerate(args, 1):
        comment = isinstance(arg.comma, cst.Comma) and _comment(arg.comma)
        if number == len(args):
            done.append(arg.with_changes(comma=last, whitespace_after_arg=after))
        elif isinstance(arg.comma, cst.Comma) and _breaks(arg.comma.whitespace_after) == spread:
            done.append(arg.with_changes(comma=_aligned(arg.comma, before)))
        elif comment:
            done.append(arg)
        else:
            done.append(arg.with_changes(
                comma=between, whitespace_after_arg=cst.SimpleWhitespace("")))  # fmt: skip
    return call.with_changes(args=done)


def _aligned(comma: cst.Comma, like: Any) -> cst.Comma:
    """A comma with its comment, and the indentation of the other lines after it."""
    after = comma.whitespace_after
    if not isinstance(after, cst.ParenthesizedWhitespace):
        return comma
    aligned = after.with_changes(indent=like.indent, last_line=like.last_line)
    return comma.with_changes(whitespace_after=aligned)


def _comment(comma: cst.Comma) -> bool:
    """Whether a comment follows a comma."""
    after = comma.whitespace_after
    return isinstance(after, cst.ParenthesizedWhitespace) and after.first_line.comment is not None


def _breaks(whitespace: Any) -> bool:
    return isinstance(whitespace, cst.ParenthesizedWhitespace)
