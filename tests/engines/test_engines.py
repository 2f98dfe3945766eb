"""What `bind` promises, on each engine, with its real workers and the local server."""

from __future__ import annotations

import functools
import os
import threading
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import recording
import worker_side

from genai_config import bind, from_file, override, safe_configure
from genai_config.exceptions import SecretPicklingError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genai_config.testing import GeminiServer

# An engine takes its time to start, on a busy machine more; and it has warnings of its own.
pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]


class Keys:
    """Files with keys, as they are mounted into a container, that the server knows."""

    def __init__(self, server: GeminiServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.made: list[str] = []

    def file(self, name: str) -> Path:
        """Where the key of this name is."""
        path = self._folder / f"{name}.key"
        if not path.exists():
            self.replace(name)
        return path

    def replace(self, name: str) -> str:
        """Puts a new key into the file, in one step, as Kubernetes does; returns its name."""
        called = f"{name}-{len(self.made)}"
        self.made.append(self._server.api_key(called))
        new = self._folder / "new"
        new.write_text(f"{self.made[-1]}\n", encoding="utf-8")
        new.replace(self._folder / f"{name}.key")
        return called


@pytest.fixture
def keys(server: GeminiServer, tmp_path: Path) -> Keys:
    """Keys in files."""
    return Keys(server, tmp_path)


@pytest.fixture
def own(server: GeminiServer, keys: Keys) -> None:
    """This program's own configuration."""
    safe_configure(
        api_key=from_file(keys.file("own")),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
        timeout=60,
    )
    server.respond("*", lambda request: f"re: {request.contents[0].parts[0].text}")


def asked(server: GeminiServer) -> list[tuple[str, str]]:
    """What each request asked, and whose key it had."""
    return [
        (request.message.contents[0].parts[0].text, str(request.identity).partition("-")[0])
        for request in server.requests
        if request.status == "OK"
    ]


@pytest.mark.usefixtures("own")
@pytest.mark.column("bind")
class TestBind:
    def test_the_configuration_travels(self, engine: Any, server: GeminiServer) -> None:
        """Key, address and settings are in force in workers that know of none."""
        questions = [f"question {number}" for number in range(8)]
        assert engine.map(bind(worker_side.ask), questions) == [f"re: {q}" for q in questions]
        assert Counter(asked(server)) == Counter((question, "own") for question in questions)

    def test_it_is_in_force_for_the_call_alone(self, engine: Any, started: Any) -> None:
        """Afterwards the worker has the configuration that it had before."""
        if started[0].name == "threads":
            safe_configure(timeout=17)
            assert engine.map(bind(worker_side.timeout), "1234") == [17.0] * 4
            return
        before = engine.map(worker_side.configured, "1234")
        with override(timeout=17):
            bound = bind(worker_side.timeout)
        assert engine.map(bound, "1234") == [17.0] * 4
        assert engine.map(worker_side.configured, "1234") == before == [False] * 4
        assert engine.map(worker_side.timeout, "1234") == [None] * 4


@pytest.mark.usefixtures("own")
@pytest.mark.column("scope")
def test_each_call_has_the_scope_it_was_bound_in(
    engine: Any, server: GeminiServer, keys: Keys
) -> None:
    """Two tenants and the program itself, one after the other in the same workers."""
    tenants = {}
    for name in ("lab", "work"):
        with override(api_key=from_file(keys.file(name)), default_metadata=[("x-tenant", name)]):
            tenants[name] = bind(worker_side.ask)
    tenants["own"] = bind(worker_side.ask)
    for round_ in range(3):
        for name, function in tenants.items():
            engine.map(function, [f"{name} {round_} {number}" for number in range(4)])
    assert len(asked(server)) == 36
    assert {(question.partition(" ")[0], whose) for question, whose in asked(server)} == {
        (name, name) for name in tenants
    }
    assert {(r.headers.get("x-tenant", "own"), str(r.identity)[:3]) for r in server.requests} == {
        (name, name[:3]) for name in tenants
    }


@pytest.mark.usefixtures("own")
@pytest.mark.column("secret never on the wire")
class TestWire:
    def test_no_secret_passes(
        self, engine: Any, server: GeminiServer, keys: Keys, started: Any
    ) -> None:
        """Neither a key nor a token nor a private key, not even when a call is refused."""
        if started[0].name == "threads":
            pytest.skip("no wire")
        account = server.service_account_file("account")
        with override(api_key=from_file(keys.file("tenant")), credentials=account):
            engine.map(bind(worker_side.ask), ["of the tenant"] * 3)
            engine.map(bind(worker_side.ask_tuned), ["of the account"] * 3)
            server.revoke(f"tenant-{len(keys.made) - 1}")
            with pytest.raises(Exception, match="API key not valid"):
                engine.map(bind(worker_side.ask_and_fail), ["refused"])
        tokens = [*server._service.registry._grants]
        private = server.service_account_info()["private_key"].splitlines()[3]
        marker = f"a text that passes {os.urandom(6).hex()}"
        assert engine.map(worker_side.length, [marker]) == [len(marker)]
        wire = engine.wire()
        # What is to be seen is seen.
        assert any(form in wire for form in recording.forms(marker))
        assert any(form in wire for form in recording.forms("tenant.key"))
        assert tokens
        for secret in (*keys.made, *tokens, private):
            assert not any(form in wire for form in recording.forms(secret))

    def test_a_literal_key_is_refused(
        self, engine: Any, server: GeminiServer, started: Any
    ) -> None:
        """Before anything is sent, with what to write instead."""
        if started[0].name == "threads":
            pytest.skip("no wire")
        literal = server.api_key("literal")
        with override(api_key=literal), pytest.raises(Exception) as caught:  # noqa: PT011 -- some engines wrap it
            engine.map(bind(worker_side.ask), ["hi"])
        error: BaseException | None = caught.value
        while error is not None and not isinstance(error, SecretPicklingError):
            error = error.__cause__ or error.__context__
        assert error is not None
        assert "from_file(" in error.remedy
        assert asked(server) == []
        assert not any(form in engine.wire() for form in recording.forms(literal))


@pytest.mark.usefixtures("own")
@pytest.mark.column("rotation")
def test_a_key_that_is_replaced_fails_no_call(
    engine: Any, server: GeminiServer, keys: Keys
) -> None:
    """While tasks run, the file gets a new key and the old one is revoked, three times."""
    questions = [f"question {number}" for number in range(48)]
    valid = ["own-0"]
    rotations = [12, 24, 36]
    lock = threading.Lock()

    def answer(request: Any) -> str:
        with lock:
            if rotations and len(server.requests) >= rotations[0]:
                del rotations[0]
                valid.append(keys.replace("own"))
                server.revoke(valid[-2])
        return f"re: {request.contents[0].parts[0].text}"

    server.respond("*", answer)
    assert engine.map(bind(worker_side.ask), questions) == [f"re: {q}" for q in questions]
    assert sorted(question for question, _ in asked(server)) == sorted(questions)
    assert len(valid) == 4
    used = {request.identity for request in server.requests if request.status == "OK"}
    assert {valid[0], valid[-1]} <= used <= {*valid}


@pytest.mark.usefixtures("own", "replaces")
@pytest.mark.column("worker killed")
def test_a_worker_that_is_killed_loses_nothing(
    engine: Any, server: GeminiServer, tmp_path: Path
) -> None:
    """Each question is answered; only what the dead worker had asked is asked again."""
    die = f"die {tmp_path / 'dead'}"
    questions = [*(f"question {number}" for number in range(16)), die]
    answers = engine.map(bind(worker_side.ask_or_die), questions)
    assert answers == [f"re: {question}" for question in questions]
    assert (tmp_path / "dead").exists()
    counted = Counter(question for question, _ in asked(server))
    by_the_dead = next(r.connection for r in server.requests if _text(r) == die)
    lost = {_text(r) for r in server.requests if r.connection == by_the_dead}
    assert counted[die] == 2
    assert {question for question, times in counted.items() if times > 1} <= lost
    assert max(counted.values()) == 2


@pytest.mark.usefixtures("own", "environment")
def test_each_worker_fetches_a_token_for_each_lifetime(server: GeminiServer) -> None:
    """Two workers for three lifetimes of 2 s; `GENAI_CONFIG_HEAVY`: four for six of 5 s."""
    pytest.importorskip("distributed", reason="distributed could not be installed")
    import on_dask

    workers, lifetime, lifetimes = (4, 5, 6) if os.environ.get("GENAI_CONFIG_HEAVY") else (2, 2, 3)
    server.tokens.lifetime = lifetime
    with closing(on_dask.Dask(workers)) as dask:
        with override(credentials=server.external_account_file()):
            bound = bind(worker_side.ask_tuned_for)
        counts = dask.each(bound, lifetime * lifetimes)
    assert sum(counts) == len(server.requests)
    assert {request.status for request in server.requests} == {"OK"}
    assert len({request.connection for request in server.requests}) == workers
    # A token is renewed when a tenth of its life is left, so there may be one more for each worker.
    assert workers * (lifetimes - 1) <= server.tokens.count <= workers * (lifetimes + 1)
    print(f"{workers} workers, {lifetimes} lifetimes: {server.tokens.count} tokens fetched")  # noqa: T201 -- for the report


def _text(request: Any) -> str:
    text: str = request.message.contents[0].parts[0].text
    return text


@pytest.mark.usefixtures("own")
@pytest.mark.column("bind")
def test_it_costs_little(engine: Any, measured: Callable[[str], None]) -> None:
    """At most 20 µs a call in the worker, after the first: the least of thirty series."""
    measure = functools.partial(worker_side.cost, bind(worker_side.nothing))
    (cost,) = engine.map(measure, ["once"])
    measured(f"{cost * 1e6:.1f}")
    assert cost <= 20e-6
