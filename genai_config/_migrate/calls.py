"""How a call of the old SDK is read, and written as one of google-genai's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.settings import NAMES, Settings, joined
from genai_config._migrate.source import expression, keyword
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from genai_config._migrate.settings import Recipe
    from genai_config._migrate.values import Values

_BY_HAND = "move it by hand, with what uses it."


def arguments(call: cst.Call, *positional: str, known: tuple[str, ...] = ()) -> dict[str, int]:
    """Which argument of a call is where.

    Raises:
        BlockedError: One is unknown, or hidden in a dictionary.
    """
    found: dict[str, int] = {}
    for index, arg in enumerate(call.args):
        if arg.star:
            raise BlockedError("arguments in a list or dictionary", "write them out.")
        name = arg.keyword.value if arg.keyword else (positional[index : index + 1] or ("",))[0]
        if name not in (*positional, *known):
            raise BlockedError(f"the argument {name or index + 1} is unknown", _BY_HAND)
        found[name] = index
    return found


class Tools:
    """What all moves share: the values, the settings, and what the imports are called.

    Args:
        values: Changes what is inside of arguments.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        self.settings = Settings(values)
        self.client = f"{values.aliases['google_genai']}.shared_client()"

    def recipes(
        self, call: cst.Call, at: dict[str, int], unit: Unit, *, afc: bool = False
    ) -> dict[int, Recipe]:
        """How the settings among a call's arguments become arguments of a config."""
        if at.keys() & set(NAMES):
            unit.need("types")
        return {
            at[name]: self.settings.recipe(name, call.args[at[name]].value, unit, afc=afc)
            for name in NAMES
            if name in at
        }

    def config_call(
        self, call: cst.Call, recipes: dict[int, Recipe], *, nested: bool = True
    ) -> Any:
        """``types.GenerateContentConfig(…)``; None: there is nothing to say in it.

        Args:
            call: The call whose arguments go into it.
            recipes: How.
            nested: Whether it stays inside of that call, and so is laid out as its argument was.
        """
        args = [
            arg
            for index, recipe in sorted(recipes.items())
            for arg in recipe(call.args[index].value)
        ]
        if not args:
            return None
        like = call.with_changes(args=[call.args[index] for index in sorted(recipes)])
        (first, *others) = recipes
        value = call.args[first].value
        own = not others and (
            nested or isinstance(call.whitespace_before_args, cst.SimpleWhitespace)
        )
        if own and isinstance(value, cst.Call) and list(value.args) == args:
            like = value
        elif own and isinstance(value, cst.Dict) and len(args) == len(value.elements):
            like = cst.Call(
                value, [cst.Arg(value, comma=value.elements[-1].comma)],
                whitespace_before_args=value.lbrace.whitespace_after,
            )  # fmt: skip
            if isinstance(value.rbrace.whitespace_before, cst.ParenthesizedWhitespace):
                like = like.with_changes(args=[like.args[0].with_changes(
                    whitespace_after_arg=value.rbrace.whitespace_before)])  # fmt: skip
        func = self.values.type_name("GenerateContentConfig")
        return joined(like, args).with_changes(func=func)


def merged(own: Any, base: Any) -> Any:
    """The config of a call over that of its model; None: there is neither."""
    if own is None or base is None:
        return own or base
    if any(arg.star for arg in own.args):
        return expression(
            "base.model_copy(update=dict(own))", base=base, own=own.with_changes(func=own.func)
        ).with_changes(args=[keyword("update", own.with_changes(func=cst.Name("dict")))])
    update = own.with_changes(func=cst.Name("dict"))
    return expression("base.model_copy(update=own)", base=base, own=update)


def is_true(call: cst.Call, at: dict[str, int], name: str = "stream") -> bool:
    """Whether an argument is written out as True.

    Raises:
        BlockedError: It is neither True nor False.
    """
    if name not in at:
        return False
    value = call.args[at[name]].value
    if isinstance(value, cst.Name) and value.value in ("True", "False"):
        return value.value == "True"
    raise BlockedError(f"{name}= is decided when the program runs", "write both calls.")


def contents(tools: Tools, call: cst.Call, index: int, unit: Unit) -> None:
    """Changes the contents that are given to a call, and notes where they are given."""
    tools.values.given[call.args[index]] = unit
    tools.values.contents(call.args[index].value, unit)
