"""docs/examples/batch.py: nothing lost, nothing asked twice but what was under way."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import batch_server
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

pytest.importorskip("distributed", reason="the example needs it")
pytest.importorskip("pyarrow", reason="likewise")
pytestmark = [pytest.mark.timeout(900), pytest.mark.filterwarnings("ignore")]

COUNT = 600


@pytest.mark.usefixtures("environment")
def test_a_run_that_is_killed_goes_on_where_it_was(server: GeminiServer, tmp_path: Path) -> None:
    """With a quota, two tenants, and short-lived tokens."""
    example = runpy.run_path(str(batch_server.BATCH))
    at_most = example["WORKERS"] * example["PART"]
    server.respond("*", "an answer")
    server.limit(100, seconds=1)
    asked = batch_server.prompts(tmp_path, COUNT)
    answers = tmp_path / "answers"
    killed = batch_server.run(server, asked, answers, kill_after=COUNT // 2)
    assert killed.code < 0
    before = batch_server.kept(answers)
    assert 0 < len(before) < COUNT
    resumed = batch_server.run(server, asked, answers)
    assert resumed.code == 0, resumed.output
    assert f"{COUNT - len(before)} prompts to ask" in resumed.output
    assert f"{COUNT - len(before)}/{COUNT - len(before)}" in resumed.output
    kept = batch_server.kept(answers)
    assert len(kept) == len({*kept}) == COUNT
    counted = batch_server.answered(server)
    twice = {prompt for prompt, times in counted.items() if times > 1}
    assert counted.keys() == {*kept}
    assert max(counted.values()) == 2
    assert len(twice) <= at_most
    assert not twice & {*before}
    assert any(request.status == "RESOURCE_EXHAUSTED" for request in server.requests)
    whose = {
        (r.message.contents[0].parts[0].text.partition(":")[0], r.auth) for r in server.requests
    }
    assert whose == {("lab", "api_key"), ("work", "oauth")}
    # One token for each worker of each run.
    assert server.tokens.count <= 2 * example["WORKERS"]
