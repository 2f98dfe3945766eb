"""Writes the schemas of the local server from the descriptors in Google's own packages.

    pip install google-ai-generativelanguage==0.12.1
    pip install --no-deps google-cloud-aiplatform==2.7.0 grpc-google-iam-v1
    python tools/record_schemas.py

They are kept as text so that the server needs neither package, and a change shows in a diff.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "genai_config" / "testing" / "_schemas"
GENERATE = [
    f"{method}{side}"
    for method in ("GenerateContent", "CountTokens", "EmbedContent")
    for side in ("Request", "Response")
]
CACHES = [
    "CreateCachedContentRequest",
    "GetCachedContentRequest",
    "ListCachedContentsRequest",
    "ListCachedContentsResponse",
    "UpdateCachedContentRequest",
    "DeleteCachedContentRequest",
]
BATCH = ["BatchEmbedContentsRequest", "BatchEmbedContentsResponse"]
# What the services take over JSON and no published package has: field, type, number. Numbers from
# 1000 on are ours, since these are known from JSON alone.
LOW_HIGH = ["THINKING_LEVEL_UNSPECIFIED", "LOW", "MEDIUM", "HIGH", "MINIMAL"]
RESOLUTION = [f"MEDIA_RESOLUTION_{x}" for x in ("UNSPECIFIED", "LOW", "MEDIUM", "HIGH")]
STRUCT = "google.protobuf.Struct"
MORE: dict[str, dict[str, Any]] = {
    "gemini": {
        "ThinkingConfig": {"thinking_level": ("ThinkingConfig.ThinkingLevel", 1000)},
        "ThinkingConfig.ThinkingLevel": LOW_HIGH,
        "Part": {
            "media_resolution": ("Part.MediaResolution", 1001),
            "tool_call": (STRUCT, 1002),
            "tool_response": (STRUCT, 1003),
        },
        "Part.MediaResolution": {
            "level": ("Part.MediaResolution.Level", 1),
            "num_tokens": ("int32", 2),
        },
        "Part.MediaResolution.Level": [*RESOLUTION, "MEDIA_RESOLUTION_ULTRA_HIGH"],
        # Vertex AI's own: a test may answer with them.
        "Candidate.FinishReason": ["MODEL_ARMOR 1000"],
        "GenerateContentResponse.PromptFeedback.BlockReason": [
            "MODEL_ARMOR 1000",
            "JAILBREAK 1001",
        ],
        "GenerateContentRequest": {
            "service_tier": ("string", 1000),
            "store": ("bool", 1001),
            "labels": ("map string", 1002),
        },
        "GenerationConfig": {"audio_transcription_config": (STRUCT, 1000)},
        "GoogleSearch": {"search_types": (STRUCT, 1000)},
        "ImageConfig": {"image_size": ("string", 1000)},
        "Tool": {"mcp_servers": (f"repeated {STRUCT}", 1000)},
        "ToolConfig": {"include_server_side_tool_invocations": ("bool", 1000)},
    },
    "vertex": {
        "BatchEmbedContentsRequest": {"requests": ("repeated EmbedContentRequest", 2)},
        "BatchEmbedContentsResponse": {
            "embeddings": ("repeated EmbedContentResponse.Embedding", 1)
        },
        "FunctionResponse": {"scheduling": ("string", 1000)},
        "GenerateContentRequest": {"service_tier": ("string", 1000)},
        "GenerationConfig": {
            "audio_transcription_config": (STRUCT, 1000),
            "enable_affective_dialog": ("bool", 1001),
            "response_format": ("google.protobuf.Value", 1002),
        },
        "ImageConfig": {"prominent_people": ("string", 1000)},
        "Tool": {"mcp_servers": (f"repeated {STRUCT}", 1000)},
    },
}
TYPES = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string",
    12: "bytes", 13: "uint32",
}  # fmt: skip


def record(name: str, modules: list[str], roots: list[str]) -> None:
    """Writes one schema: all messages and enums that the roots lead to."""
    found: dict[str, dict[str, Any] | list[str]] = {}
    package = ""
    for module_name in modules:
        module = importlib.import_module(module_name)
        for root in roots:
            descriptor = getattr(module, root).pb().DESCRIPTOR
            package = package or descriptor.file.package
            collect(descriptor, descriptor.file.package, found)
    for kind, content in MORE[name].items():
        if isinstance(content, dict):
            found.setdefault(kind, {}).update(content)  # type: ignore[union-attr]
        else:
            found.setdefault(kind, []).extend(content)  # type: ignore[union-attr]
    text = [f"package {package}"]
    for kind in sorted(found):
        text += ["", *lines(kind, found[kind])]
    (FOLDER / f"{name}.txt").write_text("\n".join(text) + "\n", encoding="utf-8")


def lines(kind: str, content: Any) -> Iterator[str]:
    """One message or enum."""
    if isinstance(content, list):
        yield f"enum {kind}"
        yield from content
        return
    yield f"message {kind}"
    for field, (type_name, number) in sorted(content.items(), key=lambda pair: pair[1][1]):
        yield f"{field} {number} {type_name}"


def collect(descriptor: Any, package: str, found: dict[str, Any]) -> None:
    """A message and all that it leads to; of two versions' fields the first one's stay."""
    name = short(descriptor, package)
    fields = found.setdefault(name, {})
    known = getattr(collect, "seen", set())
    if descriptor.full_name in known:
        return
    collect.seen = known | {descriptor.full_name}  # type: ignore[attr-defined]
    numbers = {number for _, number in fields.values()}
    for field in descriptor.fields:
        kind = type_of(field, package, found)
        if field.name.rstrip("_") not in fields and field.number not in numbers:
            fields[field.name.rstrip("_")] = (kind, field.number)


def type_of(field: Any, package: str, found: dict[str, Any]) -> str:
    """The type of a field as it is written."""
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return f"map {single(value, package, found)}"
    kind = single(field, package, found)
    repeated = (
        field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    )
    if repeated:
        return f"repeated {kind}"
    oneof = field.containing_oneof
    if oneof is None:
        return kind
    # A choice of one field has an underscore: it tells "not given" from the default.
    if oneof.name.startswith("_"):
        return kind if field.message_type is not None else f"optional {kind}"
    return f"{kind} in {oneof.name}"


def single(field: Any, package: str, found: dict[str, Any]) -> str:
    """The type of one value."""
    if field.enum_type is not None:
        name = short(field.enum_type, package)
        values = found.setdefault(name, [])
        for value in field.enum_type.values:
            while len(values) <= value.number:
                values.append("-")
            if values[value.number] == "-":
                values[value.number] = value.name
        return name
    if field.message_type is not None:
        if field.message_type.full_name.startswith("google.protobuf."):
            return str(field.message_type.full_name)
        collect(field.message_type, package, found)
        return short(field.message_type, package)
    return TYPES[field.type]


def short(descriptor: Any, package: str) -> str:
    """The name without the package."""
    return str(descriptor.full_name).removeprefix(package + ".")


if __name__ == "__main__":
    record(
        "gemini",
        ["google.ai.generativelanguage_v1beta"],
        [*GENERATE, *CACHES, *BATCH],
    )
    record(
        "vertex",
        [
            "google.cloud.aiplatform_v1beta1.types",
            "google.cloud.aiplatform_v1.types",
        ],
        [*GENERATE, *CACHES, "PredictRequest", "PredictResponse"],
    )
