"""What the answers of the service mean: the table, row by row."""

from __future__ import annotations

import re

import pytest

from genai_config._auth.refusals import ROWS, Answer, Meaning, Sent, meaning
from genai_config._models import MODEL, OTHER_MODEL, SMALL_MODEL

STANDARD, AUTH, ODD = Sent("standard key"), Sent("auth key"), Sent("key")
TOKEN, NONE = Sent("token"), Sent("none")
VERTEX = Sent("token", "vertex", "", "my-project", "us-central1", "42")
NOT_FOUND = "{} is not found for API version v1beta, or is not supported for generateContent."
BAD = "Request had invalid authentication credentials. Expected OAuth 2 access token"
WRONG_TYPE = "ACCESS_TOKEN_TYPE_UNSUPPORTED"
UNSUPPORTED = "API keys are not supported by this API. Expected OAuth2 access token"

CASES = [
    (STANDARD, Answer(401, WRONG_TYPE, BAD), "standard key refused", "AQ."),
    (AUTH, Answer(401, WRONG_TYPE, BAD), "auth key refused", "OAuth"),
    (ODD, Answer(401, WRONG_TYPE, BAD), "key refused", "aistudio.google.com"),
    (TOKEN, Answer(401, WRONG_TYPE, BAD), "token refused", "gcloud auth application-default login"),
    (TOKEN, Answer(401, "ACCESS_TOKEN_EXPIRED", BAD), "token refused", "log in again"),
    (STANDARD, Answer(400, "API_KEY_INVALID", "API key not valid."), "unknown key", "copy the key"),
    (AUTH, Answer(400, "API_KEY_INVALID", "API key expired. Please renew the API key."),
     "expired key", "make a new key"),
    (AUTH, Answer(403, "", "Your API key was reported as leaked. Please use another API key."),
     "leaked key", "delete the old one"),
    (STANDARD, Answer(403, "API_KEY_SERVICE_BLOCKED", "Requests to this API are blocked."),
     "blocked key", "console.cloud.google.com/apis/credentials"),
    (STANDARD, Answer(403, "API_KEY_IP_ADDRESS_BLOCKED"), "blocked key", "allow"),
    (AUTH, Answer(403, "", "Your project has been denied access. Please contact support."),
     "project denied", "another project"),
    (STANDARD, Answer(403, "CONSUMER_SUSPENDED", "Consumer 'api_key:AIza' has been suspended."),
     "project suspended", "another project"),
    (AUTH, Answer(403, "", "You do not have permission to access tuned model tunedModels/x."),
     "key on a tuned model", "generative-language.tuning"),
    (STANDARD, Answer(401, "CREDENTIALS_MISSING", UNSUPPORTED), "OAuth only", 'auth="auto"'),
    (STANDARD._replace(place="vertex"), Answer(401, "CREDENTIALS_MISSING", UNSUPPORTED),
     "key on Vertex AI", "credentials="),
    (AUTH, Answer(403, "", "something else"), "key not allowed", "restrictions"),
    (NONE, Answer(403, "", "Method doesn't allow unregistered callers"),
     "no credentials", "GEMINI_API"),
    (NONE, Answer(401, "CREDENTIALS_MISSING"), "no credentials", "GEMINI_API_KEY"),
    (NONE._replace(place="vertex"), Answer(401), "no credentials", "gcloud auth"),
    (STANDARD, Answer(400, "", "Multiple authentication credentials received."),
     "two credentials", "default_headers"),
    (TOKEN, Answer(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficient authentication scopes."),
     "missing scope", "generative-language.tuning"),
    (TOKEN._replace(resource="corpora/c"), Answer(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
     "missing scope", "generative-language.retriever"),
    (VERTEX, Answer(403, "ACCESS_TOKEN_SCOPE_INSUFFICIENT"), "missing scope", "cloud-platform"),
    (TOKEN, Answer(403, "SERVICE_DISABLED", "The API requires a quota project"),
     "quota project", "set-quota-project PROJECT"),
    (VERTEX, Answer(403, "SERVICE_DISABLED"),
     "service disabled", "gcloud services enable aiplatform.googleapis.com --project=my-project"),
    (STANDARD, Answer(403, "SERVICE_DISABLED"),
     "service disabled", "enable generativelanguage.googleapis.com"),
    (VERTEX, Answer(403, "BILLING_DISABLED"), "billing", "my-project"),
    (VERTEX, Answer(403, "USER_PROJECT_DENIED"), "consumer", "serviceUsageConsumer"),
    (VERTEX, Answer(403, "IAM_PERMISSION_DENIED", "Permission 'aiplatform.x' denied"),
     "missing permission", "--role=roles/aiplatform.user"),
    (TOKEN, Answer(403, "", "The caller does not have permission"), "missing permission", "roles"),
    (AUTH, Answer(404, "", NOT_FOUND.format("tunedModels/mine")),
     "tuned model gone", "tuned_endpoints={'tunedModels/mine': 'ENDPOINT_ID'}"),
    (TOKEN._replace(resource="tunedModels/mine"), Answer(404), "tuned model gone", "Vertex AI"),
    (AUTH, Answer(404, "", "This model models/gemini-2.5-pro is no longer available to new users."),
     "closed to new users", OTHER_MODEL),
    (AUTH, Answer(404, "", "This model models/gemini-x is no longer available to new users."),
     "closed to new users", MODEL),
    (AUTH, Answer(404, "", NOT_FOUND.format("models/gemini-1.5-flash")), "retired model", MODEL),
    (AUTH._replace(resource="models/text-embedding-004"), Answer(404),
     "retired model", "gemini-embedding-2"),
    (VERTEX, Answer(404, "", "`publishers/google/models/gemini-2.5-flash-lite` was not found"),
     "retired model", SMALL_MODEL),
    (AUTH, Answer(404, "", NOT_FOUND.format("models/gemini-3.5-flash")),
     "unknown model", "list_models"),
    (AUTH, Answer(404, "", NOT_FOUND.format("models/gemini-nine")), "unknown model", "list_models"),
    (VERTEX, Answer(404), "unknown model", "gcloud ai endpoints list --region=us-central1"),
    (VERTEX, Answer(400, "", "Malformed publisher model"), "malformed model", "google/"),
    (AUTH, Answer(400, "", "Function call is missing a thought_signature in functionCall parts."),
     "signature missing", "candidates[0].content"),
    (AUTH, Answer(400, "", "Thought signature is not valid"), "signature foreign", "new chat"),
    (TOKEN, Answer(400, "", "Corrupted thought signature."), "signature foreign", "one identity"),
    (VERTEX, Answer(400, "", "Please use a valid role: user, model."),
     "role missing", 'role="user"'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "answer", "name", "remedy"),
    CASES,
    ids=[f"{case[2]}-{number}" for number, case in enumerate(CASES)],
)
def test_an_answer_has_its_meaning(sent: Sent, answer: Answer, name: str, remedy: str) -> None:
    """By what was sent, and the next step is in the remedy."""
    found = meaning(sent, answer)
    assert found is not None
    assert found.name == name
    assert remedy in found.remedy
    assert not re.search(r"\{\w+\}", str(found))


def test_every_row_has_a_case() -> None:
    """No row is there that no answer reaches."""
    assert {row.name for row in ROWS} == {case[2] for case in CASES}


@pytest.mark.parametrize("answer", [Answer(429), Answer(500), Answer(400, "", "Bad field.")])
@pytest.mark.parametrize("sent", [STANDARD, TOKEN, VERTEX])
def test_what_says_all_itself_has_none(sent: Sent, answer: Answer) -> None:
    """The service's own words are enough."""
    assert meaning(sent, answer) is None


def test_what_was_sent_decides() -> None:
    """One answer, four meanings."""
    answer = Answer(401, WRONG_TYPE, BAD)
    found = [meaning(sent, answer) for sent in (STANDARD, AUTH, ODD, TOKEN)]
    assert len({one.name for one in found if one}) == 4


@pytest.mark.parametrize("answer", [Answer(400, "API_KEY_INVALID"), Answer(401)])
def test_another_vendors_key_is_named(answer: Answer) -> None:
    """Its shape tells what has been mixed up."""
    told = meaning(Sent("OpenAI-style key"), answer)
    assert told is not None
    assert "OpenAI" in told.means
    told = meaning(ODD, answer)
    assert told is not None
    assert "OpenAI" not in told.means
    assert "looks like a" not in told.means


def test_a_name_that_is_a_secret_is_masked() -> None:
    """A request may name anything."""
    found = meaning(AUTH._replace(resource="tunedModels/AIza0123456789abcdef"), Answer(404))
    assert isinstance(found, Meaning)
    assert "AIza0123456789" not in str(found)
