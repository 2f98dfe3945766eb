"""What a reference refers to is read once for all who wait, kept, and read again when refused."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import from_command, from_env, from_file, from_keyring, from_secret_manager
from genai_config._auth import secret_readers, secret_source
from genai_config._auth.flights import Flight, _start_all_anew
from genai_config._auth.secret_readers import Read
from genai_config._auth.secret_source import SecretSource
from genai_config._masking import without_secrets
from genai_config._settings.secrets import Secret
from genai_config._settings.validation import key_value
from genai_config.exceptions import CredentialsTimeoutError, SecretReferenceError

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config._settings.references import Reference

OLD, NEW = "made-up-key-of-yesterday", "made-up-key-of-today"
COMMAND = from_command(["tell-the-key"])


class Vault:
    """What commands print: a key, an error, or nothing until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.key: str | Exception = OLD
        self.asked = 0
        self.open = threading.Event()
        self.open.set()
        self.busy = threading.Event()
        self.now = 0.0
        monkeypatch.setattr(secret_readers, "run", self.run)

    def run(self, command: Any, seconds: float) -> Read:
        """Runs a command."""
        assert command == COMMAND.where
        assert seconds > 0
        self.asked += 1
        key = self.key
        self.busy.set()
        assert self.open.wait(60)
        if isinstance(key, Exception):
            raise key
        return Read(key)

    def source(self, timeout: float = 30, reference: Reference = COMMAND) -> SecretSource:
        """A source of this vault's key, with a clock that stands still."""
        return SecretSource(reference, key_value, lambda: "", timeout, lambda: self.now)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Vault:
    """A vault that is open."""
    return Vault(monkeypatch)


class Files:
    """A file that holds a key."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "key"
        self.count = 0
        self.write(OLD)

    def write(self, text: str) -> None:
        """Puts another file in its place, as mounted secrets are changed."""
        self.count += 1
        other = self.path.with_name(f"key-{self.count}")
        other.write_text(text)
        other.replace(self.path)

    def source(self) -> SecretSource:
        """A source of the file's key."""
        return SecretSource(from_file(self.path), key_value, lambda: "", 30)


@pytest.fixture
def file(tmp_path: Path) -> Files:
    """A file with the old key."""
    return Files(tmp_path)


def test_it_is_read_once_and_kept(vault: Vault) -> None:
    """And it is masked from then on, wherever it appears."""
    source = vault.source()
    before = source.known
    assert before is None
    first = source.value()
    assert source.value() is first
    assert source.known is first
    assert source.value() == Secret(OLD)
    assert vault.asked == 1
    assert OLD not in without_secrets(f"The key is {OLD}.")


@pytest.mark.parametrize("asynchronous", [False, True])
def test_once_for_all_who_wait(vault: Vault, *, asynchronous: bool) -> None:
    """Threads or tasks: one run of the command, and the event loop is not blocked."""
    vault.open.clear()
    source = vault.source()

    async def tasks() -> list[Secret]:
        waiting = [asyncio.ensure_future(source.value_async()) for _ in range(64)]
        await asyncio.to_thread(vault.busy.wait, 60)  # the loop turns while they wait
        assert not any(one.done() for one in waiting)
        vault.open.set()
        return await asyncio.gather(*waiting)

    if asynchronous:
        found = asyncio.run(tasks())
    else:
        with ThreadPoolExecutor(64) as threads:
            waiting = [threads.submit(source.value) for _ in range(64)]
            assert vault.busy.wait(60)
            vault.open.set()
            found = [one.result() for one in waiting]
    assert found == [Secret(OLD)] * 64
    assert vault.asked == 1


def test_the_wait_is_bounded(vault: Vault) -> None:
    """By `auth_timeout`, or by the time that the call has; the error names the reference."""
    vault.open.clear()
    for source, timeout, name in (
        (vault.source(0.01), None, "auth_timeout=0.01"),
        (vault.source(60), 0.01, " timeout=0.01"),
    ):
        with pytest.raises(CredentialsTimeoutError, match=name) as caught:
            source.value(timeout)
        assert str(COMMAND) in caught.value.problem
        assert "_timeout" in caught.value.remedy or "raise timeout" in caught.value.remedy
    vault.open.set()


