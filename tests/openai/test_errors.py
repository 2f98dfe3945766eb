from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import openai
import pytest

from genai_config import GenAIConfig, exceptions, override, safe_configure
from genai_config import openai as ours
from genai_config._clients.errors import Refusal, explanation, refusal, unreachable
from genai_config._clients.resolve import resolve
from genai_config._clients.target import Target

if TYPE_CHECKING:
    from genai_config._auth.refusals import Credential
    from genai_config.testing import GeminiServer

CHAT: Any = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hi"}]}
VERTEX = resolve(GenAIConfig(), project="my-project", location="eu", environ={})
GEMINI = resolve(GenAIConfig(api_key="k"), environ={})


def raised(client: openai.OpenAI, **changes: Any) -> Exception:
    """The error of a chat; both kinds of clients raise it, at once."""
    with pytest.raises(openai.OpenAIError) as caught:
        client.chat.completions.create(**{**CHAT, **changes})
    return caught.value


def configure(server: GeminiServer, **more: Any) -> None:
    """Vertex AI on the local server."""
    safe_configure(
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.rest_endpoint},
        project="my-project",
        location="global",
        **more,
    )


def test_no_credentials(server: GeminiServer, naps: list[str]) -> None:
    """The error is ours and OpenAI's, comes at once, and says how to log in."""
    configure(server)
    with ours.client() as client:
        error = raised(client)
    assert isinstance(error, exceptions.CredentialsNotFoundError)
    assert "gcloud auth application-default login\n" in error.remedy
    assert error.__cause__ is None
    assert (naps, server.requests) == ([], [])


async def test_no_credentials_for_an_async_client(server: GeminiServer, naps: list[str]) -> None:
    """Likewise."""
    configure(server)
    async with ours.async_client() as client:
        with pytest.raises(exceptions.CredentialsNotFoundError) as caught:
            await client.chat.completions.create(**CHAT)
        assert isinstance(caught.value, openai.OpenAIError)
    assert naps == []


def test_no_credentials_to_name_a_project(server: GeminiServer) -> None:
    """Where they are needed for making the client, the error comes there."""
    safe_configure(ca_certs=server.ca_file)
    with pytest.raises(exceptions.CredentialsNotFoundError):
        ours.client(location="eu")


def test_a_login_that_was_revoked(server: GeminiServer, naps: list[str]) -> None:
    """The token that was good is refused, and there is no other."""
    configure(server, credentials=server.user_credentials(quota_project="mine"))
    with ours.client() as client:
        client.chat.completions.create(**CHAT)
        server.revoke("user-1@example.com")
        error = raised(client)
    assert isinstance(error, exceptions.TokenRefreshError)
    assert "invalid_grant" in error.problem
    assert "log in again" in error.remedy
    assert naps == []


def test_a_dead_token_endpoint(server: GeminiServer, naps: list[str]) -> None:
    """It is named, within auth_timeout, and not asked again and again."""
    configure(server, credentials=server.user_credentials(), auth_timeout=0.2)
    server.tokens.hang()
    with ours.client() as client:
        error = raised(client)
    server.tokens.release()
    assert isinstance(error, exceptions.CredentialsTimeoutError)
    assert server.token_uri in error.problem
    assert naps == []


def test_an_error_goes_from_process_to_process(server: GeminiServer) -> None:
    """It is the same error on the other side."""
    configure(server)
    with ours.client() as client:
        error = raised(client)
    other = pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own
    assert type(other) is type(error)
    assert str(other) == str(error)


@pytest.mark.usefixtures("vertex")
def test_a_missing_role(server: GeminiServer, naps: list[str]) -> None:
    """OpenAI's error, with Google's words and the command."""
    server.fail(
        1,
        "PERMISSION_DENIED",
        "Permission 'aiplatform.endpoints.predict' denied on resource",
        "IAM_PERMISSION_DENIED",
    )
    with ours.client() as client:
        error = raised(client)
    assert isinstance(error, openai.PermissionDeniedError)
    assert error.message == str(error)
    assert str(error).startswith("Error code: 403 - IAM_PERMISSION_DENIED: Permission 'aiplat")
    assert "gcloud projects add-iam-policy-binding my-project" in str(error)
    assert naps == []


@pytest.mark.usefixtures("vertex")
async def test_a_model_that_is_not_there() -> None:
    """The place is named in which it is looked for."""
    async with ours.async_client() as client:
        with pytest.raises(openai.NotFoundError, match="location=global") as caught:
            await client.chat.completions.create(**{**CHAT, "model": "meta/llama"})
    assert "publishers/meta/models/llama` was not found" in str(caught.value)


@pytest.mark.usefixtures("vertex")
def test_a_part_of_openais_api_that_is_not_there() -> None:
    """The remedy is another method, and no other place."""
    with ours.client() as client, pytest.raises(openai.NotFoundError) as caught:
        client.responses.create(model="gemini-3.6-flash", input="hi")
    remedy = str(caught.value).partition("Remedy: ")[2]
    assert "Chat Completions" in remedy
    assert "/responses" in remedy
    served = explanation(GEMINI, 404, Refusal("", ""), path="/models/gemini-x")
    assert "client.models.list()" in served


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("/models", "--model"),
        ("/models/gemini-x", "--model"),
        ("/files/file-1", "gs://"),
        ("/batches", "client().batches"),
        ("/realtime/client_secrets", "client().aio.live.connect"),
        ("/images/generations", "Chat Completions"),
    ],
)
def test_what_takes_the_place_of_the_rest_on_vertex(path: str, remedy: str) -> None:
    """What Vertex AI does not have is no matter of the location or the endpoint."""
    said = explanation(VERTEX, 404, Refusal("", ""), path=path)
    assert remedy in said
    assert "location=" not in said


