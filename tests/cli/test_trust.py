"""What programs of a shell trust while servers run, and after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

from genai_config._cli import trust

if TYPE_CHECKING:
    import pytest

SYSTEM = Path(certifi.where()).read_bytes()


def test_the_bundle_outlives_the_server(tmp_path: Path) -> None:
    """It holds the server's authority while it runs, and always the system's."""
    where = tmp_path / "new"
    with trust.bundle(b"ours", where) as path:
        assert path.read_bytes() == SYSTEM + b"\nours"
    assert path.read_bytes() == SYSTEM
    assert list(where.glob("serve-*")) == []


def test_servers_share_it(tmp_path: Path) -> None:
    """One that runs elsewhere stays, one that was killed goes."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    (tmp_path / f"serve-{gone.pid}.pem").write_bytes(b"killed")
    (tmp_path / f"serve-{os.getppid()}.pem").write_bytes(b"theirs")
    (tmp_path / "serve-1.pem").write_bytes(b"somebody else's")
    with trust.bundle(b"ours", tmp_path) as path:
        assert b"killed" not in path.read_bytes()
        for authority in (b"theirs", b"somebody else's", b"ours"):
            assert authority in path.read_bytes()
    assert b"theirs" in path.read_bytes()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the cache of the user, wherever that is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert trust.folder() == tmp_path / ".cache" / "genai-config"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    assert trust.folder() == tmp_path / "other" / "genai-config"
