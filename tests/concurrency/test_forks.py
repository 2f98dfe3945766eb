"""Processes made by other processes: forked, spawned, before, during and after requests."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from genai_config._clients import signatures as clients_signatures
from genai_config._sdk import signatures as sdk_signatures
from genai_config._transport import channels, http
from genai_config._transport import pool as _pool
from genai_config._transport.pool import Pool
from genai_config.exceptions import ConfigurationError
from genai_config.testing._service import methods

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config.testing import GeminiServer

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

forks_while_grpc_works = pytest.mark.skipif(
    not hasattr(os, "fork") or tuple(map(int, grpc.__version__.split(".")[:2])) < (1, 80),
    reason="older gRPC crashes a process that is forked while it is at work",
)

# What the programs have in common. A child that hangs is ended by a signal.
PRELUDE = """
    import asyncio, json, multiprocessing, os, signal, sys, threading
    from concurrent.futures import ProcessPoolExecutor

    import google.generativeai as genai

    from genai_config import safe_configure

    GRPC, REST, SETTINGS = json.loads(sys.argv[1])
    MODELS = [genai.GenerativeModel(name) for name in ("gemini-3.6-flash", "tunedModels/mine")]

    def configure():
        # The models above are to go wherever they are pointed.
        safe_configure(
            client_options={"api_endpoint": GRPC}, existing_models="follow", **SETTINGS
        )

    def point(transport):
        endpoint = REST if transport == "rest" else GRPC
        safe_configure(
            transport=transport,
            tuned_transport=transport,
            client_options={"api_endpoint": endpoint},
        )

    def ask():
        for model in MODELS:
            model.generate_content("hi")

    async def ask_async():
        for model in MODELS:
            await model.generate_content_async("hi")

    def ask_in_every_way():
        for transport in ("grpc", "rest"):
            point(transport)
            ask()
            asyncio.run(ask_async())
        point("grpc")

    def in_a_child(work):
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            try:
                work()
            except BaseException as error:
                print(type(error).__name__, error, file=sys.stderr, flush=True)
                os._exit(2)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)
