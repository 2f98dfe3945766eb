"""The thread that breaks off what is past its time."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from genai_config._transport import deadlines
from genai_config._transport.deadlines import Bounded


def test_a_forked_child_has_one_of_its_own() -> None:
    """It has neither the thread of its parent nor the lock as that had it."""
    of_parent = deadlines._watch
    deadlines._start_anew()  # what a child does first of all
    assert deadlines._watch is not of_parent
    broken = threading.Event()
    bounded = Bounded(0.01)
    with bounded.running():
        socket = SimpleNamespace(shutdown=lambda _: broken.set())
        bounded.cancellation.begin(SimpleNamespace(sock=socket), reused=False)
        assert broken.wait(30)
    assert bounded.expired
