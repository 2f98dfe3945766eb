"""The certificates that programs started from a shell trust: the system's, and running servers'."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import certifi

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUNDLE, _LOCK = "ca-bundle.pem", "ca-bundle.lock"


def folder() -> Path:
    """Where the bundle is kept; it outlives a server, as shells do that have its variables."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "genai-config"


@contextlib.contextmanager
def bundle(authority: bytes, where: Path) -> Iterator[Path]:
    """A file that holds the system's authorities and one more, until the end of the block.

    A shell whose variables name the file is left with the system's authorities, not with a file
    that is gone. Servers that run at the same time share it.

    Args:
        authority: The certificate of the server's authority, PEM.
        where: The folder; it is created.

    Raises:
        OSError: The folder cannot be written to.
    """
    where.mkdir(parents=True, exist_ok=True)
    own = where / f"serve-{os.getpid()}.pem"
    own.write_bytes(authority)
    try:
        _rewrite(where)
        yield where / _BUNDLE
    finally:
        own.unlink()
        _rewrite(where)


def _rewrite(where: Path) -> None:
    with _locked(where / _LOCK):
        blocks = [Path(certifi.where()).read_bytes()]
        for path in sorted(where.glob("serve-*.pem")):
            if _runs(int(path.stem.rpartition("-")[2])):
                blocks.append(path.read_bytes())
            else:  # it was killed
                path.unlink()
        new = where / f"{_BUNDLE}.new"
        new.write_bytes(b"\n".join(blocks))
        new.replace(where / _BUNDLE)


def _runs(process: int) -> bool:
    if sys.platform == "win32":  # pragma: no cover # there a signal of 0 would end it
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)  # it is another user's
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as lock:
        if sys.platform != "win32":  # pragma: no branch # it has no such lock
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
