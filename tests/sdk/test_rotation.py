"""A key that is rotated needs no restart and fails no call: on every way a request is sent."""

from __future__ import annotations

import asyncio
import json
import operator
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import google.generativeai as genai
import openai
import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.generativeai import client as client_lib

import genai_config.openai as ours
from genai_config import from_command, from_file, get_config, safe_configure
from genai_config._auth import secret_readers
from genai_config._auth.secret_readers import Read
from genai_config._clients.link import attached_to, http_options
from genai_config._clients.resolve import resolve
from genai_config._proxy.server import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from genai_config._settings.references import Reference
    from genai_config.testing import GeminiServer

MODEL = "gemini-3.6-flash"
CHAT: Any = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
COMMAND = from_command(["tell-the-secret"])


class Vault:
    """What the command prints, and how often it was run."""

    def __init__(self) -> None:
        self.secret = ""
        self.asked = 0

    def run(self, command: Any, seconds: float) -> Read:
        """Runs the command."""
        del command, seconds
        self.asked += 1
        return Read(self.secret)


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> Vault:
    """A password manager's command."""
    made = Vault()
    monkeypatch.setattr(secret_readers, "run", made.run)
    return made


def sync(model: genai.GenerativeModel) -> str:
    """One answer."""
    return str(model.generate_content("hi").text)


def sync_stream(model: genai.GenerativeModel) -> str:
    """Several answers."""
    return "".join(answer.text for answer in model.generate_content("hi", stream=True))


def awaited(model: genai.GenerativeModel) -> str:
    """One answer, awaited."""

    async def ask() -> str:
        return str((await model.generate_content_async("hi")).text)

    return asyncio.run(ask())


def awaited_stream(model: genai.GenerativeModel) -> str:
    """Several answers, awaited."""

    async def ask() -> str:
        answers = await model.generate_content_async("hi", stream=True)
        return "".join([answer.text async for answer in answers])

    return asyncio.run(ask())


def configure(server: GeminiServer, key: Reference, transport: str = "grpc") -> None:
    """The server, with a key that is referred to."""
    safe_configure(
        api_key=key,
        transport="rest" if transport == "rest" else "grpc",
        ca_certs=server.ca_file,
        client_options={
            "api_endpoint": server.rest_endpoint if transport == "rest" else server.grpc_endpoint
        },
    )


_LOOKED_AT: WeakKeyDictionary[GeminiServer, int] = WeakKeyDictionary()


def seen(server: GeminiServer) -> list[str | None]:
    """Who has asked since the last look."""
    identities = [request.identity for request in server.requests]
    before = _LOOKED_AT.get(server, 0)
    _LOOKED_AT[server] = len(identities)
    return identities[before:]


def rotate(server: GeminiServer, vault: Vault, old: str, new: str) -> None:
    """A new key is put in place, and the old one revoked."""
    vault.secret = server.api_key(new)
    if old:
        server.revoke(old)
    seen(server)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
@pytest.mark.parametrize("ask", [sync, sync_stream, awaited, awaited_stream])
def test_the_sdk(
    ask: Callable[[genai.GenerativeModel], str],
    transport: str,
    server: GeminiServer,
    vault: Vault,
) -> None:
    """One request is refused, the command is run once more, and the answer is there."""
    rotate(server, vault, "", "first")
    configure(server, COMMAND, transport)
    model = genai.GenerativeModel(MODEL)
    assert ask(model)
    assert seen(server) == ["first"]
    rotate(server, vault, "first", "second")
    assert ask(model)
    assert seen(server) == ["first", "second"]
    assert ask(model)
    assert seen(server) == ["second"]
    assert vault.asked == 2


@pytest.mark.parametrize("kind", ["standard", "auth"])
@pytest.mark.parametrize(
    "state", ["expired", "leaked", "suspended", "unsupported", "flagged", "blocked"]
)
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_how_the_service_refuses(
    kind: Any, state: Any, transport: str, server: GeminiServer, vault: Vault
) -> None:
    """Whatever says that the key is of no use; what a key may not do, it may not do."""
    vault.secret = server.api_key("bad", kind=kind, state=state)
    configure(server, COMMAND, transport)
    model = genai.GenerativeModel(MODEL)
    with pytest.raises(GoogleAPICallError) as caught:
        sync(model)
    again = state != "blocked"
    assert vault.asked == (2 if again else 1)
    assert vault.secret not in str(caught.value)
    configure(server, from_command(["tell-another"]), transport)
    asked = vault.asked
    rotating = genai.GenerativeModel(MODEL)
    original = vault.run

    def run(command: Any, seconds: float) -> Read:
        found = original(command, seconds)
        vault.secret = good  # whoever asks again, gets it
        return found

    good = server.api_key("good")
    secret_readers.run = run  # undone by the fixture
    if again:
        assert sync(rotating)
        assert vault.asked == asked + 2
    else:
        with pytest.raises(GoogleAPICallError):
            sync(rotating)
        assert vault.asked == asked + 1


