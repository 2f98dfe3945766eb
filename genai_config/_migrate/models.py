"""Migrates models of the old SDK to a name, a config, and calls of a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.answers import (
    Answer,
    AsyncStream,
    Awaitable,
    Cache,
    Stream,
    Tokens,
)
from genai_config._migrate.calls import Tools, arguments, contents, is_true, merged
from genai_config._migrate.chats import Chat
from genai_config._migrate.follow import Follower, Thing
from genai_config._migrate.settings import NAMES, joined
from genai_config._migrate.source import expression, keyword
from genai_config._migrate.tuned import may_be_tuned, over_grpc_alone
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._models import SDK_DEFAULT

if TYPE_CHECKING:
    from genai_config._migrate.settings import Recipe
    from genai_config._migrate.variables import Variable

_BY_HAND = "migrate it together with the code that uses it."
_MODEL_ORDER = ("model_name", "safety_settings", "generation_config", "tools", "tool_config",
                "system_instruction")  # fmt: skip


class Model(Thing):
    """A GenerativeModel.

    Attributes:
        main: The first model that the same variable holds; itself if it is the only one.
        name: The variable that will hold its name.
        has_config: Whether a variable will hold its config.
        given: The settings that it is created with.
        inline: Whether it is used where it is created, without a variable.
        is_tuned: Whether it is, or may be, a tuned model.
    """

    kind = "model"

    def __init__(self, tools: Tools, unit: Unit, call: cst.Call, *, cached: bool) -> None:
        super().__init__(unit)
        self.tools = tools
        self.is_cached = cached
        self.name = ""
        self.has_config = False
        self.made_by = call
        self.plain_chats = self.afc_chats = self.other_calls = 0
        self.given: set[str] = set()
        self.inline = False
        self.is_tuned = False
        self.main: Model = self

    @property
    def config(self) -> str:
        """The variable that holds its config."""
        return f"{self.name}_config"

    def merge(self, other: Any) -> None:
        """A variable that may hold several models has a config if one of them has."""
        other.main = self
        self.given |= other.given
        self.is_tuned = self.is_tuned or other.is_tuned

    def assigned(self, mover: Follower, found: Variable) -> None:
        """The variable becomes the name of the model, with a config beside it."""
        self.name = found.name
        last = self.config.rpartition(".")[2]
        if mover.source.uses_name(last):
            raise BlockedError(
                f"the name {last} is already used", "rename it, then run the command again."
            )

    def construct(self, mover: Follower) -> None:
        """Replaces the constructor with a name, and a config beside it.

        Raises:
            BlockedError: A setting cannot be migrated.
        """
        call, unit, tools, main = self.made_by, self.unit, self.tools, self.main
        at = self.arguments()
        if main.afc_chats and (main.plain_chats or main.other_calls) and "tools" in main.given:
            raise BlockedError("only some uses of the model call functions automatically", _BY_HAND)
        recipes = tools.recipes(call, at, unit, afc=bool(main.afc_chats))
        cache = self._cache(mover, at)
        if recipes or cache:
            unit.need("types")
            main.has_config = True

        def parts(updated: cst.Call) -> tuple[Any, Any]:
            config = tools.config_call(updated, recipes, nested=main.inline)
            if cache:
                value = updated.args[at["cached_content"]].value
                content = keyword("cached_content", expression("cache.name", cache=value))
                config = config or cst.Call(tools.values.type_name("GenerateContentConfig"), [])
                config = joined(config, [content, *config.args])
                return expression("cache.model", cache=value), config
            if "model_name" in at:
                return updated.args[at["model_name"]].value, config
            return cst.SimpleString(f'"{SDK_DEFAULT}"'), config

        if main.inline:
            unit.edit(call, lambda updated: updated.with_changes(
                args=[cst.Arg(part) for part in parts(updated) if part is not None]))  # fmt: skip
            return
        made: list[Any] = []

        def change(updated: cst.Call) -> Any:
            name, config = parts(updated)
            made[:] = [config or cst.Call(tools.values.type_name("GenerateContentConfig"))]
            return name

        unit.edit(call, change)
        self._add_config(mover, made)

    def _add_config(self, mover: Follower, made: list[Any]) -> None:
        """Adds the assignment of the config after the statement that creates the model."""
        main = self.main
        line = mover.source.above(self.made_by, cst.SimpleStatementLine)
        if line is None:
            raise BlockedError("the model is created in the head of a statement", _BY_HAND)
        function = mover.source.above(line, cst.FunctionDef)
        is_global = function is not None and any(
            name.name.value == main.name
            for names in mover.source.within(function, cst.Global)
            for name in names.names
        )
        if is_global and main.has_config:
            raise BlockedError("a global model with settings is created in a function", _BY_HAND)

        def change(updated: Any) -> Any:
            if not main.has_config:
                return updated
            target = cst.AssignTarget(expression(main.config))
            statement = cst.SimpleStatementLine([cst.Assign([target], made[0])])
            return cst.FlattenSentinel([updated, statement])

        self.unit.edit(line, change)

    def read_arguments(self, mover: Follower) -> None:
        """Reads what it is created with.

        Raises:
            BlockedError: An argument is unknown.
        """
        at = self.arguments()
        self.given = set(at)
        if "model_name" in at:
            self.is_tuned = may_be_tuned(mover.source, self.made_by.args[at["model_name"]].value)

    def arguments(self) -> dict[str, int]:
        """The positions of the constructor's arguments, by name."""
        if self.is_cached:
            return arguments(self.made_by, "cached_content", known=NAMES[:2])
        return arguments(self.made_by, *_MODEL_ORDER)

    def _cache(self, mover: Follower, at: dict[str, int]) -> bool:
        if not self.is_cached:
            return False
        if not isinstance(mover.thing(self.made_by.args[at["cached_content"]].value), Cache):
            raise BlockedError("the cache of the model cannot be followed", _BY_HAND)
        return True

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """Its methods become methods of the client."""
        name = method.attr.value
        known = {
            "generate_content": self._generate,
            "generate_content_async": self._generate,
            "count_tokens": self._count,
            "count_tokens_async": self._count,
            "start_chat": self._chat,
        }.get(name)
        if known is None:
            return super().call(mover, node, method)
        self.unit.site(mover.source.line(node), name)
        self.unit.need("google_genai")
        mover.sent.append((node, self.unit))
        return known(node, name)

    def _generate(self, node: cst.Call, name: str) -> Thing:
        unit, tools = self.unit, self.tools
        at = arguments(node, "contents", known=(*NAMES[:4], "request_options", "stream"))
        if "contents" not in at:
            raise BlockedError("the argument contents is missing", _BY_HAND)
        self.other_calls += 1
        streams = is_true(node, at)
        if "safety_settings" in at and "safety_settings" in self.given:
            raise BlockedError(
                "the old SDK merges the safety_settings of a call with those of the model",
                "put all of them in the config of the call.",
            )
        recipes = tools.recipes(node, at, unit)
        contents(tools, node, at["contents"], unit)
        is_async = name.endswith("_async")
        base = f"{tools.client}{'.aio' if is_async else ''}"
        method = "generate_content_stream" if streams else "generate_content"
        self.rewrite(node, f"{base}.models.{method}", recipes, "contents", at["contents"])
        if is_async:
            return Awaitable(unit, lambda: AsyncStream(unit) if streams else Answer(unit))
        return Stream(unit) if streams else Answer(unit)

    def _count(self, node: cst.Call, name: str) -> Thing:
        unit, tools = self.unit, self.tools
        at = arguments(node, "contents")
        if "contents" not in at:
            raise BlockedError("the argument contents is missing", _BY_HAND)
        if self.is_tuned:
            raise over_grpc_alone(name)
        if self.given & {"system_instruction", "tools", "cached_content"}:
            raise BlockedError(
                "count_tokens includes the model's system instruction, tools and cache, and "
                "google-genai cannot send these to the Gemini API",
                "read usage_metadata of a response, or count the texts separately.",
            )
        contents(tools, node, at["contents"], unit)
        is_async = name.endswith("_async")
        base = f"{tools.client}{'.aio' if is_async else ''}"
        self.rewrite(node, f"{base}.models.count_tokens", None, "contents", at["contents"])
        return Awaitable(unit, lambda: Tokens(unit)) if is_async else Tokens(unit)

    def _chat(self, node: cst.Call, _name: str) -> Thing:
        tools = self.tools
        at = arguments(node, known=("history", "enable_automatic_function_calling"))
        afc = is_true(node, at, "enable_automatic_function_calling")
        if afc:
            self.afc_chats += 1
        else:
            self.plain_chats += 1
        if "history" in at:
            tools.values.known_later(node.args[at["history"]].value, self.unit)
            contents(tools, node, at["history"], self.unit)
        chat = Chat(self, self.unit)

        def change(updated: cst.Call) -> Any:
            base = f"{tools.client}{'.aio' if chat.is_async else ''}"
            keep = [at["history"]] if "history" in at else []
            return self.made(updated, f"{base}.chats.create", keep)

        self.unit.edit(node, change)
        return chat

    def made(self, updated: cst.Call, func: str, keep: list[int]) -> Any:
        """A call with the model's name and config, followed by some of its own arguments."""
        args = [keyword("model", self.name_of(updated.func))]
        config = self.config_of(updated.func)
        if config is not None:
            args.append(keyword("config", config))
        args += [updated.args[index] for index in keep]
        return joined(updated, args).with_changes(func=expression(func))

    def name_of(self, func: Any) -> Any:
        """The expression of the model's name."""
        if not self.inline:
            return expression(self.name)
        return func.value.args[0].value

    def config_of(self, func: Any) -> Any:
        """The expression of the model's config; None if there is none."""
        if not self.inline:
            return expression(self.config) if self.has_config else None
        configs = func.value.args[1:]
        return configs[0].value if configs else None

    def rewrite(
        self, node: cst.Call, func: str, recipes: dict[int, Recipe] | None, name: str, at: int
    ) -> None:
        """Turns a call into a call of the client with the model, one argument, and the config."""
        tools = self.tools

        def change(updated: cst.Call) -> Any:
            value = updated.args[at].with_changes(
                keyword=cst.Name(name), equal=keyword(name, cst.Name(name)).equal
            )
            own = None if recipes is None else tools.config_call(updated, recipes)
            base = None if recipes is None else self.config_of(updated.func)
            args = [keyword("model", self.name_of(updated.func)), value]
            config = merged(own, base)
            if config is not None:
                args.append(keyword("config", config))
            return joined(updated, args).with_changes(func=expression(func))

        self.unit.edit(node, change)
