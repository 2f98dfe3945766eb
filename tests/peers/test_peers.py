"""Google's own clients of Vertex AI on the local server: what it takes is what they send."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

PYTHON = os.environ.get("GENAI_CONFIG_PEER_PYTHON")
"""The Python of an environment that has google-cloud-aiplatform: `nox -s peers` makes one."""
PARENT = "projects/my-project/locations/us-central1"

pytestmark = pytest.mark.skipif(not PYTHON, reason="needs the environment of nox -s peers")


def test_google_cloud_aiplatform(server: GeminiServer) -> None:
    """The classes of vertexai and the generated REST clients work unchanged."""
    server.respond("gemini-3.6-flash", ["Hel", "lo"])
    server.respond(f"{PARENT}/endpoints/456", "tuned")
    script = Path(__file__).with_name("asking_vertex.py")
    environ = {**os.environ, **server.environ(adc="service_account")}
    ran = subprocess.run(  # noqa: S603 -- our own
        [str(PYTHON), "-W", "ignore", str(script), server.rest_endpoint],
        env=environ, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    cache = told.pop("cache")
    assert cache.startswith(f"{PARENT}/cachedContents/")
    assert told == {
        "base": "Hello",
        "streamed": ["Hel", "lo"],
        "chat": ["Hello", "Hello"],
        "turns": 4,
        "counted": 2,
        "tuned": "tuned",
        "listed": [cache],
        "got": cache,
        "answer": "Hello",
        "gone": 404,
        "width": 8,
    }
    statuses = [request.status for request in server.requests]
    assert statuses.count("OK") == len(statuses) - 1
    assert {request.auth for request in server.requests} == {"oauth"}