@pytest.mark.parametrize("kind", ["standard", "auth"])
def test_openais_clients(kind: Any, server: GeminiServer, vault: Vault) -> None:
    """Sync and async, streams too."""
    vault.secret = server.api_key("first", kind=kind)
    configure(server, COMMAND, "rest")
    with ours.client(backend="gemini", max_retries=0) as client:
        assert client.chat.completions.create(**CHAT).choices
        rotate(server, vault, "first", "second")
        assert client.chat.completions.create(**CHAT).choices
        assert seen(server) == ["first", "second"]
        rotate(server, vault, "second", "third")
        assert list(client.chat.completions.create(stream=True, **CHAT))
        assert seen(server) == ["second", "third"]
    rotate(server, vault, "third", "fourth")

    async def ask() -> None:
        async with ours.async_client(backend="gemini", max_retries=0) as client:
            assert (await client.chat.completions.create(**CHAT)).choices
            rotate(server, vault, "fourth", "fifth")
            assert (await client.chat.completions.create(**CHAT)).choices

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, ask()).result()
    assert seen(server) == ["fourth", "fifth"]
    assert vault.asked == 5


def test_an_auth_key_that_is_no_bearer(server: GeminiServer, vault: Vault) -> None:
    """It is read again, and then sent as it is taken."""
    vault.secret = server.api_key("mine", kind="auth", state="no_bearer")
    configure(server, COMMAND, "rest")
    with ours.client(backend="gemini", max_retries=0) as client:
        for _ in range(2):
            assert client.chat.completions.create(**CHAT).choices
    assert vault.asked == 2

    async def ask() -> None:
        async with ours.async_client(backend="gemini", max_retries=0) as client:
            assert (await client.chat.completions.create(**CHAT)).choices

    asyncio.run(ask())


def test_what_is_said_of_a_refused_key(server: GeminiServer, vault: Vault) -> None:
    """By the kind of the key that was read."""
    vault.secret = server.api_key("mine", kind="auth", state="unsupported")
    configure(server, COMMAND, "rest")
    with (
        ours.client(backend="gemini", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError, match="auth key"),
    ):
        client.chat.completions.create(**CHAT)


def test_google_genais_client(server: GeminiServer, vault: Vault) -> None:
    """Its own retries have no part in it."""
    pytest.importorskip("google.genai", reason="the SDK's successor is not installed")
    from genai_config import google_genai

    vault.secret = server.api_key("first")
    configure(server, COMMAND, "rest")
    client = google_genai.client(backend="gemini")
    assert client.models.generate_content(model=MODEL, contents="hi").text
    rotate(server, vault, "first", "second")
    assert client.models.generate_content(model=MODEL, contents="hi").text
    assert seen(server) == ["first", "second"]


@contextmanager
def proxied() -> Iterator[str]:
    """A proxy to the Gemini API."""
    config = get_config()
    target = resolve(config, backend="gemini")
    proxy = Proxy(target, lambda: attached_to(config, target), http_options(config), key="k" * 43)
    thread = threading.Thread(target=proxy.run)
    thread.start()
    yield proxy.url
    proxy.stop()
    thread.join()


def test_the_proxy(server: GeminiServer, vault: Vault) -> None:
    """Its clients have a key that never changes; a refusal that stays is told whole."""
    vault.secret = server.api_key("first")
    configure(server, COMMAND, "rest")
    with (
        proxied() as url,
        openai.OpenAI(api_key="k" * 43, base_url=url, max_retries=0) as client,
    ):
        assert client.chat.completions.create(**CHAT).choices
        rotate(server, vault, "first", "second")
        assert client.chat.completions.create(**CHAT).choices
        assert seen(server) == ["first", "second"]
        server.revoke("second")
        with pytest.raises(openai.BadRequestError, match="does not know the key"):
            client.chat.completions.create(**CHAT)


