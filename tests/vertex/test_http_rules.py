"""How the Gemini API's methods are sent over HTTP: paths, bodies and queries."""

from __future__ import annotations

from typing import Any

import pytest
from google.ai import generativelanguage_v1beta as glm

from genai_config._transport import http_rules
from genai_config.exceptions import UnsupportedRequestError
from genai_config.testing._service.methods import bindings, methods


def test_they_are_the_sdks() -> None:
    """Every URL that the installed SDK's own REST transports have, and where its body goes."""
    ours = {
        (verb, path, body): name
        for name, (verb, paths, body) in http_rules.RULES.items()
        for path in paths.split(" | ")
    }
    for binding in bindings():
        if "Operations" in binding.method.name:
            continue
        fits = [
            (verb, path, body)
            for (verb, path, body), name in ours.items()
            if name == binding.method.name
            and verb == binding.verb
            and body == binding.body
            and binding.pattern.fullmatch(
                "/v1beta/" + http_rules._VARIABLE.sub(
                    lambda m: m["shape"].replace("**", "a/b").replace("*", "a"), path))
        ]  # fmt: skip
        assert fits, binding


def test_every_method_has_a_rule() -> None:
    """Whatever the SDK can send over gRPC; waiting for operations aside."""
    named = {method.name for method in methods().values()}
    assert named - http_rules.RULES.keys() <= {"Operations.WaitOperation"}


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GenerativeService.CountTokens", glm.CountTokensRequest(model="tunedModels/mine")),
        ("ModelService.GetModel", glm.GetModelRequest(name="models/../tunedModels/x")),
        ("ModelService.GetModel", glm.GetModelRequest(name="models/..")),
        ("ModelService.GetModel", glm.GetModelRequest(name="")),
        ("Some.Method", glm.GetModelRequest()),
    ],
)
def test_what_rest_does_not_have(method: str, request_: Any) -> None:
    """The remedy is gRPC, where the method is."""
    with pytest.raises(UnsupportedRequestError) as caught:
        http_rules.exchange(method, type(request_).pb(request_))
    assert "transport='grpc'" in caught.value.remedy


def test_a_name_is_not_more_than_a_name() -> None:
    """What would start a query or a fragment is escaped."""
    request = glm.GetModelRequest(name="models/a?key=b#c d%2e")
    made = http_rules.exchange("ModelService.GetModel", type(request).pb(request))
    assert made.path == "/v1beta/models/a%3Fkey%3Db%23c%20d%252e"


def test_what_goes_where() -> None:
    """The name into the path, the field into the body, the rest into the query."""
    request = glm.UpdateTunedModelRequest(
        tuned_model=glm.TunedModel(name="tunedModels/t", display_name="d"),
        update_mask={"paths": ["display_name", "description"]},
    )
    made = http_rules.exchange("ModelService.UpdateTunedModel", type(request).pb(request))
    assert made[:2] == ("PATCH", "/v1beta/tunedModels/t")
    assert made.body == {"displayName": "d"}
    assert dict(made.query)["updateMask"] == "displayName,description"
    listed = glm.ListTunedModelsRequest(page_size=3, filter="a b")
    made = http_rules.exchange("ModelService.ListTunedModels", type(listed).pb(listed))
    assert made.body is None
    assert dict(made.query) == {
        "$alt": "json;enum-encoding=int", "pageSize": "3", "filter": "a b",
    }  # fmt: skip
    deleted = glm.DeleteCorpusRequest(name="corpora/c", force=True)
    made = http_rules.exchange("RetrieverService.DeleteCorpus", type(deleted).pb(deleted))
    assert dict(made.query)["force"] == "true"