"""
PER_CHILD = 8  # requests of ask_in_every_way()


def run(program: str, server: GeminiServer, folder: Path) -> Any:
    """What a program prints as JSON; it runs in processes of its own, that end in time."""
    settings = {
        "api_key": server.api_key("mine"),
        "credentials": str(server.external_account_file("workload")),
        "ca_certs": str(server.ca_file),
        "auth_timeout": 10,
    }
    # A file, not -c: spawned processes import it.
    file = folder / "program.py"
    file.write_text(textwrap.dedent(PRELUDE) + textwrap.dedent(program), encoding="utf-8")
    arguments = json.dumps([server.grpc_endpoint, server.rest_endpoint, settings])
    done = subprocess.run(  # noqa: S603 -- the tests' own programs
        [sys.executable, "-W", "ignore", os.fspath(file), arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    sys.stderr.write(done.stderr)  # a child that fails says why
    return json.loads(done.stdout)


@forks
class TestAfterRequests:
    def test_a_child_asks_in_every_way_whatever_its_parent_did(
        self, server: GeminiServer, tmp_path: Path
    ) -> None:
        """The parent has sent nothing, by gRPC, in event loops that are over, and by REST."""
        program = """
            configure()
            codes = [in_a_child(ask_in_every_way)]
            for transport in ("grpc", "rest"):
                point(transport)
                ask()
                codes.append(in_a_child(ask_in_every_way))
                asyncio.run(ask_async())
                codes.append(in_a_child(ask_in_every_way))
            ask_in_every_way()
            print(json.dumps(codes))
        """
        assert run(program, server, tmp_path) == [0] * 5
        assert len(server.requests) == 8 + 6 * PER_CHILD
        assert {request.status for request in server.requests} == {"OK"}

    @forks_while_grpc_works
    def test_a_child_of_a_running_loop(self, server: GeminiServer, tmp_path: Path) -> None:
        """All but awaited gRPC works there; that is an error at once, where it would hang."""
        program = """
            from genai_config.exceptions import ConfigurationError

            def ask_in_the_child():
                ask()
                try:
                    asyncio.run(ask_async())
                except ConfigurationError as error:
                    assert "forked while an event loop" in error.problem
                else:
                    raise AssertionError("gRPC serves two processes with one thread")
                # Nor does a child of the child get any further.
                assert in_a_child(lambda: asyncio.run(ask_async())) == 2
                point("rest")
                ask()
                asyncio.run(ask_async())

            async def main():
                await ask_async()
                code = in_a_child(ask_in_the_child)
                await ask_async()
                return code

            configure()
            print(json.dumps([asyncio.run(main()), in_a_child(ask_in_every_way)]))
        """
        assert run(program, server, tmp_path) == [0, 0]
        assert {request.status for request in server.requests} == {"OK"}

    @forks_while_grpc_works
    def test_a_child_made_while_threads_wait(self, server: GeminiServer, tmp_path: Path) -> None:
        """The child makes its own calls, and the parent its next ones.

        Nothing is said of those that are under way: gRPC waits for all connections in one place,
        which parent and child share, and either may take what was sent to the other.
        """
        program = """
            import contextlib

            def wait(model):
                with contextlib.suppress(Exception):
                    model.generate_content("wait")

            configure()
            ask()
            threads = [threading.Thread(target=wait, args=(model,)) for model in MODELS * 2]
            for thread in threads:
                thread.start()
            MODELS[0].generate_content("are they there")
            codes = [in_a_child(ask_in_every_way) for _ in range(3)]
            MODELS[0].generate_content("release")
            for thread in threads:
                thread.join()
            ask()
            print(json.dumps(codes))
        """
        waiting, release = threading.Semaphore(0), threading.Event()

        def text_of(request: Any) -> str:
            return str(request.contents[0].parts[0].text)

        def answer(request: Any) -> str:
            if text_of(request) == "wait":
                waiting.release()
                release.wait(20)
            elif text_of(request) == "are they there":
                assert all(waiting.acquire(timeout=20) for _ in range(4))
            elif text_of(request) == "release":
                release.set()
            return "hello"

        server.respond("*", answer)
        assert run(program, server, tmp_path) == [0] * 3
        asked = [request for request in server.requests if text_of(request.message) == "hi"]
        assert [request.status for request in asked] == ["OK"] * (2 + 3 * PER_CHILD + 2)


@pytest.mark.parametrize("transport", [pytest.param("grpc", marks=forks_while_grpc_works), "rest"])
@forks
def test_a_child_made_during_a_refresh(
    transport: str, server: GeminiServer, tmp_path: Path
) -> None:
    """It does not wait for the parent's refresh, whose thread it has not: it makes its own."""
    program = f"""
        from requests.adapters import HTTPAdapter

        asking, real = threading.Event(), HTTPAdapter.send

        def send(adapter, request, **options):
            # Not sooner: Python keeps a module locked that is imported during a fork.
            if request.url.endswith("/token"):
                asking.set()
            return real(adapter, request, **options)

        def release():
            MODELS[0].generate_content("release")

        HTTPAdapter.send = send
        configure()
        point({transport!r})
        waiter = threading.Thread(target=ask)
        waiter.start()
        assert asking.wait(10)

        def ask_in_the_child():
            # Still hanging: the child's own request for a token goes out first.
            asking.clear()
            mine = threading.Thread(target=ask)
            mine.start()
            assert asking.wait(10)
            release()
            mine.join()
            ask()

        code = in_a_child(ask_in_the_child)
        waiter.join()
        ask()
        print(json.dumps(code))
    """

    def answer(request: Any) -> str:
        if request.contents[0].parts[0].text == "release":
            server.tokens.release()
        return "hello"

    server.respond("*", answer)
    server.tokens.hang()
    assert run(program, server, tmp_path) == 0
    assert {request.status for request in server.requests} == {"OK"}
    assert server.tokens.count == 2


