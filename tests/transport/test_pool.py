"""Bounded pools: made once, the least recently used goes first."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from genai_config import GenAIConfig
from genai_config._transport import pool as _pool
from genai_config._transport.pool import Key, Pool


def test_a_thing_is_made_once() -> None:
    """The second one who asks for a key gets the first one's thing."""
    pool: Pool[object] = Pool(2)
    thing = pool.get("a", object)
    assert pool.get("a", object) is thing
    assert pool.get("b", object) is not thing
    assert len(pool) == 2


def test_the_least_recently_used_goes_first() -> None:
    """Asking for a thing is using it."""
    pool: Pool[str] = Pool(2)
    pool.get("a", lambda: "a1")
    pool.get("b", lambda: "b1")
    pool.get("a", lambda: "a2")
    pool.get("c", lambda: "c1")
    assert len(pool) == 2
    assert pool.get("a", lambda: "a3") == "a1"
    assert pool.get("b", lambda: "b2") == "b2"


def test_a_failure_is_not_kept() -> None:
    """The next one who asks tries again."""
    pool: Pool[int] = Pool(2)
    with pytest.raises(ZeroDivisionError):
        pool.get("a", lambda: 1 // 0)
    assert pool.get("a", lambda: 1) == 1


def test_a_failure_after_all_was_forgotten() -> None:
    """What is made for the same key meanwhile stays."""
    pool: Pool[int] = Pool(2)

    def make() -> int:
        pool.clear()
        assert pool.get("a", lambda: 2) == 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pool.get("a", make)
    assert pool.get("a", lambda: 3) == 2


def test_a_key_shows_nothing() -> None:
    """It holds a configuration."""
    assert "k-secret" not in repr(Key(GenAIConfig(api_key="k-secret"), frozenset(), "grpc"))


def test_making_a_thing_may_ask_for_another() -> None:
    """The lock is held by the thread that makes."""
    pool: Pool[str] = Pool(2)
    assert pool.get("outer", lambda: pool.get("inner", lambda: "x") + "y") == "xy"


def test_threads_that_ask_together_get_one_thing() -> None:
    """Whoever comes while it is made waits for it."""
    pool: Pool[object] = Pool(2)
    made: list[object] = []
    together = threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    def ask() -> object:
        together.wait(10)
        return pool.get("a", make)

    with ThreadPoolExecutor(8) as executor:
        things = {future.result() for future in [executor.submit(ask) for _ in range(8)]}
    assert things == {made[0]}
    assert len(made) == 1


def test_clearing_forgets_everything() -> None:
    """Things are made anew afterwards."""
    pool: Pool[object] = Pool(2)
    thing = pool.get("a", object)
    pool.clear()
    assert len(pool) == 0
    assert pool.get("a", object) is not thing


def test_a_forked_child_starts_with_empty_pools() -> None:
    """Even if another thread of the parent holds the lock at that moment."""
    pool: Pool[object] = Pool(2)
    thing = pool.get("a", object)
    held, done = threading.Event(), threading.Event()

    def hold() -> object:
        held.set()
        return done.wait(10)

    with ThreadPoolExecutor(1) as executor:
        holder = executor.submit(pool.get, "b", hold)
        held.wait(10)
        _pool._start_anew()
        assert pool.get("a", object) is not thing
        done.set()
        holder.result(10)
