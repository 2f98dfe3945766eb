"""Corpora beyond the five methods of every resource: batches, queries, answers, owners."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm
from google.protobuf import empty_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from genai_config.testing._service.stores import Store

_RESULTS = 10
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "OPERATOR_UNSPECIFIED": operator.eq,
    "LESS": operator.lt,
    "LESS_EQUAL": operator.le,
    "EQUAL": operator.eq,
    "GREATER_EQUAL": operator.ge,
    "GREATER": operator.gt,
    "NOT_EQUAL": operator.ne,
    "INCLUDES": operator.contains,
    "EXCLUDES": lambda values, value: value not in values,
}


class Retrieval:
    """What is done with several chunks at once, and with permissions.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def handlers(self) -> dict[str, Callable[[Any], Any]]:
        """What answers which method."""
        return {
            "RetrieverService.BatchCreateChunks": self._batch_create,
            "RetrieverService.BatchUpdateChunks": self._batch_update,
            "RetrieverService.BatchDeleteChunks": self._batch_delete,
            "RetrieverService.QueryCorpus": self._query_corpus,
            "RetrieverService.QueryDocument": self._query_document,
            "PermissionService.TransferOwnership": self._transfer,
        }

    def attribute(self, request: Any, answer: Any) -> None:
        """Says in an answer which passages or chunks it rests on.

        Raises:
            ServiceError: There is no such corpus or document.
        """
        for passage in request.inline_passages.passages:
            attribution = answer.grounding_attributions.add(content=passage.content)
            attribution.source_id.grounding_passage.passage_id = passage.id
        wanted = request.semantic_retriever
        if not wanted.source:
            return
        query = " ".join(part.text for part in wanted.query.parts)
        for _, chunk in self._ranked(wanted.source, query, wanted.metadata_filters):
            attribution = answer.grounding_attributions.add()
            attribution.content.parts.add().text = chunk.data.string_value
            source = attribution.source_id.semantic_retriever_chunk
            source.source, source.chunk = wanted.source, chunk.name

    def _batch_create(self, request: Any) -> Any:
        response = glm.BatchCreateChunksResponse.pb()()
        for one in request.requests:
            parent = one.parent or request.parent
            response.chunks.append(self._store.add("Chunk", one.chunk, parent=parent))
        return response

    def _batch_update(self, request: Any) -> Any:
        response = glm.BatchUpdateChunksResponse.pb()()
        for one in request.requests:
            response.chunks.append(self._store.update(one.chunk, one.update_mask))
        return response

    def _batch_delete(self, request: Any) -> Any:
        for one in request.requests:
            self._store.delete(one.name)
        return empty_pb2.Empty()

    def _query_corpus(self, request: Any) -> Any:
        return self._query(request, glm.QueryCorpusResponse.pb()())

    def _query_document(self, request: Any) -> Any:
        return self._query(request, glm.QueryDocumentResponse.pb()())

    def _query(self, request: Any, response: Any) -> Any:
        found = self._ranked(request.name, request.query, request.metadata_filters)
        for score, chunk in found[: request.results_count or _RESULTS]:
            response.relevant_chunks.add(chunk_relevance_score=score, chunk=chunk)
        return response

    def _ranked(self, source: str, query: str, filters: Any) -> list[tuple[float, Any]]:
        """The chunks of a corpus or document that share a word with a query, the best first."""
        self._store.find(source)
        words = _words(query)
        found = [
            (len(words & _words(chunk.data.string_value)) / len(words), chunk)
            for name, chunk in self._store.snapshot(source + "/")
            if "/chunks/" in name and words and self._passes(chunk, filters)
        ]
        return sorted(((s, c) for s, c in found if s), key=lambda pair: -pair[0])

    def _passes(self, chunk: Any, filters: Any) -> bool:
        document = self._store.find(chunk.name.partition("/chunks/")[0])
        metadata = [*document.custom_metadata, *chunk.custom_metadata]
        return all(
            any(_meets(metadata, one.key, condition) for condition in one.conditions)
            for one in filters
        )

    def _transfer(self, request: Any) -> Any:
        roles = glm.Permission.Role
        mine = None
        for name, permission in self._store.snapshot(f"{request.name}/permissions/"):
            if permission.email_address == request.email_address:
                mine = name
            elif permission.role == roles.OWNER:
                self._store.replace(name, role=int(roles.WRITER))
        if mine is not None:
            self._store.replace(mine, role=int(roles.OWNER))
        else:
            owner = glm.Permission(
                role=roles.OWNER,
                grantee_type=glm.Permission.GranteeType.USER,
                email_address=request.email_address,
            )
            self._store.add("Permission", glm.Permission.pb(owner), parent=request.name)
        return glm.TransferOwnershipResponse.pb()()


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _meets(metadata: Iterable[Any], key: str, condition: Any) -> bool:
    operation = glm.Condition.pb().Operator.Name(condition.operation)
    compare = _OPERATORS[operation]
    wanted = getattr(condition, condition.WhichOneof("value"))
    return any(bool(compare(_value(one), wanted)) for one in metadata if one.key == key)


def _value(metadata: Any) -> Any:
    kind = metadata.WhichOneof("value")
    value = getattr(metadata, kind)
    return list(value.values) if kind == "string_list_value" else value
