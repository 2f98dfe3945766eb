"""References to secrets in the doctor's report: what is missing, without reading anything."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import (
    from_command,
    from_env,
    from_file,
    from_keyring,
    from_secret_manager,
    safe_configure,
)
from genai_config._diagnosis import check_references, doctor

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config._diagnosis.checks import Outcome
    from genai_config.testing import GeminiServer


def look(*, online: bool = False, checks: Any = check_references.CHECKS) -> Outcome:
    """What the check finds."""
    return doctor.examine(online=online, checks=checks).outcomes[0]


def test_without_any() -> None:
    """There is nothing to look at."""
    safe_configure(api_key="made-up-key")
    assert look().skipped
    assert look().problems == ()


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        (from_env("MY_KEY"), "MY_KEY is not set"),
        (from_file("/no/such/file"), "cannot read"),
        (from_command(["no-such-program", "x"]), "no program no-such-program"),
    ],
)
def test_what_is_missing(reference: Any, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The setting, the reference and what is missing are named; for the key and the credentials."""
    monkeypatch.delenv("MY_KEY", raising=False)
    safe_configure(api_key=reference, credentials=reference)
    key, credentials = look().problems
    assert key.problem.startswith(f"api_key is {reference}")
    assert credentials.problem.startswith(f"credentials is {reference}")
    assert named in key.problem
    assert key.remedy


def test_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run and nobody is asked: that is told."""
    (tmp_path / "key").touch()
    monkeypatch.setenv("MY_KEY", "x")
    marker = tmp_path / "run"
    command = [sys.executable, "-c", f"open({str(marker)!r}, 'w')"]
    for reference in (
        from_env("MY_KEY"),
        from_file(tmp_path / "key"),
        from_command(command),
        from_secret_manager("projects/p/secrets/s/versions/1"),
        from_keyring("gemini", "me"),
    ):
        safe_configure(api_key=reference)
        outcome = look()
        assert outcome.problems == ()
        assert any(str(reference) in fact for fact in outcome.facts)
        assert any("--online" in fact for fact in outcome.facts)
        assert not any("--online" in fact for fact in look(online=True).facts)
    assert not marker.exists()


def test_online_it_is_read(server: GeminiServer, tmp_path: Path) -> None:
    """By the checks that send: what cannot be read is their finding, and what can is a key."""
    file = tmp_path / "key"
    file.write_text("no key of any kind")
    safe_configure(
        api_key=from_file(file),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
    checks = [check for check in doctor.CHECKS if check.name == "key"]
    (problem,) = look(online=True, checks=checks).problems
    assert "from_file" in problem.problem
    assert "no key of any kind" not in problem.problem
    file.write_text(server.api_key(kind="auth"))
    (fact,) = look(online=True, checks=checks).facts
    assert "auth key" in fact
    file.write_text(server.api_key(kind="auth", state="unsupported"))
    (problem,) = look(online=True, checks=checks).problems
    assert "auth key" in problem.problem
