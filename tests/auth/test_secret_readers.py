"""Secrets are read from files, commands and the keyring: within bounds, and without being shown."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from genai_config._auth import secret_readers
from genai_config._auth.key_files import file_version
from genai_config._auth.secret_readers import read_file, read_keyring, run
from genai_config.exceptions import SecretReferenceError

SECRET = "made-up-secret-that-nobody-may-see"

POSIX = pytest.mark.skipif(os.name != "posix", reason="as POSIX has it")


def python(code: str, *arguments: str) -> list[str]:
    """A command that runs some code."""
    return [sys.executable, "-S", "-E", "-c", code, *arguments]


def refused(read: Any, *arguments: Any) -> SecretReferenceError:
    """The error of a reading; it holds no secret, and says what to do."""
    with pytest.raises(SecretReferenceError) as caught:
        read(*arguments)
    assert SECRET not in f"{caught.value!r} {caught.value}"
    assert caught.value.remedy
    return caught.value


class TestAFile:
    def test_its_content_is_the_secret(self, tmp_path: Path) -> None:
        """Without what editors put before and after it."""
        file = tmp_path / "key"
        file.write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b" \r\n")
        read = read_file(str(file))
        assert read.text == SECRET
        assert read.version == file_version(file)
        assert SECRET not in repr(read)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b" \n", "holds nothing"),
            (b"\xff\xfe" + SECRET.encode(), "UTF-8"),
            (SECRET.encode() * 10_000, "64 KiB"),
        ],
    )
    def test_what_it_holds_is_no_secret(self, content: bytes, problem: str, tmp_path: Path) -> None:
        """It is empty, no text, or larger than any key file."""
        file = tmp_path / "key"
        file.write_bytes(content)
        error = refused(read_file, str(file))
        assert problem in error.problem
        assert str(file) in error.problem

    def test_it_cannot_be_read(self, tmp_path: Path) -> None:
        """It is not there, or it is a folder; a name that cannot be is no file either."""
        assert "No such file" in refused(read_file, str(tmp_path / "none")).problem
        assert str(tmp_path) in refused(read_file, str(tmp_path)).problem
        assert file_version(str(tmp_path / "none")) is None
        assert file_version("a\0b") is None

    @POSIX
    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        """Nobody writes to it."""
        os.mkfifo(tmp_path / "pipe")
        assert "pipe" in refused(read_file, str(tmp_path / "pipe")).problem

    @POSIX
    def test_a_link_that_is_swapped_is_another_version(self, tmp_path: Path) -> None:
        """As mounted secrets are changed: the same name, size and time."""
        for name in ("one", "two"):
            (tmp_path / name).write_text(f"{name}-secret")
            os.utime(tmp_path / name, ns=(1, 1))
        link = tmp_path / "key"
        link.symlink_to(tmp_path / "one")
        before = file_version(link)
        (tmp_path / "next").symlink_to(tmp_path / "two")
        (tmp_path / "next").replace(link)
        assert file_version(link) != before
        assert read_file(str(link)).text == "two-secret"


class TestACommand:
    def test_what_it_prints_is_the_secret(self) -> None:
        """It gets its arguments as they are, no input, and no shell."""
        code = "import sys; print(sys.argv[1], repr(sys.stdin.read()))"
        read = run(python(code, "$HOME; *"), 60)
        assert read.text == "$HOME; * ''"
        assert read.version is None

    @pytest.mark.parametrize(
        ("code", "problem"),
        [
            (f"print('{SECRET}'); raise SystemExit(3)", "exit status 3"),
            (f"import sys; print('{SECRET}', file=sys.stderr); sys.exit(1)", "exit status 1"),
            ("print()", "holds nothing"),
            (f"print('{SECRET}' * 10_000)", "64 KiB"),
        ],
        ids=["fails", "says why", "prints nothing", "prints much"],
    )
    def test_it_gives_no_secret(
        self, code: str, problem: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """The error tells how it ended, and neither what it printed nor what it said."""
        error = refused(run, python(code), 60)
        assert problem in error.problem
        assert Path(sys.executable).name in error.problem
        assert capfd.readouterr() == ("", "")

    def test_it_cannot_be_started(self, tmp_path: Path) -> None:
        """The system's words; the arguments are not repeated."""
        error = refused(run, [str(tmp_path / "none"), SECRET], 60)
        assert "none cannot be run: No such file" in error.problem

    def test_one_that_prints_without_end_is_ended(self) -> None:
        """More than a key file is no secret, and is not waited for."""
        code = f"while True: print('{SECRET}' * 100)"
        assert "64 KiB" in refused(run, python(code), 60).problem

    @POSIX
    @pytest.mark.parametrize(
        "last", ["time.sleep(600)", "sys.stdout.close(); os.close(1); time.sleep(600)"]
    )
    def test_one_that_does_not_end_is_ended_with_all_it_has_started(
        self, last: str, tmp_path: Path
    ) -> None:
        """Whether it still holds its output open or not."""
        lives = tmp_path / "lives"
        os.mkfifo(lives)
        ended = os.open(lives, os.O_RDONLY | os.O_NONBLOCK)
        child = python("import time; time.sleep(600)")
        # Both hold the pipe open for as long as they live.
        code = (
            f"import os, subprocess, sys, time; lives = os.open({str(lives)!r}, os.O_WRONLY); "
            f"subprocess.Popen({child!r}, stdout=subprocess.DEVNULL, pass_fds=[lives]); "
            f"os.write(lives, b'x'); {last}"
        )
        error = refused(run, python(code), 3)
        assert "3 s" in error.problem
        with os.fdopen(ended, "rb") as pipe:
            os.set_blocking(pipe.fileno(), True)
            assert pipe.read() == b"x"  # ends when nobody is left


class Backend:
    """A keyring."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def get_password(self, service: str, username: str) -> Any:
        """What is stored, or an error of the keyring's."""
        assert (service, username) == ("gemini", "me")
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class TestTheKeyring:
    def test_its_password_is_the_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of the service and the user that are named."""
        monkeypatch.setitem(sys.modules, "keyring", Backend(f"{SECRET}\n"))
        assert read_keyring("gemini", "me").text == SECRET

    @pytest.mark.parametrize(
        ("found", "problem"),
        [
            (None, "no password of 'me' for 'gemini'"),
            (" ", "no password"),
            (RuntimeError(SECRET), "RuntimeError"),
        ],
    )
    def test_it_gives_none(self, found: Any, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It has none, or fails."""
        monkeypatch.setitem(sys.modules, "keyring", Backend(found))
        assert problem in refused(read_keyring, "gemini", "me").problem

    def test_it_is_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The remedy names the extra."""
        monkeypatch.setitem(sys.modules, "keyring", None)
        assert "genai-config[keyring]" in refused(read_keyring, "gemini", "me").remedy

    def test_the_real_one(self) -> None:
        """With a backend of the library's own."""
        keyring = pytest.importorskip("keyring", reason="keyring is not installed")
        from keyring.backends import null

        before = keyring.get_keyring()
        keyring.set_keyring(null.Keyring())  # type: ignore[no-untyped-call] # keyring's own
        try:
            assert "no password" in refused(read_keyring, "gemini", "me").problem
        finally:
            keyring.set_keyring(before)


def test_the_largest_secret_is_more_than_a_key_file() -> None:
    """A key file of a service account has about 2,400 bytes."""
    assert secret_readers._LARGEST > 10 * 2_400
