"""Packages that call `genai.configure()` by themselves, each with its own key beside ours.

They are real and published; the session that installs them runs these tests.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as genai
import pytest

from genai_config import override
from genai_config._models import MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing import GeminiServer

for _package in ("llama_index.llms.gemini", "haystack_integrations", "mem0"):
    pytest.importorskip(_package, reason="`nox -s packages` installs it")

pytestmark = [
    pytest.mark.usefixtures("ours"),
    # The packages' own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

BASE = f"models/{MODEL}"
TUNED = "tunedModels/mine"


class Package(NamedTuple):
    """How one of them is used: from a key and a model's name to what asks once."""

    name: str
    make: Callable[[str, str], Callable[[], object]]


def llama_index(key: str, model: str) -> Callable[[], object]:
    """LlamaIndex: it asks for the model's description when it is made."""
    from llama_index.llms.gemini import Gemini

    llm = Gemini(model=model, api_key=key, max_tokens=100)
    return lambda: llm.complete("hi")


def haystack(key: str, model: str) -> Callable[[], object]:
    """Haystack."""
    from haystack.utils import Secret
    from haystack_integrations.components.generators.google_ai import GoogleAIGeminiGenerator

    generator = GoogleAIGeminiGenerator(model=model, api_key=Secret.from_token(key))
    return lambda: generator.run(parts=["hi"])


def mem0(key: str, model: str) -> Callable[[], object]:
    """mem0's language model."""
    from mem0.configs.llms.base import BaseLlmConfig
    from mem0.llms.gemini import GeminiLLM

    llm = GeminiLLM(BaseLlmConfig(model=model, api_key=key))
    return lambda: llm.generate_response([{"role": "user", "content": "hi"}])


@pytest.fixture(
    params=[
        Package("llama-index-llms-gemini", llama_index),
        Package("google-ai-haystack", haystack),
        Package("mem0ai", mem0),
    ],
    ids=lambda package: package.name,
)
def package(request: pytest.FixtureRequest) -> Package:
    """One of the packages."""
    chosen: Package = request.param
    return chosen


def ask() -> None:
    """A request of this program's own."""
    genai.GenerativeModel(BASE).generate_content("hi")


def identities(server: GeminiServer) -> list[str | None]:
    """Whose the requests for answers were."""
    return [request.identity for request in server.requests if "GenerateContent" in request.method]


@pytest.mark.column("its own key kept")
def test_its_own_key(package: Package, server: GeminiServer) -> None:
    """What it configured stays its own, whoever asks in between."""
    asks = package.make(server.api_key("theirs"), BASE)
    asks()
    ask()
    asks()
    assert identities(server) == ["theirs", "ours", "theirs"]


@pytest.mark.column("ours kept")
def test_our_key(package: Package, server: GeminiServer) -> None:
    """A model that this program holds, and one that it makes later, keep this program's key."""
    held = genai.GenerativeModel(BASE)
    held.generate_content("hi")
    package.make(server.api_key("theirs"), BASE)
    held.generate_content("hi")
    ask()
    assert identities(server) == ["ours"] * 3


@pytest.mark.column("two instances")
def test_two_instances(package: Package, server: GeminiServer) -> None:
    """Each keeps the key it was first used with, as with the bare SDK."""
    first = package.make(server.api_key("first"), BASE)
    first()
    second = package.make(server.api_key("second"), BASE)
    second()
    first()
    second()
    assert identities(server) == ["first", "second", "first", "second"]


@pytest.mark.column("tuned by OAuth")
def test_a_tuned_model(package: Package, server: GeminiServer) -> None:
    """Its requests for a tuned model go by the credentials that are configured."""
    genai.create_tuned_model(BASE, [("a", "b")], id="mine")
    if package.make is llama_index:
        # It takes no tuned model, with the bare SDK either: it reads what they do not have.
        with pytest.raises(AttributeError, match="supported_generation_methods"):
            package.make(server.api_key("theirs"), TUNED)
    else:
        package.make(server.api_key("theirs"), TUNED)()
    assert [request.auth for request in server.requests if request.resource == TUNED][-1] == "oauth"


@pytest.mark.column("scope obeyed")
def test_a_scope(package: Package, server: GeminiServer) -> None:
    """A scope around a call lies on top of what the package holds."""
    asks = package.make(server.api_key("theirs"), BASE)
    asks()
    with override(api_key=server.api_key("tenant")):
        asks()
    asks()
    assert identities(server) == ["theirs", "tenant", "theirs"]


@pytest.mark.column("threads")
def test_threads(package: Package, server: GeminiServer) -> None:
    """Its requests and ours, at once, each with its own key."""
    asks = package.make(server.api_key("theirs"), BASE)
    asks()
    errors: list[Any] = []
    barrier = threading.Barrier(8)

    def run(function: Callable[[], object]) -> None:
        barrier.wait()
        try:
            for _ in range(5):
                function()
        except Exception as error:  # noqa: BLE001 -- told below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in [asks, ask] * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    found = identities(server)
    assert (found.count("theirs"), found.count("ours")) == (21, 20)


@pytest.mark.column("first used elsewhere")
def test_a_model_that_is_first_used_elsewhere(package: Package, server: GeminiServer) -> None:
    """Its model keeps its key when a thread pool, or this program, is the first to use it."""
    for first in ("pool", "program"):
        server.clear()
        model = model_of(package.make(server.api_key("theirs"), BASE))
        if first == "pool":
            with ThreadPoolExecutor(1) as pool:
                pool.submit(model.generate_content, "hi").result()
        else:
            model.generate_content("hi")
        ask()
        assert identities(server) == ["theirs", "ours"]


def model_of(asks: Any) -> Any:
    """The SDK's model that a package's object holds, wherever it has it."""
    held = [cell.cell_contents for cell in asks.__closure__]
    for one in held:
        private = getattr(one, "__pydantic_private__", None) or {}
        for value in [*vars(one).values(), *private.values()]:
            if isinstance(value, genai.GenerativeModel):
                return value
    raise AssertionError(held)
