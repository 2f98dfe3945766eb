"""Tuned models: the methods that google-genai does not reach, and expressions that name one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.source import evaluated
from genai_config._migrate.unit import BlockedError
from genai_config._migrate.variables import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config._migrate.source import Source

PREFIX = "tunedModels/"

# google-genai uses REST, where the Gemini API has these for base models alone.
ONLY_OVER_GRPC = {
    "count_tokens": "keep this code on google-generativeai, or read usage_metadata of a response; "
    "a model on Vertex AI (tuned_endpoints=) can be asked by "
    'google_genai.client(backend="vertex").models.count_tokens(…).',
    "embed_content": "keep this code on google-generativeai, or use an embedding model.",
}
"""The methods, and what to do by hand."""


def over_grpc_alone(method: str) -> BlockedError:
    """The reason to leave a call of such a method for a tuned model as it is."""
    name = method.removesuffix("_async")
    return BlockedError(
        f"the Gemini API has {name} of tuned models only over gRPC, and google-genai has no gRPC",
        ONLY_OVER_GRPC[name],
    )


def may_be_tuned(source: Source, node: cst.CSTNode) -> bool:
    """Whether an expression names a tuned model, or may: by a literal in it or in its variables."""
    waiting, seen = [node], set[cst.CSTNode]()
    while waiting:
        at = waiting.pop()
        if at in seen:
            continue
        seen.add(at)
        for part in source.within(
            at, cst.SimpleString, cst.ConcatenatedString, cst.FormattedStringText, cst.Name,
            cst.Attribute,
        ):  # fmt: skip
            if _text(part).startswith(PREFIX):
                return True
            waiting += _values(source, part)
    return False


def _text(node: Any) -> str:
    if isinstance(node, cst.FormattedStringText):
        return node.value
    if isinstance(node, cst.SimpleString | cst.ConcatenatedString):
        return evaluated(node) or ""
    return ""


def _values(source: Source, node: Any) -> Iterator[cst.CSTNode]:
    """What a variable may hold: the values assigned to it, and the defaults of a parameter."""
    parent: Any = source.parent(node)
    is_label = getattr(parent, "attr", None) is node or getattr(parent, "keyword", None) is node
    found = None if is_label else variable(source, node)
    if found is not None:
        yield from (value for value in found.values if value is not None)
        for target in found.targets:
            if isinstance(target, cst.Param) and target.default is not None:
                yield target.default
