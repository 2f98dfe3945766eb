"""What a model's name tells before anything is sent."""

from __future__ import annotations

import datetime as dt

import pytest

from genai_config import GenAIConfig, explain, safe_configure
from genai_config._diagnosis import doctor, models
from genai_config._models import MODEL, RETIREMENTS, SMALL_MODEL

TODAY = dt.datetime(2026, 11, 28, tzinfo=dt.timezone.utc).timestamp()
PLAIN = GenAIConfig(api_key="k")
MAPPED = GenAIConfig(
    tuned_endpoints={"tunedModels/mine": "projects/p-1234/locations/eu/endpoints/1"}
)
FLAHS = GenAIConfig(
    tuned_endpoints={"tunedModels/flahs": "projects/p-1234/locations/eu/endpoints/1"}
)
GATEWAY = GenAIConfig(client_options={"api_endpoint": "gateway.example.com"})
VERTEX = GenAIConfig(backend="vertex")


@pytest.mark.parametrize(
    ("config", "model", "name", "remedy"),
    [
        (PLAIN, "tunedModel/x", "misspelt model", "tunedModels/x"),
        (PLAIN, "tunedmodels/x", "misspelt model", "tunedModels/x"),
        (PLAIN, "model/gemini-x", "misspelt model", "models/gemini-x"),
        (None, "qqq/x", "misspelt model", "tunedModels/x"),
        (PLAIN, "gemini-3.6-flahs", "misspelt model", "gemini-3.6-flash"),
        (None, "models/gemni-3.6-flash", "misspelt model", "models/gemini-3.6-flash"),
        (VERTEX, "gemini-embeding-2", "misspelt model", "gemini-embedding-2"),
        (PLAIN, "tunedModels/mine", "tuned model gone", "tuned_endpoints="),
        (None, "tunedModels/mine", "tuned model gone", "Vertex AI"),
        (VERTEX, "tunedModels/mine", "tuned model gone", "Vertex AI"),
        (PLAIN, "gemini-1.5-flash", "retired model", MODEL),
        (PLAIN, "models/gemini-2.0-flash-lite", "retired model", SMALL_MODEL),
        (VERTEX, "gemini-2.5-flash-lite", "retired model", SMALL_MODEL),
    ],
)
def test_what_will_fail(config: GenAIConfig | None, model: str, name: str, remedy: str) -> None:
    """It is told with what to use instead."""
    found = models.problem(config, model, TODAY)
    assert found is not None
    assert found.name == name
    assert remedy in found.remedy


@pytest.mark.parametrize(
    ("config", "model"),
    [
        *((PLAIN, known.successor) for known in RETIREMENTS),
        (PLAIN, MODEL),
        (PLAIN, f"models/{MODEL}"),
        (PLAIN, "gemini-2.5-flash-lite"),  # leaving Vertex AI alone
        (PLAIN, "gemini-2.5-flash"),  # leaving in December
        (PLAIN, "gemini-3.7-flash"),  # the successor answers
        (PLAIN, "gemini-4-live-image"),
        (PLAIN, "imagen-5"),
        (GATEWAY, "gemini-3.6-flahs"),
        (FLAHS, "tunedModels/flahs"),
        (PLAIN, "projects/p/locations/l/endpoints/1"),
        (MAPPED, "tunedModels/mine"),
        (GATEWAY, "tunedModels/mine"),
        (GATEWAY, "gemini-1.5-flash"),
        (VERTEX, "text-embedding-004"),
    ],
)
def test_what_nothing_is_known_against(config: GenAIConfig, model: str) -> None:
    """A gateway, or a server for tests, has models of its own."""
    assert models.problem(config, model, TODAY) is None


def test_explain_tells_it() -> None:
    """With the exit code that a request would deserve."""
    safe_configure(api_key="k")
    for model, kind in (("tunedModel/x", "misspelt model"), ("gemini-1.5-pro", "retired model")):
        assert [problem.kind for problem in explain(model).problems] == [kind]


def test_a_key_alone_and_a_tuned_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can work today: a model tuned on Vertex AI, by OAuth; a key that is there is no news."""
    monkeypatch.delenv("NO_GCE_CHECK")
    monkeypatch.setenv("GEMINI_API_KEY", "AQ.0123456789abcdefghij")
    report = doctor.examine("tunedModels/mine")
    told = {outcome.name: outcome for outcome in report.outcomes}
    assert "tuned_endpoints=" in told["model"].problems[0].remedy
    assert "gcloud auth application-default login" in told["metadata_server"].problems[0].remedy
    assert "GEMINI_API_KEY" not in told["metadata_server"].problems[0].remedy
    assert told["quota_project"].skipped
    assert told["key_values"].facts == ("GEMINI_API_KEY holds an auth key",)


def test_a_tuned_model_on_vertex(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scope of Vertex AI alone, and nothing against it."""
    endpoint = {"tunedModels/mine": "projects/p-1234/locations/eu/endpoints/1"}
    monkeypatch.delenv("NO_GCE_CHECK")
    safe_configure(tuned_endpoints=endpoint)
    names = ("model", "metadata_server")
    checks = [check for check in doctor.CHECKS if check.name in names]
    model, server = doctor.examine("tunedModels/mine", checks=checks).outcomes
    assert model.facts == ("tunedModels/mine is served on Vertex AI",)
    assert "log in: gcloud auth application-default login." in server.problems[0].remedy


def test_a_model_that_nothing_is_known_against() -> None:
    """That is all that is said."""
    checks = [check for check in doctor.CHECKS if check.name == "model"]
    (outcome,) = doctor.examine(MODEL, checks=checks).outcomes
    assert outcome.problems == ()
    assert outcome.facts == (f"no problem is known with {MODEL}",)


def test_a_placeholder_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless a gateway decides what a key is."""
    monkeypatch.setenv("GEMINI_API_KEY", "my-api-key")
    checks = [check for check in doctor.CHECKS if check.name == "key_values"]
    (outcome,) = doctor.examine(checks=checks).outcomes
    assert "a placeholder" in outcome.problems[0].problem
    safe_configure(client_options={"api_endpoint": "gateway.example.com"})
    (outcome,) = doctor.examine(checks=checks).outcomes
    assert outcome.facts == ("GEMINI_API_KEY holds a key",)
