"""What the documents show is run: every Python block of the README, in order, in one program."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from genai_config import safe_configure

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.usefixtures("adc")
@pytest.mark.filterwarnings("ignore:genai.configure")
def test_the_readmes_python_blocks_run(
    server: GeminiServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the local server, with keys of its own in the place of the reader's."""
    safe_configure(ca_certs=server.ca_file, client_options={"api_endpoint": server.grpc_endpoint})
    names = {"MY_KEY": server.api_key("mine"), "TENANT_KEY": server.api_key("tenant")}
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    for number, block in enumerate(blocks):
        with warnings.catch_warnings():
            exec(compile(block, f"README block {number}", "exec"), names)  # noqa: S102 -- our own
        if number == 0:
            # The SDK's own configure() has dropped where the server is, as it does.
            safe_configure(client_options={"api_endpoint": server.grpc_endpoint})
    assert [r.identity for r in server.requests if r.auth == "api_key"] == [
        "mine",
        "tenant",
        "mine",
    ]
    assert "GenAIConfig(api_key=**********, transport=grpc" in capsys.readouterr().out


def test_the_readme_is_short() -> None:
    """Under 200 lines, so that it is read."""
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200