@pytest.mark.usefixtures("vertex")
@pytest.mark.parametrize("list_them", ["models", "files", "batches"])
def test_lists_that_vertex_does_not_have(list_them: str) -> None:
    """The error of the real call says so."""
    with ours.client() as client, pytest.raises(openai.NotFoundError) as caught:
        getattr(client, list_them).list()
    assert f"does not have /{list_them} " in str(caught.value)


@pytest.mark.usefixtures("vertex")
async def test_realtime_connections() -> None:
    """They are refused before anything is dialled, with what Google has in their place."""
    client = ours.client()
    assert client.realtime is client.realtime
    with pytest.raises(openai.OpenAIError, match=r"live\.connect") as caught:
        client.realtime.connect(model="gpt-realtime")
    assert isinstance(caught.value, exceptions.ConfigurationError)
    with pytest.raises(exceptions.ConfigurationError):
        ours.async_client().realtime.connect(model="gpt-realtime")


@pytest.mark.usefixtures("vertex")
def test_a_model_that_cannot_be(server: GeminiServer, naps: list[str]) -> None:
    """It is refused before anything is sent."""
    with ours.client() as client:
        error = raised(client, model="gpt-4o")
    assert isinstance(error, exceptions.ConfigurationError)
    assert "'google/gemini-3.6-flash'" in error.remedy
    assert (naps, server.requests) == ([], [])


@pytest.mark.usefixtures("vertex")
def test_a_service_that_is_out_of_reach(server: GeminiServer, naps: list[str]) -> None:
    """OpenAI's client tries again; its error names the address and the reason."""
    with ours.client() as client:
        server.drop(3)
        error = raised(client)
    assert isinstance(error, openai.APIConnectionError)
    assert f"Connection error. https://{server.rest_endpoint} for location=global: " in str(error)
    assert len(naps) == 2


@pytest.mark.usefixtures("vertex")
def test_a_service_that_takes_too_long(server: GeminiServer) -> None:
    """A timeout stays what it is."""
    with ours.client(max_retries=0) as client:
        server.hang()
        with pytest.raises(openai.APITimeoutError, match="timed out") as caught:
            client.with_options(timeout=0.05).chat.completions.create(**CHAT)
        # It was reached: the address is right.
        assert "timeout=" in str(caught.value)
        assert "proxy=" not in str(caught.value)
        server.release()


@pytest.mark.usefixtures("vertex")
def test_an_authority_that_is_not_trusted(naps: list[str], tmp_path: Any) -> None:
    """The reason says so."""
    from genai_config.testing._wire.certificates import certificate

    other = tmp_path / "other.pem"
    other.write_bytes(certificate().ca)
    with override(ca_certs=other), ours.client() as client:
        assert client.chat.completions.create(**CHAT).choices
    assert naps == []


@pytest.mark.parametrize(
    ("target", "credential", "remedy"),
    [
        (VERTEX, "token", "gcloud auth application-default login"),
        (GEMINI, "standard key", "AQ."),
        (GEMINI, "auth key", "copy the key again"),
        (GEMINI, "key", "make a new key"),
        (GEMINI, "token", "log in again"),
    ],
)
def test_a_refusal_is_read_by_what_was_sent(
    target: Target, credential: Credential, remedy: str
) -> None:
    """The service's words, then what they mean to this client: `tests/auth/test_refusals.py`."""
    found = Refusal("Expected OAuth 2 access token.", "ACCESS_TOKEN_TYPE_UNSUPPORTED")
    said = explanation(target, 401, found, credential=credential)
    assert said.startswith("ACCESS_TOKEN_TYPE_UNSUPPORTED: Expected OAuth 2 access token.\n")
    assert remedy in said.partition("Remedy: ")[2]


def test_the_place_is_in_the_remedy() -> None:
    """As far as the target tells."""
    assert "--region=eu --project=my-project" in explanation(VERTEX, 404, Refusal("", ""))


def test_what_needs_no_remedy() -> None:
    """The service's words are enough; without any there is nothing to add."""
    assert explanation(VERTEX, 429, Refusal("slow down", "")) == "slow down"
    assert explanation(VERTEX, 500, Refusal("", "")) == ""
    anywhere = Target("vertex", "https://gateway", "oauth")
    assert "--project=PROJECT" in explanation(anywhere, 404, Refusal("", ""))


@pytest.mark.usefixtures("vertex")
def test_an_answer_without_words(server: GeminiServer) -> None:
    """The message is OpenAI's then."""
    server.fail(1, "INVALID_ARGUMENT", "")
    with ours.client() as client:
        assert str(raised(client)).startswith("Error code: 400")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (
            [{"error": {"message": "a  b", "details": [1, {"reason": 1}, {"reason": "R"}]}}],
            Refusal("a b", "R"),
        ),
        ({"error": {"message": "m", "details": 7}}, Refusal("m", "")),
        ({"message": "m"}, Refusal("m", "")),
        ({"error": "text"}, Refusal("", "")),
        ([], Refusal("", "")),
        ("<html>", Refusal("", "")),
        (None, Refusal("", "")),
        ({"message": "key=AIza0123456789abc"}, Refusal("key=**********", "")),
    ],
)
def test_the_body_of_an_error(body: Any, found: Refusal) -> None:
    """Whatever it is, it is read, and shows no secret."""
    assert refusal(body) == found


def test_unreachable() -> None:
    """The address, the place and the reason, if there is one."""
    assert unreachable(GEMINI, None).startswith(
        "https://generativelanguage.googleapis.com: no answer\n  Remedy: "
    )
    assert "for location=eu: OSError: down" in unreachable(VERTEX, OSError("down"))