def test_what_takes_too_long_is_abandoned(vault: Vault) -> None:
    """The next who asks starts anew, and what comes late takes nobody's place."""
    source = vault.source()
    vault.open.clear()
    late = source._join(source._read)
    assert vault.busy.wait(60)
    vault.now = 31
    vault.key = NEW
    early = source._join(source._read)
    assert early is not late
    assert late.abandoned
    vault.open.set()
    assert early.landing.result(60)[0] == Secret(NEW)
    assert late.landing.result(60)[0] == Secret(NEW) or source.known == Secret(NEW)
    assert source.value() == Secret(NEW)


def test_another_flight_may_have_landed(vault: Vault) -> None:
    """Between a caller's look and the start: nothing is read."""
    source = vault.source()
    source.value()
    assert source._read(Flight(0)) == Secret(OLD)
    assert vault.asked == 1


class TestWhenItIsRefused:
    @pytest.mark.parametrize("asynchronous", [False, True])
    def test_it_is_read_again_once(self, vault: Vault, *, asynchronous: bool) -> None:
        """For all whom the service has refused with the old one."""
        source = vault.source()
        used = source.value()
        vault.key = NEW

        async def tasks() -> list[bool]:
            return await asyncio.gather(*(source.renewed_async(used) for _ in range(64)))

        if asynchronous:
            found = asyncio.run(tasks())
        else:
            with ThreadPoolExecutor(64) as threads:
                found = list(threads.map(lambda _: source.renewed(used), range(64)))
        assert all(found)
        assert source.value() == Secret(NEW)
        assert vault.asked == 2

    async def test_the_same_is_no_other(self, vault: Vault) -> None:
        """Whoever is refused in the next second is not worth another look."""
        source = vault.source()
        used = source.value()
        assert not source.renewed(used)
        assert not source.renewed(used)
        assert not await source.renewed_async(used)
        assert vault.asked == 2
        vault.now += secret_source._PAUSE
        vault.key = NEW
        assert await source.renewed_async(used)
        assert vault.asked == 3

    async def test_it_cannot_be_read_again(
        self, vault: Vault, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The caller hears of the refusal, the log of the reason; the old one is kept."""
        source = vault.source()
        used = source.value()
        vault.key = SecretReferenceError("The vault is locked.")
        assert not source.renewed(used)
        vault.now += secret_source._PAUSE
        assert not await source.renewed_async(used)
        assert source.value() == used
        assert caplog.text.count("The vault is locked.") == 2

    async def test_it_is_not_read_in_time(
        self, vault: Vault, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same."""
        source = vault.source()
        used = source.value()
        vault.open.clear()
        vault.key = NEW
        assert not source.renewed(used, 0.01)
        assert not await source.renewed_async(used, 0.01)
        vault.open.set()
        assert caplog.text.count("timeout=0.01") == 2
        assert source.value() == Secret(NEW)


class TestAFile:
    def test_a_change_is_noticed(self, file: Files) -> None:
        """At the next call; nobody has to be refused."""
        source = file.source()
        assert source.value() == Secret(OLD)
        file.write(NEW)
        assert source.value() == Secret(NEW)
        first = source.value()
        file.write(f"{NEW}\n")
        assert source.value() is first  # the same key: the same object

    def test_one_that_is_gone_is_about_to_come(self, file: Files) -> None:
        """The key stays in use meanwhile."""
        source = file.source()
        assert source.value() == Secret(OLD)
        file.path.unlink()
        assert source.value() == Secret(OLD)
        assert not source.renewed(Secret(OLD))
        assert source.value() == Secret(OLD)
        file.write(NEW)
        assert source.value() == Secret(NEW)

    @pytest.mark.parametrize("content", ["", "a key with spaces"])
    def test_one_that_holds_no_key_is_about_to_be_written(
        self, content: str, file: Files, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The same; the log tells it once."""
        source = file.source()
        assert source.value() == Secret(OLD)
        file.write(content)
        for _ in range(3):
            assert source.value() == Secret(OLD)
        assert caplog.text.count("cannot be read again") == 1
        file.write(NEW)
        assert source.value() == Secret(NEW)

    def test_one_that_was_never_there(self, file: Files) -> None:
        """Is an error, until it is there."""
        file.path.unlink()
        source = file.source()
        with pytest.raises(SecretReferenceError, match="No such file"):
            source.value()
        file.write(NEW)
        assert source.value() == Secret(NEW)


class TestAVariable:
    def test_it_is_read_anew(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """At each use; nobody waits."""
        source = SecretSource(from_env("MY_KEY"), key_value, lambda: "", 30)
        with pytest.raises(SecretReferenceError, match="MY_KEY") as caught:
            source.value()
        assert caught.value.remedy.startswith("export MY_KEY")
        monkeypatch.setenv("MY_KEY", f" {OLD} ")
        assert source.value() is source.value()
        assert source.value() == Secret(OLD)
        assert not source.renewed(Secret(OLD))
        monkeypatch.delenv("MY_KEY")
        assert not source.renewed(Secret(OLD))
        monkeypatch.setenv("MY_KEY", NEW)
        assert source.renewed(Secret(OLD))
        assert source.value() == Secret(NEW)

    def test_it_holds_no_key(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error names the reference and not what the variable holds."""
        monkeypatch.setenv("MY_KEY", "no key of any kind")
        source = SecretSource(from_env("MY_KEY"), key_value, lambda: "", 30)
        with pytest.raises(SecretReferenceError, match="MY_KEY") as caught:
            source.value()
        assert "no key of any kind" not in str(caught.value)
        monkeypatch.setenv("MY_KEY", "")
        with pytest.raises(SecretReferenceError, match="not set"):
            source.value()


def test_what_is_empty_is_no_secret() -> None:
    """Whatever gives it."""
    source = SecretSource(
        from_secret_manager("projects/p/secrets/s/versions/1"), key_value, lambda: " ", 30
    )
    with pytest.raises(SecretReferenceError, match="empty"):
        source.value()


@pytest.mark.parametrize("fails", [RuntimeError(f"with {OLD}"), KeyboardInterrupt()])
def test_whatever_goes_wrong_is_told(fails: BaseException) -> None:
    """As an error of ours, which names the reference."""

    def fetch() -> str:
        raise fails

    held = Secret(OLD)
    reference = from_secret_manager("projects/p/secrets/s/versions/1")
    with pytest.raises(SecretReferenceError, match="from_secret_manager") as caught:
        SecretSource(reference, key_value, fetch, 30).value()
    assert type(fails).__name__ in caught.value.problem
    assert held.get_secret_value() not in str(caught.value)


def test_no_thread_can_be_started(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the limit."""

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(SecretReferenceError, match="thread") as caught:
        vault.source().value()
    assert "ulimit -u" in caught.value.remedy


def test_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is asked for the service and the user."""
    monkeypatch.setattr(secret_readers, "read_keyring", lambda *names: Read("-".join(names)))
    source = SecretSource(from_keyring("gemini", "me"), key_value, lambda: "", 30)
    assert source.value() == Secret("gemini-me")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
class TestAFork:
    def test_what_is_kept_and_what_is_started_anew(self, vault: Vault) -> None:
        """What was read stays; who was reading is with the parent."""
        source = vault.source()
        vault.open.clear()
        source._join(source._read)
        assert vault.busy.wait(60)
        with source._lock:
            _start_all_anew()
        vault.open.set()
        assert source.value() == Secret(OLD)
        assert vault.asked == 2

    def test_a_child_runs_the_command_itself(self, tmp_path: Path) -> None:
        """While its parent does: neither waits for the other."""
        ready = tmp_path / "ready"
        code = f"import os, sys; open({str(ready)!r} + str(os.getppid()), 'w'); print('{OLD}')"
        source = SecretSource(
            from_command([sys.executable, "-S", "-c", code]), key_value, lambda: "", 60
        )
        assert source.value() == Secret(OLD)
        child = os.fork()
        if child == 0:  # pragma: no cover -- it is not measured there
            status = 1
            try:
                same = source.value() == Secret(OLD) and not source.renewed(Secret(OLD))
                status = 0 if same and os.path.exists(f"{ready}{os.getpid()}") else 1  # noqa: PTH110 -- a name
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert (tmp_path / f"ready{os.getpid()}").exists()


def test_the_log_is_the_secrets(vault: Vault, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever wants to hear of it knows where."""
    source: SecretSource = vault.source()
    used = source.value()
    vault.key = RuntimeError("locked")
    with caplog.at_level(logging.WARNING, "genai_config.secrets"):
        assert not source.renewed(used)
    assert {record.name for record in caplog.records} == {"genai_config.secrets"}
