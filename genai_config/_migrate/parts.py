"""What is inside a response: google-genai has None where the old SDK has an empty message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.follow import Follower, Thing
from genai_config._migrate.source import always, expression
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

# Parents in which an operation needs no parentheses.
_ALONE = (cst.Arg, cst.AugAssign, cst.If, cst.While, cst.Assert, cst.GeneratorExp, cst.ListComp)
_BY_HAND = "migrate it together with the code that uses it."

# The fields of a part that are None in google-genai if they are not set.
_MESSAGES = {
    "function_call": ("function call", frozenset(("name", "args"))),
    "inline_data": ("blob", frozenset(("data", "mime_type"))),
    "executable_code": ("code", frozenset(("code",))),
    "code_execution_result": ("code result", frozenset(("output",))),
}

FINISH_REASONS = (
    "FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "LANGUAGE",
    "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL",
)  # fmt: skip
"""The names by the old SDK's numbers, which google-genai does not have."""

BLOCK_REASONS = ("BLOCK_REASON_UNSPECIFIED", "SAFETY", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT")
"""The same for the reasons why a prompt was blocked."""


class Sequence(Thing):
    """A list that is None in google-genai where it would be empty.

    Args:
        unit: The unit it belongs to.
        kind: What it is, for messages.
        inner: Makes one of its elements.
    """

    def __init__(self, unit: Unit, kind: str, inner: Callable[[], Thing]) -> None:
        super().__init__(unit)
        self.kind = kind
        self._inner = inner

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """One element; there are none if the list is None."""
        if is_async:
            return super().element(node, is_async=is_async)
        self.or_empty(node)
        return self._inner()

    def item(self, mover: Follower, node: cst.Subscript) -> Thing | None:
        """One element, by its index."""
        check_handlers(mover, node, "IndexError")
        if len(node.slice) == 1 and isinstance(node.slice[0].slice, cst.Index):
            return self._inner()
        return super().item(mover, node)

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """It may be given to ``len()``."""
        if mover.source.text(call.func) == "len":
            self.or_empty(node)
            return True
        return super().may_be_given(mover, node, call)

    def or_empty(self, node: Any) -> None:
        """Replaces None with an empty list."""
        self.unit.edit(node, lambda updated: expression("value or []", value=updated))


def candidates(unit: Unit, *, in_stream: bool) -> Sequence:
    """The candidates of a response or a chunk."""
    return Sequence(unit, "list of candidates", lambda: Candidate(unit, in_stream=in_stream))


def parts(unit: Unit) -> Sequence:
    """The parts of a content."""
    return Sequence(unit, "list of parts", lambda: Part(unit))


class Candidate(Thing):
    """A candidate.

    Args:
        unit: The unit it belongs to.
        in_stream: Whether it is part of a chunk: only the last chunk has a finish reason.
    """

    kind = "candidate"

    def __init__(self, unit: Unit, *, in_stream: bool) -> None:
        super().__init__(unit)
        self._in_stream = in_stream

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Attributes with the same name and another type."""
        match node.attr.value:
            case "content":
                return Content(self.unit)
            case "finish_reason":
                return Reason(self.unit, "FinishReason", FINISH_REASONS, may_miss=self._in_stream)
            case "safety_ratings":
                return Sequence(self.unit, "list of safety ratings", lambda: Rating(self.unit))
        return super().attribute(mover, node)


class Content(Thing):
    """A content that the service returned."""

    kind = "content"
    is_content = True

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Its parts and its role."""
        match node.attr.value:
            case "parts":
                return parts(self.unit)
            case "role":
                return None
        return super().attribute(mover, node)


class Part(Thing):
    """A part of a content."""

    kind = "part"
    is_content = True

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Its text, or another field; a field that is not set is None."""
        name = node.attr.value
        if name == "text":
            if not mover.source.is_tested(node) and not is_known(
                mover, node, mover.source.text(node)
            ):
                alone = isinstance(mover.source.parent(node), _ALONE)
                code = 'value or ""' if alone else '(value or "")'
                self.unit.edit(node, lambda updated: expression(code, value=updated))
            return None
        if name in _MESSAGES:
            return Message(self.unit, *_MESSAGES[name])
        return super().attribute(mover, node)


class Rating(Thing):
    """A safety rating of a prompt or a response."""

    kind = "safety rating"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Its category and probability are enums with the same names."""
        if node.attr.value in ("category", "probability"):
            return Reason(self.unit, "", (), may_miss=False)
        return super().attribute(mover, node)


class Message(Thing):
    """A nested message, which is None if it is not set.

    Args:
        unit: The unit it belongs to.
        kind: What it is, for messages.
        attributes: The attributes that it has in both SDKs.
    """

    def __init__(self, unit: Unit, kind: str, attributes: frozenset[str]) -> None:
        super().__init__(unit)
        self.kind = kind
        self._attributes = attributes

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Allowed only after a check that it is set."""
        if node.attr.value not in self._attributes:
            return super().attribute(mover, node)
        check_guarded(mover, node)
        return None


class Feedback(Thing):
    """The feedback on a prompt."""

    kind = "feedback"

    def formatted(self) -> None:
        """Allowed: the text differs, but it is only displayed."""

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """It is None if there is no feedback."""
        name = node.attr.value
        if name == "safety_ratings":
            check_guarded(mover, node)
            return Sequence(self.unit, "list of safety ratings", lambda: Rating(self.unit))
        if name != "block_reason":
            return super().attribute(mover, node)
        if not is_guarded(mover, node):
            if not (mover.source.is_tested(node) and is_pure(node)):
                check_guarded(mover, node)
            alone = isinstance(mover.source.parent(node), _ALONE)
            code = "value and whole" if alone else "(value and whole)"
            self.unit.edit(
                node, lambda updated: expression(code, value=updated.value, whole=updated)
            )
        return Reason(self.unit, "BlockedReason", BLOCK_REASONS, may_miss=True)


class Reason(Thing):
    """A reason: an enum in both SDKs, of numbers in the old one and of strings in google-genai.

    Args:
        unit: The unit it belongs to.
        enum: The name of the enum in google.genai.types; "" if it cannot be compared.
        names: The names by number.
        may_miss: Whether it may be None where the old SDK has 0.
    """

    kind = "reason"

    def __init__(self, unit: Unit, enum: str, names: tuple[str, ...], *, may_miss: bool) -> None:
        super().__init__(unit)
        self._enum = enum
        self._names = names
        self._may_miss = may_miss

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Its name is the same."""
        if node.attr.value != "name":
            return super().attribute(mover, node)
        if self._may_miss:
            check_guarded(mover, node)
        return None

    def compared(self, mover: Follower, node: Any, comparison: cst.Comparison) -> None:
        """Allowed with members of the enum, or with their numbers.

        Raises:
            BlockedError: It is compared with something else.
        """
        (target, *others) = comparison.comparisons
        operands = [comparison.left, target.comparator]
        if others or node not in operands:
            raise BlockedError("the reason is compared in an unsupported way", _BY_HAND)
        (other,) = (one for one in operands if one is not node)
        elements = [other]
        if isinstance(target.operator, cst.In | cst.NotIn) and node is comparison.left and (
            isinstance(other, cst.Tuple | cst.List | cst.Set)
        ):  # fmt: skip
            elements = [element.value for element in other.elements]
        elif not isinstance(target.operator, cst.Equal | cst.NotEqual):
            raise BlockedError("the reason is compared in an unsupported way", _BY_HAND)
        for element in elements:
            member = f"{mover.aliases['types']}.{self._enum}.{self._name(mover, element)}"
            self.unit.need("types")
            self.unit.edit(element, always(expression(member)))

    def _name(self, mover: Follower, node: Any) -> str:
        """The member that an operand stands for; 0 has none, because google-genai has None."""
        name = ""
        if isinstance(node, cst.Integer):
            name = dict(enumerate(self._names)).get(node.evaluated_value, "")
        elif isinstance(node, cst.Attribute) and mover.source.old(node).startswith("protos."):
            name = node.attr.value
        if name not in self._names[1:]:
            raise BlockedError(
                f"the reason is compared with {mover.source.text(node)}: reasons are numbers in "
                "the old SDK and strings in google-genai",
                "compare .name, or use a member of the enum.",
            )
        return name

    def formatted(self) -> None:
        """Allowed: the text differs, but it is only displayed."""


def check_guarded(mover: Follower, node: cst.Attribute) -> None:
    """Checks that a value is known to be set where one of its attributes is read.

    Raises:
        BlockedError: It may be None.
    """
    if not is_guarded(mover, node):
        text = mover.source.text(node.value)
        raise BlockedError(
            f"{text} may be None in google-genai, and .{node.attr.value} is read without a check",
            f"check it with `if {text}:`, then run the command again.",
        )


def check_handlers(mover: Follower, node: cst.CSTNode, error: str) -> None:
    """Checks that no except clause expects an error where google-genai returns None.

    Raises:
        BlockedError: The program handles that error.
    """
    inner: Any = node
    while (handled := mover.source.above(inner, cst.Try)) is not None:
        in_body = any(one is node for one in mover.source.within(handled.body, type(node)))
        for handler in handled.handlers if in_body else ():
            if handler.type is not None and error in mover.source.text(handler.type):
                text = mover.source.text(node)
                raise BlockedError(
                    f"`except {error}` handles a missing {text}, which is None in google-genai",
                    "check for None, then run the command again.",
                )  # fmt: skip
        inner = handled


def is_guarded(mover: Follower, node: cst.Attribute) -> bool:
    """Whether an attribute is read only after a check that its object is set."""
    return is_known(mover, node, mover.source.text(node.value))


def is_known(mover: Follower, node: cst.CSTNode, text: str) -> bool:
    """Whether an expression is evaluated only if another one, given as code, is true."""
    at: Any = node
    while at is not mover.source.module:
        above: Any = mover.source.parent(at)
        match above:
            case cst.If() | cst.IfExp() if above.body is at and _implies(mover, above.test, text):
                return True
            case cst.BooleanOperation(operator=cst.And()) if above.right is at and _implies(
                mover, above.left, text
            ):
                return True
        at = above
    return False


def _implies(mover: Follower, test: Any, text: str) -> bool:
    """Whether a true test implies that an expression is set."""
    match test:
        case cst.BooleanOperation(operator=cst.And()):
            return _implies(mover, test.left, text) or _implies(mover, test.right, text)
        case cst.NamedExpr():
            return _implies(mover, test.target, text) or _implies(mover, test.value, text)
        case cst.Name() | cst.Attribute() | cst.Subscript():
            code = mover.source.text(test)
            return code == text or code.startswith(f"{text}.")
    return False


def is_pure(node: Any) -> bool:
    """Whether an expression may be evaluated twice: names, attributes, and literal items."""
    match node:
        case cst.Name() | cst.Integer() | cst.SimpleString():
            return True
        case cst.Attribute():
            return is_pure(node.value)
        case cst.Subscript():
            return is_pure(node.value) and all(
                isinstance(one.slice, cst.Index) and is_pure(one.slice.value) for one in node.slice
            )
    return False
