"""What is done anew in a forked child, which has no other thread of its parent's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    F = TypeVar("F", bound="Callable[[], object]")


def in_children(function: F) -> F:
    """Has a function called first thing in each process that is forked from this one.

    A thread of the parent may have held a lock: in the child nobody gives it back.
    """
    if hasattr(os, "register_at_fork"):  # pragma: no branch -- Windows cannot fork
        os.register_at_fork(after_in_child=function)
    return function