def test_an_upload(
    server: GeminiServer, vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun again; no piece of a file is sent twice."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)
    vault.secret = server.api_key("first")
    configure(server, COMMAND)
    file = tmp_path / "file.txt"
    file.write_bytes(b"x" * 100_000)
    genai.upload_file(file)
    rotate(server, vault, "first", "second")
    assert genai.upload_file(file).size_bytes == 100_000
    assert {"first", "second"} == {*seen(server)}


class TestCredentials:
    def test_a_key_file_that_was_deleted(self, server: GeminiServer, vault: Vault) -> None:
        """A service account signs for itself: the service refuses, and the file is read again."""
        vault.secret = json.dumps(server.service_account_info("first"))
        safe_configure(
            credentials=COMMAND,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        model = genai.GenerativeModel(MODEL)
        assert sync(model)
        vault.secret = json.dumps(server.service_account_info("second"))
        server.revoke("first")
        seen(server)
        assert sync(model)
        assert [str(one).partition("@")[0] for one in seen(server)] == ["first", "second"]
        assert vault.asked == 2

    def test_a_login_that_was_revoked(self, server: GeminiServer, vault: Vault) -> None:
        """The token endpoint refuses it: another is read, and asked with at once."""
        vault.secret = server.external_account_file("first").read_text()
        safe_configure(
            credentials=COMMAND,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        model = genai.GenerativeModel(MODEL)
        assert sync(model)
        vault.secret = server.external_account_file("second").read_text()
        server.revoke("first")
        server.expire_tokens()
        assert sync(model)
        assert server.requests[-1].identity == "second"

    def test_one_that_was_revoked_before_it_was_used(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Likewise, before anything is sent."""
        logins = [server.external_account_file(name).read_text() for name in ("first", "second")]
        server.revoke("first")
        monkeypatch.setattr(secret_readers, "run", lambda *_: Read(logins.pop(0)))
        safe_configure(
            credentials=COMMAND,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        assert sync(genai.GenerativeModel(MODEL))
        assert seen(server) == ["second"]

    def test_no_other_is_there(self, server: GeminiServer, vault: Vault) -> None:
        """The error is that of the one that is."""
        vault.secret = server.external_account_file("first").read_text()
        server.revoke("first")
        safe_configure(
            credentials=COMMAND,
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        from genai_config.exceptions import TokenRefreshError

        with pytest.raises(TokenRefreshError, match="from_command"):
            sync(genai.GenerativeModel(MODEL))

    def test_what_is_no_key_file(self, server: GeminiServer, vault: Vault) -> None:
        """The error names the reference, and shows nothing of what was read."""
        from genai_config.exceptions import InvalidCredentialsError

        for secret in ("made-up-secret", "[]", '{"type": "made-up"}'):
            vault.secret = secret
            safe_configure(credentials=from_command(["tell", str(len(secret))]))
            with pytest.raises(InvalidCredentialsError, match="from_command") as caught:
                sync(genai.GenerativeModel(MODEL))
            assert "made-up-secret" not in str(caught.value)
        assert server.requests == []

    def test_a_variable(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """And a file: what they hold at the call counts."""
        from genai_config import from_env

        safe_configure(
            credentials=from_env("MY_CREDENTIALS"),
            ca_certs=server.ca_file,
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        model = genai.GenerativeModel(MODEL)
        for name in ("first", "second"):
            monkeypatch.setenv("MY_CREDENTIALS", json.dumps(server.service_account_info(name)))
            assert sync(model)
            assert str(server.requests[-1].identity).startswith(name)
        file = tmp_path / "key.json"
        safe_configure(credentials=from_file(file), existing_models="follow")
        for name in ("third", "fourth"):
            file.write_text(json.dumps(server.service_account_info(name)))
            assert sync(model)
            assert str(server.requests[-1].identity).startswith(name)


class Load:
    """64 threads and 64 tasks that ask all the time.

    Args:
        model: What they ask.
    """

    def __init__(self, model: genai.GenerativeModel) -> None:
        self._model = model
        self._counts = [0] * 128
        self._answered = threading.Condition()
        self._stop = threading.Event()
        self._asking: list[Future[None]] = []

    def _count(self, number: int) -> None:
        with self._answered:
            self._counts[number] += 1
            self._answered.notify_all()

    def _thread(self, number: int) -> None:
        while not self._stop.is_set():
            assert sync(self._model)
            self._count(number)

    async def _task(self, number: int) -> None:
        while not self._stop.is_set():
            assert (await self._model.generate_content_async("hi")).text
            self._count(number)

    async def _tasks(self) -> None:
        await asyncio.gather(*map(self._task, range(64, 128)))

    @contextmanager
    def asking(self) -> Iterator[None]:
        """While they ask."""
        with ThreadPoolExecutor(65) as threads:
            self._asking = [threads.submit(self._thread, number) for number in range(64)]
            self._asking.append(threads.submit(asyncio.run, self._tasks()))
            try:
                yield
            finally:
                self._stop.set()
        for one in self._asking:
            one.result()

    def wait(self) -> None:
        """Until each has begun a call after now, and it has been answered; or one has failed."""
        with self._answered:
            wanted = [count + 2 for count in self._counts]
            assert self._answered.wait_for(
                lambda: (
                    any(one.done() for one in self._asking)
                    or all(map(operator.ge, self._counts, wanted))
                ),
                120,
            )


@pytest.mark.skipif(os.name != "posix", reason="mounted secrets are links")
def test_a_mounted_key_under_load(server: GeminiServer, tmp_path: Path) -> None:
    """A link is swapped five times, and the old key revoked at once: no failed call."""
    link = tmp_path / "key"

    def mount(number: int) -> None:
        (tmp_path / f"key-{number}").write_text(server.api_key(f"load-{number}"))
        (tmp_path / "next").symlink_to(tmp_path / f"key-{number}")
        (tmp_path / "next").replace(link)
        if number:
            server.revoke(f"load-{number - 1}")

    mount(0)
    configure(server, from_file(link))
    load = Load(genai.GenerativeModel(MODEL))
    with load.asking():
        for number in range(1, 6):
            load.wait()
            mount(number)
        load.wait()
    assert server.requests[-1].identity == "load-5"
