"""The programs in docs/examples/ run, and the server sees of them what they are there to show."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import safe_configure
from genai_config.exceptions import APIKeyRequiredError
from genai_config.testing import assert_auth, isolated, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def here() -> Iterator[GeminiServer]:
    """A server that this process is pointed at."""
    with isolated(), serving() as server:
        yield server


class TestTenants:
    @pytest.fixture
    def tenants(self) -> Any:
        """The FastAPI application."""
        pytest.importorskip("fastapi", reason="the example needs it")
        spec = importlib.util.spec_from_file_location("tenants", EXAMPLES / "tenants.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # FastAPI looks there for what the annotations name.
        sys.modules["tenants"] = module
        spec.loader.exec_module(module)
        yield module
        del sys.modules["tenants"]

    @staticmethod
    async def get(tenants: Any, path: str, *names: str) -> list[Any]:
        """What each tenant is answered, all at once."""
        httpx = pytest.importorskip("httpx", reason="the example's test needs it")
        transport = httpx.ASGITransport(app=tenants.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            return await asyncio.gather(
                *(
                    client.get(path, params={"question": name}, headers={"x-tenant": name})
                    for name in names
                )
            )

    @pytest.mark.parametrize("path", ["/sync", "/async", "/stream"])
    async def test_each_request_has_its_tenants_key(
        self, path: str, tenants: Any, here: GeminiServer
    ) -> None:
        """Six at once, none answered before all have been asked: no key is another one's."""
        names = [f"tenant-{number}" for number in range(6)]
        tenants.KEYS.update({name: here.api_key(name) for name in names})
        all_asked = threading.Barrier(len(names))

        def answer(request: Any) -> str:
            all_asked.wait(30)
            return f"for {request.contents[0].parts[0].text}"

        here.respond("*", answer)
        answers = await self.get(tenants, path, *names)
        assert [one.text.strip('"') for one in answers] == [f"for {name}" for name in names]
        assert sorted(r.identity or "" for r in here.requests) == names
        assert all(r.headers["x-tenant"] == r.identity for r in here.requests)
        assert len({r.connection for r in here.requests}) == 1

    async def test_a_background_task_has_its_tenants_key(
        self, tenants: Any, here: GeminiServer
    ) -> None:
        """Where the dependency ends before the response, too: as in FastAPI 0.106 to 0.117."""
        tenants.KEYS["one"] = here.api_key("one")
        safe_configure(api_key=here.api_key("of-the-process"))
        await self.get(tenants, "/later", "one")
        newer = "scope" in inspect.signature(tenants.Depends).parameters
        early = {"scope": "function"} if newer else {}
        tenants.app = tenants.FastAPI(dependencies=[tenants.Depends(tenants.tenant, **early)])
        tenants.app.get("/later")(tenants.answer_later)
        await self.get(tenants, "/later", "one")
        assert_auth(here, "api_key", identity="one", count=2)

    async def test_nobody_else_is_served(self, tenants: Any, here: GeminiServer) -> None:
        """A tenant that is not known reaches no model."""
        (answer,) = await self.get(tenants, "/sync", "stranger")
        assert answer.status_code == 401
        assert here.requests == []

    async def test_a_synchronous_dependency_would_not_do(
        self, tenants: Any, here: GeminiServer
    ) -> None:
        """Its scope stays in a thread of its own: without a key of the process, it is an error."""

        def in_a_thread(x_tenant: str = tenants.Header()) -> Iterator[None]:
            with tenants.override(api_key=tenants.KEYS[x_tenant]):
                yield

        tenants.KEYS["one"] = here.api_key("one")
        tenants.app.dependency_overrides[tenants.tenant] = in_a_thread
        safe_configure(auth="api_key")
        with pytest.raises(APIKeyRequiredError):
            await self.get(tenants, "/async", "one")
        assert here.requests == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_workers_have_the_key_of_their_task(here: GeminiServer) -> None:
    """The parent calls, forks two workers, and each task goes by the key of its plan."""
    environ = {
        **os.environ,
        **here.environ(),
        "GEMINI_API_KEY": here.api_key("parent"),
        "FREE_KEY": here.api_key("free"),
        "PAID_KEY": here.api_key("paid"),
    }
    # What points the program at the server; the rest is as a reader runs it.
    program = (
        "import sys, runpy, genai_config\n"
        "genai_config.safe_configure(client_options={'api_endpoint': sys.argv[1]})\n"
        "runpy.run_path(sys.argv[2], run_name='__main__')\n"
    )
    done = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, "-W", "ignore", "-c", program, here.grpc_endpoint, EXAMPLES / "worker.py"],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    hello = "Hello from models/gemini-3.6-flash"
    assert done.stdout.splitlines() == [
        f"parent: {hello}",
        f"free: {hello}",
        f"paid: {hello}",
        f"free: {hello}",
    ], done.stderr
    first, *tasks = here.requests
    assert first.identity == "parent"
    assert sorted(task.identity or "" for task in tasks) == ["free", "free", "paid"]
    assert first.connection not in {task.connection for task in tasks}
    assert_auth(here, "api_key", status="OK")


def test_the_notebook_shows_what_it_does() -> None:
    """Executed by a kernel, it prints and answers what it is stored with."""
    nbclient = pytest.importorskip("nbclient", reason="it executes the notebook")
    pytest.importorskip("ipykernel", reason="it is what nbclient starts")
    nbformat = pytest.importorskip("nbformat", reason="it reads the notebook")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", 4)
    stored = shown(notebook)
    nbclient.NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert shown(notebook) == stored
    assert "api_key tenant" in "".join(stored)


def shown(notebook: Any) -> list[str]:
    """What stands below each cell of code; a kernel sends it in pieces of any length."""
    return [
        "".join(one.text if "text" in one else one.data["text/plain"] for one in cell.outputs)
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
