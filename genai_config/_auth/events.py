"""Events for those who watch: which token was fetched or not, in what time; never a secret."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from genai_config._settings import callables

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

_log = logging.getLogger("genai_config.tokens")


class TokenEvent(NamedTuple):
    """An access token was fetched, or could not be.

    Attributes:
        description: Whose token, and where those credentials came from; None: none were found.
        seconds: How long finding the credentials and fetching the token took.
        lifetime: Seconds that the new token lives for; None: unknown, or there is no new one.
        error: Why there is none; None: there is one.
        serves_on: Whether, after a failure, the token from before can still be used.
    """

    description: str | None
    seconds: float
    lifetime: float | None = None
    error: Exception | None = None
    serves_on: bool = False


_watchers: dict[
    object, tuple[Callable[[TokenEvent], object] | None, Callable[[TokenEvent], object] | None]
] = {}


class TokenWatch:
    """Ends a `watch_tokens` when it is called, or when its ``with`` block is left."""

    def __call__(self) -> None:
        _watchers.pop(self, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self()


def watch_tokens(
    *,
    on_refresh: Callable[[TokenEvent], object] | None = None,
    on_failure: Callable[[TokenEvent], object] | None = None,
) -> TokenWatch:
    """Has functions called whenever an access token was fetched, or could not be.

    They run in the thread that has fetched it, after those who waited for it went on; several may
    run at once. What one raises is logged (``genai_config.tokens``), and harms nobody.

    Args:
        on_refresh: Called with a `TokenEvent` for each new token.
        on_failure: Called with a `TokenEvent` for each failure, those in the background included.

    Returns:
        What ends the watching: a function, which may be called more than once, and a context
        manager.

    Raises:
        ConfigurationError: One of them cannot be called with an event, or has to be awaited.
    """
    for name, callback in (("on_refresh", on_refresh), ("on_failure", on_failure)):
        if callback is not None:
            callables.check(name, callback, "event")
    watch = TokenWatch()
    _watchers[watch] = (on_refresh, on_failure)
    return watch


def tell(event: TokenEvent) -> None:
    """Calls those who watch."""
    for on_refresh, on_failure in list(_watchers.values()):
        callback = on_refresh if event.error is None else on_failure
        if callback is None:
            continue
        try:
            callback(event)
        except Exception:  # noqa: BLE001 -- whatever it is, it is not the token's
            _log.exception("%s, which watches tokens, failed.", callables.name_of(callback))
