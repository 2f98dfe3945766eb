"""The fixtures, used as a reader would use them: in test files of their own."""

from __future__ import annotations

import subprocess
import sys
import unittest
from typing import TYPE_CHECKING, Literal

import google.generativeai as genai
import pytest
from google.api_core import exceptions

from genai_config import get_config, openai, override, reset, safe_configure, uninstall
from genai_config.testing import (
    GeminiServer,
    GeminiTestMixin,
    NetworkBlockedError,
    RecordedRequest,
    assert_auth,
    assert_requests,
    isolated,
    serving,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from genai_config.testing import FakeClock, VertexProject

TRANSPORTS: tuple[Literal["rest", "grpc"], ...] = ("rest", "grpc")
MODEL, TUNED = "gemini-3.6-flash", "tunedModels/mine"


def ask(model: str = MODEL) -> str:
    """Code under test."""
    text: str = genai.GenerativeModel(model).generate_content("hi").text
    return text


@pytest.mark.usefixtures("gemini_api_key")
def test_a_key(gemini_server: GeminiServer) -> None:
    """A key in the environment, and nothing else, is what the code under test needs."""
    gemini_server.respond("*", "Hello!")
    assert ask() == "Hello!"
    assert_auth(gemini_server, "api_key", identity="test-key", transport="grpc", count=1)


@pytest.mark.usefixtures("gemini_adc")
def test_adc(gemini_server: GeminiServer) -> None:
    """A tuned model finds the service account."""
    ask(TUNED)
    assert_auth(
        gemini_server,
        "oauth",
        scopes=["https://www.googleapis.com/auth/generative-language.tuning"],
    )


def test_code_that_configures_by_itself(gemini_server: GeminiServer) -> None:
    """A raw configure() in the code under test does not lose the server."""
    genai.configure(api_key=gemini_server.api_key("mine"))
    ask()
    assert_auth(gemini_server, "api_key", identity="mine")


class TestAModelOfAModule:
    """It is made once, at import, and used in one test after the other."""

    model = genai.GenerativeModel(MODEL)

    @pytest.mark.parametrize("key", ["first", "second"])
    @pytest.mark.parametrize(
        "transport",
        [pytest.param(one, marks=pytest.mark.gemini(transport=one)) for one in TRANSPORTS],
    )
    def test_each_test_has_its_server(
        self, gemini_server: GeminiServer, key: str, transport: str
    ) -> None:
        """With the key that it configures there."""
        safe_configure(api_key=gemini_server.api_key(key))
        self.model.generate_content("hi")
        assert_auth(gemini_server, "api_key", identity=key, transport=transport, count=1)

    def test_a_model_keeps_its_key_within_a_test(self, gemini_server: GeminiServer) -> None:
        """As in production: a test finds that a change of the key comes too late."""
        model = genai.GenerativeModel(MODEL)
        for key in ("first", "second"):
            safe_configure(api_key=gemini_server.api_key(key))
            model.generate_content("hi")
        assert_auth(gemini_server, "api_key", identity="first", count=2)

    def test_it_has_its_own_key_again_afterwards(self, server: GeminiServer) -> None:
        """Isolation takes from a program nothing that it holds; one server may follow another."""
        safe_configure(
            api_key=server.api_key("mine"),
            client_options={"api_endpoint": server.endpoint},
            ca_certs=server.ca_file,
        )
        model = genai.GenerativeModel(MODEL)
        model.generate_content("hi")
        with isolated():
            for _ in range(2):
                with serving() as inside:
                    safe_configure(api_key=inside.api_key("theirs"))
                    model.generate_content("hi")
                    assert_auth(inside, "api_key", identity="theirs", count=1)
        safe_configure(api_key=server.api_key("other"))
        model.generate_content("hi")
        assert_auth(server, "api_key", identity="mine", count=2)


@pytest.mark.gemini(transport="rest")
@pytest.mark.usefixtures("gemini_api_key", "gemini_adc")
def test_the_marker_chooses_the_transport(gemini_server: GeminiServer) -> None:
    """Both kinds of models go by REST."""
    ask()
    ask(TUNED)
    assert_requests(gemini_server, transport="rest", count=2)


@pytest.mark.usefixtures("gemini_api_key", "gemini_adc")
def test_code_that_chooses_the_transport(gemini_server: GeminiServer) -> None:
    """The address that is configured takes either."""
    for transport in TRANSPORTS:
        safe_configure(transport=transport)
        ask()
        with override(tuned_transport=transport):
            ask(TUNED)
    assert [(one.transport, one.auth) for one in gemini_server.requests] == [
        ("rest", "api_key"), ("rest", "oauth"), ("grpc", "api_key"), ("grpc", "oauth"),
    ]  # fmt: skip


@pytest.mark.usefixtures("gemini_adc")
def test_code_that_chooses_vertex_ai(gemini_server: GeminiServer) -> None:
    """A tuned model by its endpoint, and base models by `backend`: nothing names the server."""
    safe_configure(
        project="my-project", location="us-central1", tuned_endpoints={TUNED: "1234567890"}
    )
    ask(TUNED)
    with override(backend="vertex"):
        ask()
    place = "projects/my-project/locations/us-central1"
    assert [one.resource for one in gemini_server.requests] == [
        f"{place}/endpoints/1234567890", f"{place}/publishers/google/models/{MODEL}",
    ]  # fmt: skip


@pytest.mark.parametrize("undo", [reset, uninstall])
@pytest.mark.usefixtures("gemini_server", "gemini_api_key")
def test_code_that_undoes_the_configuration(undo: Callable[[], None]) -> None:
    """It asks Google, which a test does not reach; the error says why."""
    undo()
    with pytest.raises(NetworkBlockedError, match=r"reset\(\) or uninstall\(\)"):
        ask()


@pytest.mark.usefixtures("gemini_api_key")
def test_uploads_reach_the_server(gemini_server: GeminiServer, tmp_path: Path) -> None:
    """Although the SDK's upload knows one address alone."""
    path = tmp_path / "a.txt"
    path.write_text("hello", encoding="utf-8")
    assert genai.upload_file(path).name in [file.name for file in genai.list_files()]
    assert_auth(gemini_server, "api_key", identity="test-key")


@pytest.mark.gemini(token_lifetime=60)
def test_tokens_expire_by_the_fake_clock(
    fake_clock: FakeClock, gemini_server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three lifetimes, three tokens, and not one refused."""
    path = gemini_server.external_account_file()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    for _ in range(3):
        ask(TUNED)
        ask(TUNED)
        fake_clock.advance(60)
    assert gemini_server.tokens.count == 3
    assert_auth(gemini_server, "oauth", status="OK", count=6)


@pytest.mark.usefixtures("isolated_config")
def test_isolated_config_alone() -> None:
    """No server is started for it."""
    assert get_config().api_key is None


@pytest.mark.usefixtures("gemini_api_key")
async def test_async_code(gemini_server: GeminiServer) -> None:
    """A test that is a coroutine is isolated as well."""
    await genai.GenerativeModel(MODEL).generate_content_async("hi")
    assert_auth(gemini_server, "api_key", identity="test-key", count=1)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_what_was_asked(gemini_server: GeminiServer, transport: Literal["rest", "grpc"]) -> None:
    """The whole request is there; its text is not shown, as other data of a test may be."""
    safe_configure(api_key=gemini_server.api_key(), transport=transport)
    genai.GenerativeModel(MODEL, system_instruction="Be kind.").generate_content("What time?")
    request = gemini_server.requests[-1]
    assert request.message.contents[0].parts[0].text == "What time?"
    assert request.message.system_instruction.parts[0].text == "Be kind."
    assert "message=<GenerateContentRequest>" in repr(request)
    assert "What time?" not in repr(request)
    with openai.client() as client:
        client.models.list()
    assert "message=None" in repr(gemini_server.requests[-1])


def test_an_assertion_shows_the_requests(gemini_server: GeminiServer) -> None:
    """What was expected, and a table of what there was."""
    with pytest.raises(AssertionError, match="No request was recorded"):
        assert_auth(gemini_server, "oauth")
    genai.configure(api_key=gemini_server.api_key("mine"))
    ask()
    with pytest.raises(AssertionError) as caught:
        assert_auth(gemini_server, "oauth")
    message = str(caught.value)
    assert "1 of 1 requests are not auth='oauth'" in message
    assert "GenerativeService.GenerateContent" in message
    with pytest.raises(AssertionError, match="1 requests were recorded, not 2"):
        assert_requests(gemini_server, 2)
    with pytest.raises(TypeError, match="no field 'who'; it has method"):
        assert_requests(gemini_server, who="me")
    assert_requests(gemini_server.requests, method="GenerativeService.GenerateContent")
    assert isinstance(gemini_server.requests[0], RecordedRequest)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ('transprot="rest"', "*no option 'transprot'; it has models, network, token_lifetime*"),
        ('"rest"', "*by name, not 'rest': @pytest.mark.gemini(transport=*"),
    ],
)
def test_what_is_no_option_of_the_marker_is_an_error(
    pytester: pytest.Pytester, options: str, told: str
) -> None:
    """It names the options that there are, or how they are given."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.gemini({options})
        def test_it(gemini_server):
            pass
        """
    )
    result = pytester.runpytest("-p", "no:cacheprovider", "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([told])


def test_a_suite_that_uses_no_fixture_loads_nothing(tmp_path: Path) -> None:
    """The plugin costs an import of pytest, which is there."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    test = tmp_path / "test_it.py"
    test.write_text(
        "import sys\n"
        "def test_it():\n"
        "    loaded = {'genai_config.testing', 'google.generativeai', 'grpc', 'pydantic'}\n"
        "    assert not loaded & set(sys.modules)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    subprocess.run(command, check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)  # noqa: S603 -- our own


@pytest.mark.gemini(tuning="ended", models="today")
@pytest.mark.usefixtures("gemini_adc")
def test_todays_service(gemini_server: GeminiServer) -> None:
    """A test says so in its marker."""
    assert (gemini_server.tuning, gemini_server.models) == ("ended", "today")
    with pytest.raises(exceptions.NotFound):
        ask(TUNED)


def test_vertex_ai(gemini_vertex: VertexProject, gemini_api_key: str) -> None:
    """The configuration points at the server's Vertex AI; base models stay where they were."""
    assert gemini_api_key
    assert get_config().vertex_endpoint == gemini_vertex.server.base_url
    assert get_config().project == gemini_vertex.project
    ask()
    assert_auth(gemini_vertex.server, "api_key")
    gemini_vertex.server.clear()
    with openai.client(backend="vertex") as client:
        done = client.chat.completions.create(
            model="gemini-3.6-flash", messages=[{"role": "user", "content": "hi"}]
        )
    assert done.choices[0].message.content
    assert_auth(gemini_vertex.server, "oauth", transport="rest")
    place = "projects/my-project/locations/us-central1"
    assert gemini_vertex.endpoint() == f"{place}/endpoints/123"
    assert gemini_vertex.model("m") == f"{place}/publishers/google/models/m"


class Case(GeminiTestMixin, unittest.TestCase):
    """Run by unittest below; pytest runs it as well."""

    gemini_options = {"transport": "rest"}  # noqa: RUF012 -- as the mixin has it

    def test_with_unittest(self) -> None:
        """A key and ADC until the test ends."""
        self.gemini_api_key()
        self.gemini_adc()
        ask()
        ask(TUNED)
        assert [r.auth for r in self.gemini_server.requests] == ["api_key", "oauth"]
        assert_requests(self.gemini_server, transport="rest")
        assert self.gemini_vertex().server.base_url == get_config().vertex_endpoint


def test_the_mixin_without_pytest() -> None:
    """The standard library runs it, and nothing is left behind."""
    before = get_config()
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert get_config() == before
