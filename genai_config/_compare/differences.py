"""Compares two runs, request by request; pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._masking import described

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from genai_config._compare.meaning import Meaning

_ABSENT = "(absent)"


class Difference(NamedTuple):
    """One difference between two requests.

    Attributes:
        where: The path of the field, such as "generationConfig.temperature"; "" for the request.
        before: The value in the first run, or "(absent)".
        after: The value in the second run, or "(absent)".
    """

    where: str
    before: str
    after: str


class Compared(NamedTuple):
    """A request of one run, or of both.

    Attributes:
        method: The method, such as "GenerateContent".
        resource: The model, or another resource.
        differences: The differences; empty if both requests mean the same.
    """

    method: str
    resource: str
    differences: tuple[Difference, ...]


def compare(before: Iterable[Meaning], after: Iterable[Meaning]) -> list[Compared]:
    """Pairs the requests of two runs and compares them, in the order of the first run.

    Equal requests are paired wherever they are, since threads and tasks send them in any order.
    The others are paired by method and model, then by method, in their order.
    """
    left, right = list(before), list(after)
    pairs: dict[int, Meaning | None] = {}
    for alike in (_same, _same_target, _same_method):
        for index, one in enumerate(left):
            if index not in pairs:
                found = next((other for other in right if alike(one, other)), None)
                if found is not None:
                    pairs[index] = found
                    right.remove(found)
    compared = [_guarded(one, pairs.get(index)) for index, one in enumerate(left)]
    return compared + [_guarded(None, one) for one in right]


def _same(one: Meaning, other: Meaning) -> bool:
    return one == other and not one.problem


def _same_target(one: Meaning, other: Meaning) -> bool:
    return one[:2] == other[:2]


def _same_method(one: Meaning, other: Meaning) -> bool:
    return one.method == other.method


def _guarded(one: Meaning | None, other: Meaning | None) -> Compared:
    """As `_compared`; a request that cannot be compared must not hide the others."""
    try:
        return _compared(one, other)
    except Exception as error:  # noqa: BLE001 -- reported with the request
        problem = f"comparing failed: {described(error)}"
        one, other = (each and each._replace(problem=problem) for each in (one, other))
        return _compared(one, other)


def _compared(one: Meaning | None, other: Meaning | None) -> Compared:
    some = one or other
    assert some is not None  # noqa: S101 -- at least one is given
    if one is None or other is None or one.problem or other.problem:
        found = Difference("", _shown(one), _shown(other))
        return Compared(some.method, some.resource, (found,))
    ours = dict(_leaves("", {**one._asdict(), "body": {}})) | dict(_leaves("", one.body))
    theirs = dict(_leaves("", {**other._asdict(), "body": {}})) | dict(_leaves("", other.body))
    differences = tuple(
        Difference(path, ours.get(path, _ABSENT), theirs.get(path, _ABSENT))
        for path in dict.fromkeys([*ours, *theirs])
        if ours.get(path) != theirs.get(path)
    )
    return Compared(some.method, some.resource, differences)


def _shown(one: Meaning | None) -> str:
    """A request as a whole, with the reason if it cannot be compared."""
    if one is None:
        return _ABSENT
    shown = f"{one.method} {one.resource}".strip()
    return f"{shown} (cannot be compared: {one.problem})" if one.problem else shown


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Each value in a nested structure, with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}" if path else name, inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner)
    else:
        yield path, json.dumps(value, ensure_ascii=False)
