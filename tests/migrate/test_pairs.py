"""Each pair of programs: one becomes the other, and both say the same to the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")
pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

from genai_config._migrate.adopt import adopt
from genai_config._migrate.moving import move

if TYPE_CHECKING:
    from collections.abc import Callable


def test_there_are_enough(pairs: list[Any]) -> None:
    """The promise is sixty."""
    assert len(pairs) >= 60


def test_it_becomes_the_other(pair: Any) -> None:
    """Nothing of it is left, and moving it again changes nothing."""
    after, sites = move(adopt(pair.before)[0])
    assert after == pair.after
    assert [site for site in sites if site.outcome == "unchanged"] == []
    assert move(adopt(after)[0]) == (after, [])


# The old SDK with a protobuf of today.
@pytest.mark.filterwarnings("ignore:The argument `including_default_value_f:DeprecationWarning")
def test_both_say_the_same(pair: Any, run: Callable[[str], Any]) -> None:
    """Request by request: model, contents, config, credentials, and what came of it."""
    before, after = run(pair.before), run(pair.after)
    assert before.said
    assert sorted(map(str, after.said)) == sorted(map(str, before.said))
    assert {one.status for one in after.said} == {"OK"}
