"""How the secret behind a reference is read: from a file, a command, or the system's keyring.

Each reads what there is now, and blocks. No error holds what was read, nor what a command said.
"""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from genai_config._auth.key_files import FileVersion, version_in
from genai_config._masking import shown_path
from genai_config.exceptions import SecretReferenceError

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 64 << 10
"""More than any key or key file has, in bytes."""


class Read(NamedTuple):
    """What was read.

    Attributes:
        text: The secret, without white space around it.
        version: The version of its file; None: it is in no file.
    """

    text: str
    version: FileVersion | None = None

    def __repr__(self) -> str:
        return f"Read({self.version})"


def read_file(path: str) -> Read:
    """The content of a file.

    Raises:
        SecretReferenceError: It cannot be read, or is no file with a secret.
    """
    try:
        # Not blocking: a pipe that nobody writes to would be waited for.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(descriptor, "rb") as file:
            # Looked at before it is read: what is written meanwhile is noticed the next time.
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise _unreadable(path, "it is a device or a pipe, not a file")
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise _unreadable(path, error.strerror or type(error).__name__) from None
    remedy = f"put the secret alone into {shown_path(path)}."
    return Read(text_of(content, f"The file {shown_path(path)}", remedy), version_in(found))


def _unreadable(path: str, problem: str) -> SecretReferenceError:
    return SecretReferenceError(
        f"The file {shown_path(path)} cannot be read: {problem}.",
        "see whether it is there, and whether this process may read it.",
    )


def text_of(content: bytes, whose: str, remedy: str) -> str:
    """The secret in what was read.

    Raises:
        SecretReferenceError: It holds nothing, too much, or no text.
    """
    problem = ""
    if len(content) > _LARGEST:
        problem = f"holds more than {_LARGEST >> 10} KiB"
    elif not content.strip():
        problem = "holds nothing"
    else:
        with suppress(UnicodeDecodeError):
            return content.decode("utf-8-sig").strip()
        problem = "holds no UTF-8 text"
    raise SecretReferenceError(f"{whose} {problem}.", remedy)


def run(command: Sequence[str], seconds: float) -> Read:
    """What a command prints.

    It has no input and no terminal, and what it says on stderr is not read: it may hold a secret.
    What it has started is ended with it.

    Args:
        command: The program and its arguments.
        seconds: How long it may take.

    Raises:
        SecretReferenceError: It cannot be started, fails, prints no secret, or takes longer.
    """
    name = os.path.basename(command[0])  # noqa: PTH119 -- a name, no file
    try:
        process = subprocess.Popen(  # noqa: S603 -- what the user has configured; without a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise SecretReferenceError(
            f"The command {name} cannot be run: {reason}.",
            "give the path of the program, and see whether this process may run it.",
        ) from None
    printed, problem = _printed(process, seconds)
    if problem:
        raise SecretReferenceError(
            f"The command {name} {problem}.",
            "run it in a shell to see what it says; it gets no input and no terminal here.",
        )
    remedy = "let it print the secret alone."
    return Read(text_of(printed, f"What the command {name} prints", remedy))


def _printed(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, str]:
    """What a process has printed, and what is wrong with how it ended."""
    pipe: Any = process.stdout
    read = bytearray()

    def reading() -> None:
        with pipe, suppress(OSError, ValueError):
            while len(read) <= _LARGEST and (piece := pipe.read1(_LARGEST)):
                read.extend(piece)

    # In a thread: a pipe cannot be waited for with a bound on every system.
    reader = threading.Thread(target=reading, name="genai-config command", daemon=True)
    reader.start()
    end = time.monotonic() + seconds
    reader.join(seconds)
    if not reader.is_alive() and len(read) <= _LARGEST:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(max(0, end - time.monotonic()))
            return bytes(read), f"ended with exit status {status}" if status else ""
    _end(process)
    return bytes(read), "" if len(read) > _LARGEST else f"has not ended within {seconds:.3g} s"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process that runs, with all that it has started."""
    with suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # pragma: no cover -- Windows has no groups of this kind
            process.kill()
    process.wait()


def read_keyring(service: str, username: str) -> Read:
    """A password of the system's keyring.

    Raises:
        SecretReferenceError: It is not there, or there is no keyring.
    """
    try:
        import keyring
    except ImportError:
        raise SecretReferenceError(
            "from_keyring needs the library keyring, which is not installed.",
            "pip install 'genai-config[keyring]'",
        ) from None
    try:
        found = keyring.get_password(service, username)
    except Exception as error:  # noqa: BLE001 -- each backend has errors of its own
        raise SecretReferenceError(
            f"The keyring cannot be read: {type(error).__name__}.",
            "see whether it is unlocked: keyring --list-backends",
        ) from None
    if not found or not found.strip():
        raise SecretReferenceError(
            f"The keyring has no password of {username!r} for {service!r}.",
            f"keyring set {service} {username}",
        )
    return Read(found.strip())
