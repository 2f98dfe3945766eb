"""Comparing two things fairly: in alternation, in one run, and the ratio with its noise."""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

ROUNDS = 15


class Row(NamedTuple):
    """One line of the table."""

    what: str
    against: str
    ours: str
    theirs: str
    ratio: str
    bound: str
    kept: bool


class Ratio(NamedTuple):
    """Ours against theirs.

    Attributes:
        ours: Median of ours, in seconds or bytes.
        theirs: Median of theirs.
        ratio: The median over the rounds of the ratio of each round's medians.
        low: The first quartile of the rounds' ratios.
        high: The third quartile.
    """

    ours: float
    theirs: float
    ratio: float
    low: float
    high: float

    def divided(self, by: int) -> Ratio:
        """The ratio for one of ours, where `by` of them were measured at once."""
        ours, low, middle, high = (n / by for n in (self.ours, self.low, self.ratio, self.high))
        return Ratio(ours, self.theirs, middle, low, high)


def compare(
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Times two functions in turn, ten calls by ten calls, `calls` of each in every round."""
    rounds = []
    for first in _turns():
        pairs = ([], [])  # type: tuple[list[float], list[float]]
        for _ in range(max(1, calls // _BLOCK)):
            for which in (first, 1 - first):
                start = clock()
                for _ in range(min(calls, _BLOCK)):
                    (ours, theirs)[which]()
                pairs[which].append((clock() - start) / min(calls, _BLOCK))
        rounds.append((statistics.median(pairs[0]), statistics.median(pairs[1])))
    return ratio_of(rounds)


async def compare_async(
    ours: Callable[[], Awaitable[object]],
    theirs: Callable[[], Awaitable[object]],
    *,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """As `compare`, for coroutine functions on the running loop."""
    rounds = []
    for first in _turns():
        pairs = ([], [])  # type: tuple[list[float], list[float]]
        for _ in range(max(1, calls // _BLOCK)):
            for which in (first, 1 - first):
                start = clock()
                for _ in range(min(calls, _BLOCK)):
                    await (ours, theirs)[which]()
                pairs[which].append((clock() - start) / min(calls, _BLOCK))
        rounds.append((statistics.median(pairs[0]), statistics.median(pairs[1])))
    return ratio_of(rounds)


_BLOCK = 10
# What a call leaves to gRPC's threads is its own, and not the other side's next call.


def cpu_of_children() -> float:
    """The CPU time of the processes that have been started and have ended, in seconds."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _turns() -> Iterator[int]:
    """Who goes first, round by round; one more round at the start is not counted."""
    for i in range(ROUNDS):
        yield i % 2


def ratio_of(rounds: list[tuple[float, float]]) -> Ratio:
    """The ratio of rounds that were measured as (ours, theirs)."""
    ratios = [ours / theirs for ours, theirs in rounds]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return Ratio(
        statistics.median(ours for ours, _ in rounds),
        statistics.median(theirs for _, theirs in rounds),
        middle,
        low,
        high,
    )


def timed(
    what: str, against: str, ratio: Ratio, bound: float, unit: tuple[float, str] = (1e3, "ms")
) -> Row:
    """A row for a ratio and its bound, missed if even the first quartile lies above it."""
    factor, name = unit
    return Row(
        what,
        against,
        f"{ratio.ours * factor:.2f} {name}",
        f"{ratio.theirs * factor:.2f} {name}",
        quartiles(ratio),
        f"≤ {bound:g}",
        ratio.low <= bound,
    )


def quartiles(ratio: Ratio) -> str:
    """A ratio and its noise, as the table shows them."""
    digits = 2 if ratio.ratio >= _SMALL else 3
    return f"{ratio.ratio:.{digits}f} ({ratio.low:.{digits}f} to {ratio.high:.{digits}f})"


_SMALL = 0.1
# Below it a hundredth says too little.


def resident() -> float:
    """The memory of this process, in bytes: gRPC's own, which Python knows nothing of, included."""
    pages = Path("/proc/self/statm")
    if pages.exists():
        import resource

        return int(pages.read_text(encoding="ascii").split()[1]) * resource.getpagesize()
    import resource

    # Elsewhere there is the most that it ever was.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
