from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core import exceptions

if TYPE_CHECKING:
    from genai_config.testing import GeminiServer

DOCUMENT = "corpora/c/documents/d"
OPERATORS = glm.Condition.Operator


@pytest.fixture
def person(server: GeminiServer, fetch: Any) -> Any:
    """A person's token and quota project as metadata."""
    token = fetch(server.user_credentials())
    return [("authorization", f"Bearer {token}"), ("x-goog-user-project", "mine")]


@pytest.fixture
def retriever(wire: Any, person: Any) -> Any:
    """A client, in whose corpus are three chunks with metadata."""
    client = wire.client("RetrieverService")
    client.create_corpus({"corpus": {"name": "corpora/c"}}, metadata=person)
    year = {"key": "year", "numeric_value": 1999}
    document = {"name": DOCUMENT, "custom_metadata": [year]}
    client.create_document({"parent": "corpora/c", "document": document}, metadata=person)
    requests = [
        {"parent": DOCUMENT, "chunk": {"data": {"string_value": text}, "custom_metadata": [more]}}
        for text, more in (
            ("The sky is blue.", {"key": "kind", "string_value": "fact"}),
            ("The blue sky is high.", {"key": "tags", "string_list_value": {"values": ["a"]}}),
            ("Grass.", {"key": "kind", "string_value": "fact"}),
        )
    ]
    batch = {"parent": DOCUMENT, "requests": requests}
    assert len(client.batch_create_chunks(batch, metadata=person).chunks) == 3
    return client


def condition(key: str, operation: Any, **value: Any) -> dict[str, Any]:
    """A filter of one condition."""
    return {"key": key, "conditions": [{"operation": operation, **value}]}


def test_queries(retriever: Any, person: Any) -> None:
    """A query finds the chunks that share its words, the best first."""
    query: dict[str, Any] = {"name": "corpora/c", "query": "high blue"}
    found = retriever.query_corpus(query, metadata=person).relevant_chunks
    scores = [(one.chunk.data.string_value, one.chunk_relevance_score) for one in found]
    assert scores == [("The blue sky is high.", 1), ("The sky is blue.", 0.5)]
    query |= {"name": DOCUMENT, "results_count": 1}
    assert len(retriever.query_document(query, metadata=person).relevant_chunks) == 1
    query = {"name": DOCUMENT, "query": "?"}
    assert not retriever.query_document(query, metadata=person).relevant_chunks
    with pytest.raises(exceptions.NotFound):
        retriever.query_corpus({"name": "corpora/none", "query": "x"}, metadata=person)


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (condition("kind", OPERATORS.EQUAL, string_value="fact"), 1),
        (condition("kind", OPERATORS.OPERATOR_UNSPECIFIED, string_value="none"), 0),
        (condition("tags", OPERATORS.INCLUDES, string_value="a"), 1),
        (condition("tags", OPERATORS.EXCLUDES, string_value="a"), 0),
        (condition("year", OPERATORS.LESS, numeric_value=2000), 2),
        (condition("year", OPERATORS.GREATER_EQUAL, numeric_value=2000), 0),
    ],
)
def test_filters(retriever: Any, person: Any, wanted: Any, count: int) -> None:
    """A filter looks at the metadata of the chunk and of its document."""
    query = {"name": "corpora/c", "query": "blue", "metadata_filters": [wanted]}
    found = retriever.query_corpus(query, metadata=person).relevant_chunks
    assert len(found) == count


def test_answers(server: GeminiServer, wire: Any, retriever: Any, person: Any) -> None:
    """An answer says what it rests on."""
    client = wire.client("GenerativeService")
    query = {"parts": [{"text": "blue"}]}
    request = {
        "model": "models/aqa",
        "contents": [query],
        "semantic_retriever": {"source": DOCUMENT, "query": query},
    }
    answer = client.generate_answer(request, metadata=person).answer
    assert len(answer.grounding_attributions) == 2
    source = answer.grounding_attributions[0].source_id.semantic_retriever_chunk
    assert source.source == DOCUMENT
    assert source.chunk in [
        one.name for one in retriever.list_chunks({"parent": DOCUMENT}, metadata=person)
    ]
    passages = {"passages": [{"id": "p", "content": query}]}
    request = {"model": "models/aqa", "contents": [query], "inline_passages": passages}
    key = [("x-goog-api-key", server.api_key())]
    (attribution,) = client.generate_answer(request, metadata=key).answer.grounding_attributions
    assert attribution.source_id.grounding_passage.passage_id == "p"


def test_owners(server: GeminiServer, wire: Any, person: Any) -> None:
    """A new owner takes the place of the old, whose role becomes that of a writer."""
    store = server._service.behaviour.store
    store.add("TunedModel", glm.TunedModel.pb(glm.TunedModel(name="tunedModels/t")))
    client = wire.client("PermissionService")

    def roles() -> dict[str, str]:
        found = client.list_permissions({"parent": "tunedModels/t"}, metadata=person)
        return {one.email_address: one.role.name for one in found}

    def transfer(address: str) -> None:
        request = {"name": "tunedModels/t", "email_address": address}
        client.transfer_ownership(request, metadata=person)

    transfer("a@b")
    assert roles() == {"a@b": "OWNER"}
    transfer("c@d")
    assert roles() == {"a@b": "WRITER", "c@d": "OWNER"}
    transfer("a@b")
    assert roles() == {"a@b": "OWNER", "c@d": "WRITER"}
    reader = glm.Permission(name="tunedModels/t/permissions/r", role="READER", email_address="e@f")
    store.add("Permission", glm.Permission.pb(reader))
    transfer("a@b")
    assert roles()["e@f"] == "READER"


def test_caches(server: GeminiServer, wire: Any) -> None:
    """A cache expires after its lifetime, an hour unless told, and counts its tokens."""
    key = [("x-goog-api-key", server.api_key())]
    client = wire.client("CacheService")
    content: dict[str, Any] = {"model": "models/gemini-3.6-flash"}
    content["contents"] = [{"parts": [{"text": "a b c"}]}]
    cached = client.create_cached_content(cached_content=content, metadata=key)
    assert cached.usage_metadata.total_token_count == 3
    assert not cached.contents
    assert 3598 < (cached.expire_time - cached.create_time).total_seconds() <= 3600
    change = {"name": cached.name, "ttl": {"seconds": 60}}
    changed = client.update_cached_content(
        cached_content=change, update_mask={"paths": ["ttl"]}, metadata=key
    )
    assert 58 < (changed.expire_time - changed.update_time).total_seconds() <= 60
    assert changed.usage_metadata.total_token_count == 3
