"""Records the messages of Vertex AI that requests of the SDK become, as tests/vertex/messages.json.

Run it in an environment of its own, as google-cloud-aiplatform does not go with the SDK:

    python -m venv /tmp/record && /tmp/record/bin/pip install google-cloud-aiplatform
    /tmp/record/bin/python tests/vertex/record_descriptors.py
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

WANTED = (
    "GenerateContentRequest",
    "GenerateContentResponse",
    "CountTokensRequest",
    "CountTokensResponse",
    "EmbedContentRequest",
    "EmbedContentResponse",
    "PredictRequest",
    "PredictResponse",
    "CachedContent",
    "CreateCachedContentRequest",
    "UpdateCachedContentRequest",
    "GetCachedContentRequest",
    "DeleteCachedContentRequest",
    "ListCachedContentsRequest",
    "ListCachedContentsResponse",
)
FILE = Path(__file__).with_name("messages.json")


def record() -> dict[str, Any]:  # noqa: C901 -- a script, read from its top to its end
    """The messages and all that they are made of, in one file of descriptors."""
    from google.cloud import aiplatform_v1beta1 as vertex
    from google.protobuf import descriptor_pb2, json_format

    kept: dict[str, Any] = {}
    imports: set[str] = set()

    def keep(descriptor: Any) -> None:
        while descriptor.containing_type is not None:
            descriptor = descriptor.containing_type
        if descriptor.file.package != "google.cloud.aiplatform.v1beta1":
            imports.add(descriptor.file.name)
            return
        if descriptor.full_name in kept:
            return
        is_enum = not hasattr(descriptor, "fields")
        proto: Any = (
            descriptor_pb2.EnumDescriptorProto() if is_enum else descriptor_pb2.DescriptorProto()
        )
        descriptor.CopyToProto(proto)
        kept[descriptor.full_name] = proto
        if not is_enum:
            follow(descriptor)

    def follow(descriptor: Any) -> None:
        for field in descriptor.fields:
            if field.message_type is not None:
                keep(field.message_type)
            if field.enum_type is not None:
                keep(field.enum_type)
        for nested in descriptor.nested_types:
            follow(nested)

    for name in WANTED:
        keep(getattr(vertex, name).pb().DESCRIPTOR)
    file = descriptor_pb2.FileDescriptorProto(
        name="recorded/vertex.proto",
        package="google.cloud.aiplatform.v1beta1",
        dependency=sorted(imports),
        syntax="proto3",
    )
    for name in sorted(kept):
        proto = kept[name]
        is_message = isinstance(proto, descriptor_pb2.DescriptorProto)
        (file.message_type if is_message else file.enum_type).append(proto)
    return {
        "source": f"google-cloud-aiplatform {version('google-cloud-aiplatform')}",
        "file": json_format.MessageToDict(file),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(record(), indent=1) + "\n", encoding="utf-8")
