"""Reads the arguments of an old SDK call and writes those of the google-genai call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.settings import NAMES, Settings, joined
from genai_config._migrate.source import expression, keyword
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from genai_config._migrate.settings import Recipe
    from genai_config._migrate.values import Values

_BY_HAND = "migrate it together with the code that uses it."


def arguments(call: cst.Call, *positional: str, known: tuple[str, ...] = ()) -> dict[str, int]:
    """The position of each argument of a call, by name.

    Raises:
        BlockedError: An argument is unknown, or unpacked from a list or dictionary.
    """
    found: dict[str, int] = {}
    for index, arg in enumerate(call.args):
        if arg.star:
            raise BlockedError(
                "arguments are unpacked from a list or dictionary", "pass each one explicitly."
            )
        name = arg.keyword.value if arg.keyword else (positional[index : index + 1] or ("",))[0]
        if name not in (*positional, *known):
            raise BlockedError(f"the argument {name or index + 1} is unknown", _BY_HAND)
        found[name] = index
    return found


class Tools:
    """What all migrations share: values, settings, and the names of the imports.

    Args:
        values: Changes the values inside arguments.
    """

    def __init__(self, values: Values) -> None:
        self.values = values
        self.settings = Settings(values)
        self.client = f"{values.aliases['google_genai']}.shared_client()"

    def recipes(
        self, call: cst.Call, at: dict[str, int], unit: Unit, *, afc: bool = False
    ) -> dict[int, Recipe]:
        """How the settings among a call's arguments become arguments of a config, by position."""
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
        """``types.GenerateContentConfig(…)``; None if it would be empty.

        Args:
            call: The call whose arguments go into it.
            recipes: How each argument changes, by position.
            nested: Whether the config stays inside that call and keeps the argument's layout.
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
    """The config of a call merged over that of its model; None if there is neither."""
    if own is None or base is None:
        return own or base
    if any(arg.star for arg in own.args):
        return expression(
            "base.model_copy(update=dict(own))", base=base, own=own.with_changes(func=own.func)
        ).with_changes(args=[keyword("update", own.with_changes(func=cst.Name("dict")))])
    update = own.with_changes(func=cst.Name("dict"))
    return expression("base.model_copy(update=own)", base=base, own=update)


def is_true(call: cst.Call, at: dict[str, int], name: str = "stream") -> bool:
    """Whether an argument is the literal True; False if it is not given.

    Raises:
        BlockedError: It is not a literal.
    """
    if name not in at:
        return False
    value = call.args[at[name]].value
    if isinstance(value, cst.Name) and value.value in ("True", "False"):
        return value.value == "True"
    raise BlockedError(f"{name}= is only known at run time", "write one call for each case.")


def contents(tools: Tools, call: cst.Call, index: int, unit: Unit) -> None:
    """Changes the contents passed to a call, and records where they are passed."""
    tools.values.given[call.args[index]] = unit
    tools.values.contents(call.args[index].value, unit)
