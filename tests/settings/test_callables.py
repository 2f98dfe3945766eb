"""Functions that a user gives: what is refused where it is given, and what they are called."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import pytest

from genai_config._settings import callables
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable


def give() -> str:
    """A function without arguments."""
    return "given"


async def give_later() -> str:
    """A coroutine function."""
    return give()


class Giver:
    """An object that can be called, and its class cannot without a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> str:
        return give()

    def give(self) -> str:
        """A method."""
        return self()


class LaterGiver:
    """An object whose call has to be awaited."""

    async def __call__(self) -> str:
        return give()


HERE = __name__


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (give, f"{HERE}.give"),
        (Giver("secret"), f"{HERE}.Giver"),
        (Giver("secret").give, f"{HERE}.Giver.give"),
        (functools.partial(Giver, "secret"), f"{HERE}.Giver"),
        (functools.partial(Giver("secret")), f"{HERE}.Giver"),
        (iter, "builtins.iter"),
    ],
)
def test_what_something_is_called(value: object, name: str) -> None:
    """Its own name or its type's, with the module; never what it holds."""
    assert callables.name_of(value) == name


@pytest.mark.parametrize(
    ("value", "arguments"),
    [
        (give, ()),
        (Giver("one"), ()),
        (Giver("one").give, ()),
        (functools.partial(Giver, "one"), ()),
        (lambda *anything: anything, ()),
        (lambda event: event, ("event",)),
        (print, ("event",)),
        (iter, ("event",)),  # does not tell what it takes
    ],
)
def test_what_is_taken(value: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    """Whatever can be called with the arguments."""
    callables.check("setting", value, *arguments)
    assert value(*[[] for _ in arguments]) is not value


@pytest.mark.parametrize(
    ("value", "arguments", "message"),
    [
        (1, (), "setting must be a function, not int.\n  Remedy: give setting=lambda: …"),
        (1, ("event",), "not int.\n  Remedy: give setting=lambda event: …"),
        (give_later, (), "setting=.*[.]give_later is a coroutine function"),
        (functools.partial(give_later), (), "give_later is a coroutine function"),
        (LaterGiver(), (), "LaterGiver is a coroutine function.*\n.*a synchronous function"),
        (Giver, (), "Giver cannot be called as .*Giver[(][)]: missing a required argument: 'name'"),
        (give, ("event",), "cannot be called as .*give[(]event[)]: too many positional arguments"),
    ],
)
def test_what_is_refused(value: object, arguments: tuple[str, ...], message: str) -> None:
    """What cannot be called so, or would have to be awaited; the error says what to give."""
    with pytest.raises(ConfigurationError) as caught:
        callables.check("setting", value, *arguments)
    assert re.search(message, str(caught.value))


async def test_the_functions_above_are_what_they_say() -> None:
    """Each gives what a function should."""
    assert {give(), Giver("one").give(), await give_later(), await LaterGiver()()} == {"given"}
