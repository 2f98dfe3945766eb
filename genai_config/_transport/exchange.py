"""One HTTP request and how its answer is read: what a service's rules make of a call. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Exchange(NamedTuple):
    """A call as HTTP has it.

    Attributes:
        verb: "GET", "POST" …
        path: The path, with the version at its start.
        query: Names and values.
        body: JSON data; None: no body.
        read: Fills the answer's message from JSON data; raises ValueError.
    """

    verb: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: Any
    read: Callable[[Any, Any], None]