class TestWorkers:
    @forks
    def test_workers_forked_from_a_configured_parent(
        self, server: GeminiServer, tmp_path: Path
    ) -> None:
        """As under a preforking server: the parent configures, all the workers ask at once."""
        program = """
            configure()
            context = multiprocessing.get_context("fork")
            workers = [context.Process(target=ask_in_every_way, daemon=True) for _ in range(4)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(20)
            print(json.dumps([worker.exitcode for worker in workers]))
        """
        assert run(program, server, tmp_path) == [0] * 4
        assert len(server.requests) == 4 * PER_CHILD
        assert {request.identity for request in server.requests} == {"mine", "workload"}

    def test_a_worker_that_is_spawned(self, server: GeminiServer, tmp_path: Path) -> None:
        """It begins with nothing, and configures itself."""
        program = """
            if __name__ == "__main__":
                context = multiprocessing.get_context("spawn")
                with ProcessPoolExecutor(1, context, initializer=configure) as workers:
                    workers.submit(ask_in_every_way).result()
                print(json.dumps("done"))
        """
        assert run(program, server, tmp_path) == "done"
        assert len(server.requests) == PER_CHILD
        assert {request.identity for request in server.requests} == {"mine", "workload"}


@forks
def test_no_lock_of_a_parents_thread_is_kept(server: GeminiServer, tmp_path: Path) -> None:
    """Whatever lock of the process a thread holds at the fork, the child has it free."""
    program = """
        import contextlib, importlib, pkgutil
        import genai_config

        KINDS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)

        def locks():
            # Of modules, of classes, and of objects that modules hold.
            for module in [m for n, m in sys.modules.items() if n.startswith("genai_config.")]:
                things = list(vars(module).values())
                mine = [t for t in things if getattr(t, "__module__", "") == module.__name__]
                for holder in (module, *mine):
                    for name, value in list(getattr(holder, "__dict__", {}).items()):
                        if isinstance(value, KINDS):
                            yield f"{module.__name__} {name}", value

        for found in pkgutil.walk_packages(genai_config.__path__, "genai_config."):
            if not found.name.endswith("__main__"):
                with contextlib.suppress(ImportError):  # of an extra that is not installed
                    importlib.import_module(found.name)
        taken, over = threading.Event(), threading.Event()

        def take():
            for name, lock in locks():
                lock.acquire()
            taken.set()
            over.wait()

        threading.Thread(target=take, daemon=True).start()
        taken.wait()

        def look():
            held = [name for name, lock in locks() if not lock.acquire(blocking=False)]
            assert not held, held

        names = [name for name, lock in locks()]
        print(json.dumps([names, in_a_child(look)]))
    """
    names, status = run(program, server, tmp_path)
    assert len(names) >= 5
    assert status == 0


class TestInThisProcess:
    """What happens around a fork, step by step."""

    @pytest.mark.parametrize(
        ("module", "holder", "name"),
        [
            (http, http.Cancellation, "_hands"),
            (sdk_signatures, sdk_signatures, "_lock"),
            (clients_signatures, clients_signatures, "_lock"),
            (methods, methods, "_READING"),
        ],
    )
    def test_a_lock_that_is_held(self, module: Any, holder: Any, name: str) -> None:
        """There is another one, that is free."""
        before = getattr(holder, name)
        with before:
            module._renew_lock()
            after = getattr(holder, name)
            assert after is not before
            assert not after.locked()

    def test_what_was_inherited_is_kept_and_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """To destroy a parent's asyncio channel would crash the child."""
        monkeypatch.setattr(_pool, "_INHERITED", [])
        pool: Pool[object] = Pool(2)
        thing = pool.get("a", object)
        _pool._start_anew()
        assert pool.get("a", object) is not thing
        kept = [place for things in _pool._INHERITED for place in things.values()]
        assert [place.thing for place in kept if place.made].count(thing) == 1

    async def test_a_child_of_a_running_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It serves no loop; a child of a loop that is over, or of none, serves them all."""
        monkeypatch.setattr(channels, "_forked_off_a_loop", False)
        mine = channels.loop_connections()
        closed = asyncio.new_event_loop()
        closed.close()
        channels._LOOPS[closed] = channels.Connections()
        channels._before_fork()
        assert closed not in channels._LOOPS
        channels._before_fork()
        assert channels.loop_connections() is mine
        channels._LOOPS.clear()
        channels._after_fork_in_child()
        assert channels.loop_connections() is not mine
        channels._after_fork_in_child()
        with pytest.raises(ConfigurationError, match="forked while an event loop"):
            channels.loop_connections()
