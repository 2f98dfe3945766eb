"""Migrates chats of the old SDK to chats of google-genai."""

from __future__ import annotations

from typing import Any

import libcst as cst

from genai_config._migrate.answers import Answer, AsyncStream, Awaitable, History, Stream
from genai_config._migrate.calls import arguments, contents, is_true, merged
from genai_config._migrate.follow import Follower, Thing
from genai_config._migrate.settings import NAMES, joined
from genai_config._migrate.source import expression, keyword
from genai_config._migrate.unit import BlockedError, Unit

_BY_HAND = "migrate it together with the code that uses it."


class Chat(Thing):
    """A ChatSession.

    Attributes:
        model: The Model that it belongs to.
        uses: Whether its messages are awaited; a chat with both kinds cannot be migrated.
        same: The chats that the same variable holds; the first one decides for all.
    """

    kind = "chat"

    def __init__(self, model: Any, unit: Unit) -> None:
        super().__init__(unit)
        self.model = model
        self.uses: set[bool] = set()
        self.same: list[Chat] = [self]
        self._named: list[cst.CSTNode] = []  # statements whose response has a variable

    @property
    def is_async(self) -> bool:
        """Whether its messages are awaited."""
        return True in self.same[0].uses

    def merge(self, other: Any) -> None:
        """All chats that one variable holds are used in the same way."""
        other.same = self.same
        if other.model is not self.model and other.model.name != self.model.name:
            raise BlockedError(
                "a variable holds chats of several models", "use a variable for each model."
            )

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """The history becomes a method call; the last response becomes a variable."""
        if node.attr.value == "last":
            return self._last(mover, node)
        if node.attr.value != "history":
            return super().attribute(mover, node)
        self.unit.edit(node, lambda updated: expression(
            "chat.get_history()", chat=updated.value))  # fmt: skip
        return History(self.unit)

    def _last(self, mover: Follower, node: cst.Attribute) -> Thing:
        """The response to the message that was sent just before, in the same block.

        Raises:
            BlockedError: There is none.
        """
        source, chat = mover.source, mover.source.text(node.value)
        name = f"{chat}_last"
        sends = (f"{chat}.send_message", f"{chat}.send_message_async")
        for statement in source.before(node):
            uses = [
                use for use in source.within(statement, type(node.value))
                if source.text(use) == chat and not _is_read(source.parent(use))
            ]  # fmt: skip
            if not uses:
                continue
            call = source.above(uses[0], cst.Call)
            if call is None or len(uses) > 1 or not source.is_alone(statement, call):
                break
            streams = any(arg.keyword and arg.keyword.value == "stream" for arg in call.args)
            if source.text(call.func) not in sends or streams:
                break
            if source.uses_name(name.rpartition(".")[2]):
                raise BlockedError(
                    f"the name {name} is already used", "rename it, then run the command again."
                )
            if statement not in self._named:
                self._named.append(statement)
                self.unit.edit(statement.body[0], lambda updated: cst.Assign(
                    [cst.AssignTarget(expression(name))], updated.value))  # fmt: skip
            self.unit.edit(node, lambda _: expression(name))
            return Answer(self.unit)
        raise BlockedError(
            ".last of a chat has no equivalent in google-genai",
            "store the result of send_message().",
        )

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """Messages are sent by methods with similar names."""
        name = method.attr.value
        if name not in ("send_message", "send_message_async"):
            return super().call(mover, node, method)
        unit, tools = self.unit, self.model.tools
        unit.site(mover.source.line(node), name)
        mover.sent.append((node, unit))
        at = arguments(node, "content", known=(*NAMES[:4], "request_options", "stream"))
        if "content" not in at:
            raise BlockedError("the argument content is missing", _BY_HAND)
        self.uses.add(name.endswith("_async"))
        if len(self.uses) > 1:
            raise BlockedError(
                "a google-genai chat is either synchronous or asynchronous", "use two chats."
            )
        if "safety_settings" in at and "safety_settings" in self.model.given:
            raise BlockedError(
                "the old SDK merges safety_settings with those of the model", _BY_HAND
            )
        if self.model.inline and at.keys() & set(NAMES):
            raise BlockedError(
                "the model is not assigned to a variable",
                "assign it to one, then run the command again.",
            )
        streams = is_true(node, at)
        recipes = tools.recipes(node, at, unit)
        contents(tools, node, at["content"], unit)

        def change(updated: Any) -> Any:
            own = tools.config_call(updated, recipes)
            base = None if own is None else self.model.config_of(updated.func)
            value = updated.args[at["content"]]
            value = value.with_changes(keyword=value.keyword and cst.Name("message"))
            config = merged(own, base)
            args = [value] if config is None else [value, keyword("config", config)]
            func = expression(
                f"chat.send_message{'_stream' if streams else ''}", chat=updated.func.value
            )
            return joined(updated, args).with_changes(func=func)

        unit.edit(node, change)
        if name.endswith("_async"):
            return Awaitable(unit, lambda: AsyncStream(unit) if streams else Answer(unit))
        return Stream(unit) if streams else Answer(unit)


def _is_read(node: cst.CSTNode) -> bool:
    """Whether an attribute of a chat is read without sending a message."""
    return isinstance(node, cst.Attribute) and node.attr.value in ("last", "history")
