"""Decorating functions of every kind, so that their own code runs inside a scope and no other's."""

from __future__ import annotations

import functools
import inspect
import types
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
    from contextlib import AbstractContextManager

    Inside = AbstractContextManager[None]

F = TypeVar("F", bound="Callable[..., Any]")


def decorated(
    function: F, prepare: Callable[[], Inside], prepare_async: Callable[[], Awaitable[Inside]]
) -> F:
    """A function of the same kind, whose code runs inside a scope.

    Args:
        function: A function, a coroutine function, or a generator function of either kind.
        prepare: Called once per call; gives the context manager to run inside, which is entered
            again for each step of a generator.
        prepare_async: The same for coroutine functions and asynchronous generators.
    """
    wrapper: Any
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, prepare_async)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, prepare)
    elif inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 -- an object may be called and awaited
    ):
        wrapper = _coroutine(function, prepare_async)
    else:
        wrapper = _plain(function, prepare)
    return cast("F", functools.wraps(function)(wrapper))


def _plain(function: Callable[..., Any], prepare: Callable[[], Inside]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        inside = prepare()
        with inside:
            result = function(*args, **kwargs)

        async def ready() -> Inside:
            return inside

        # A coroutine or a generator has not run yet, and is to run inside: some other decorator
        # has made a plain function of the one that gave it.
        if isinstance(result, types.CoroutineType):
            return _coroutine(lambda: result, ready)()
        if isinstance(result, types.GeneratorType):
            return _generator(lambda: result, lambda: inside)()
        if isinstance(result, types.AsyncGeneratorType):
            return _async_generator(lambda: result, ready)()
        return result

    return wrapper


def _coroutine(
    function: Callable[..., Any], prepare: Callable[[], Awaitable[Inside]]
) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        inside = await prepare()
        with inside:
            return await function(*args, **kwargs)

    return wrapper


# A generator is suspended outside the scope, or the scope would leak into the code that iterates
# it; it is entered again for each step.


def _generator(function: Callable[..., Any], prepare: Callable[[], Inside]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        inside, generator = prepare(), function(*args, **kwargs)
        step, given = generator.send, None
        while True:
            with inside:
                try:
                    item = step(given)
                except StopIteration as stop:
                    return stop.value
            try:
                step, given = generator.send, (yield item)
            except GeneratorExit:
                with inside:
                    generator.close()
                raise
            except BaseException as error:  # noqa: BLE001 -- handed to the generator
                step, given = generator.throw, error

    return wrapper


def _async_generator(
    function: Callable[..., Any], prepare: Callable[[], Awaitable[Inside]]
) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        inside, generator = await prepare(), function(*args, **kwargs)
        step, given = generator.asend, None
        while True:
            with inside:
                try:
                    item = await step(given)
                except StopAsyncIteration:
                    return
            try:
                step, given = generator.asend, (yield item)
            except GeneratorExit:
                with inside:
                    await generator.aclose()
                raise
            except BaseException as error:  # noqa: BLE001 -- handed to the generator
                step, given = generator.athrow, error

    return wrapper
