"""Comparing two things fairly: in alternation, in one run, and the ratio with its noise."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROUNDS = 15


class Ratio(NamedTuple):
    """Ours against theirs.

    Attributes:
        ours: Median of ours, in seconds.
        theirs: Median of theirs, in seconds.
        ratio: The median over the rounds of the ratio of each round's medians.
        low: The first quartile of the rounds' ratios.
        high: The third quartile.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float


def compare(ours: Callable[[], object], theirs: Callable[[], object], *, calls: int) -> Ratio:
    """Times two functions call by call in turn, `calls` of each in every round."""
    rounds = []
    for first in _turns():
        pairs = ([], [])  # type: tuple[list[float], list[float]]
        for _ in range(calls):
            for which in (first, 1 - first):
                start = time.perf_counter()
                (ours, theirs)[which]()
                pairs[which].append(time.perf_counter() - start)
        rounds.append((statistics.median(pairs[0]), statistics.median(pairs[1])))
    return _ratio(rounds)


async def compare_async(
    ours: Callable[[], Awaitable[object]], theirs: Callable[[], Awaitable[object]], *, calls: int
) -> Ratio:
    """As `compare`, for coroutine functions on the running loop."""
    rounds = []
    for first in _turns():
        pairs = ([], [])  # type: tuple[list[float], list[float]]
        for _ in range(calls):
            for which in (first, 1 - first):
                start = time.perf_counter()
                await (ours, theirs)[which]()
                pairs[which].append(time.perf_counter() - start)
        rounds.append((statistics.median(pairs[0]), statistics.median(pairs[1])))
    return _ratio(rounds)


def _turns() -> Iterator[int]:
    """Who goes first, round by round; one more round at the start is not counted."""
    for i in range(ROUNDS):
        yield i % 2


def _ratio(rounds: list[tuple[float, float]]) -> Ratio:
    ratios = [ours / theirs for ours, theirs in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Ratio(
        statistics.median(ours for ours, _ in rounds),
        statistics.median(theirs for _, theirs in rounds),
        middle,
        low,
        high,
    )
