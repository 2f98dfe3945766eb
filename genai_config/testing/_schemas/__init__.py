"""What the services' JSON looks like: messages and enums, from text to classes of protobuf."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    field_mask_pb2,
    message_factory,
    struct_pb2,
    timestamp_pb2,
)

_FOLDER = Path(__file__).parent
_KNOWN = (duration_pb2, field_mask_pb2, struct_pb2, timestamp_pb2)
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = frozenset(
    {"double", "float", "int64", "uint64", "int32", "bool", "string", "bytes", "uint32"}
)


@functools.cache
def message(schema: str, name: str) -> Any:
    """The class of a message: of the Gemini API ("gemini") or of Vertex AI ("vertex")."""
    descriptor = _pool(schema).FindMessageTypeByName(f"{_package(schema)}.{_flat(name)}")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory().GetPrototype(descriptor)  # pragma: no cover # < 4.22


def find(schema: str, name: str) -> Any:
    """The class of a message; None if the schema has none of this name."""
    known = any(head == f"message {name}" for head, *_ in _blocks(schema))
    return message(schema, name) if known else None


def real_name(full_name: str) -> str:
    """The name by which the service itself calls a type of ours."""
    schema = "vertex" if full_name.startswith(_package("vertex")) else "gemini"
    # An enum is called after itself twice, once for its scope.
    own = full_name.rpartition(".")[2].replace("_", ".")
    return f"{_blocks(schema)[0][0].removeprefix('package ')}.{own}"


def _package(schema: str) -> str:
    return f"genai_config.testing.{schema}"


def _flat(name: str) -> str:
    # All types are on the top level: what is in what makes no difference on the wire.
    return name.replace(".", "_")


@functools.cache
def _blocks(schema: str) -> list[list[str]]:
    text = (_FOLDER / f"{schema}.txt").read_text(encoding="utf-8")
    return [block.splitlines() for block in text.strip().split("\n\n")]


@functools.cache
def _pool(schema: str) -> Any:
    """The pool of all messages, with those of a schema in a package of their own."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(
        name=f"genai_config/testing/{schema}.proto",
        package=_package(schema),
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module in _KNOWN],
    )
    blocks = _blocks(schema)[1:]
    enums = {head.removeprefix("enum ") for head, *_ in blocks if head.startswith("enum ")}
    for head, *lines in blocks:
        kind, name = head.split(" ")
        if kind == "enum":
            _add_enum(file, _flat(name), lines)
        else:
            _add_message(file, _flat(name), lines, enums)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_enum(file: Any, name: str, values: list[str]) -> None:
    # The names of an enum's values are unique in its scope, so each enum is in one of its own.
    added = file.message_type.add(name=f"{name}_Scope").enum_type.add(name=name)
    for position, line in enumerate(values):
        value, _, number = line.partition(" ")
        if value != "-":
            added.value.add(name=value, number=int(number or position))


def _add_message(file: Any, name: str, fields: list[str], enums: set[str]) -> None:
    added = file.message_type.add(name=name)
    late = []
    for line in fields:
        field_name, number, *kind = line.split(" ")
        field = added.field.add(name=field_name, number=int(number), label=_FIELD.LABEL_OPTIONAL)
        field.json_name = _camel(field_name)
        if kind[0] == "repeated":
            field.label = _FIELD.LABEL_REPEATED
        elif kind[0] == "map":
            field.label = _FIELD.LABEL_REPEATED
            entry = _add_entry(added, field_name)
            _set_type(entry.field.add(name="value", number=2), kind[1], file.package, enums)
            field.type, field.type_name = (
                _FIELD.TYPE_MESSAGE,
                f".{file.package}.{name}.{entry.name}",
            )
            continue
        elif kind[0] == "optional":
            late.append(field)
        if kind[-2:-1] == ["in"]:
            choices = [one.name for one in added.oneof_decl]
            if kind[-1] not in choices:
                added.oneof_decl.add(name=kind[-1])
                choices.append(kind[-1])
            field.oneof_index = choices.index(kind[-1])
            kind = kind[:-2]
        _set_type(field, kind[-1], file.package, enums)
    for field in late:
        # protoc itself puts these behind the real choices.
        field.proto3_optional = True
        field.oneof_index = len(added.oneof_decl)
        added.oneof_decl.add(name=f"_{field.name}")


def _add_entry(added: Any, field_name: str) -> Any:
    name = "".join(word.title() for word in field_name.split("_")) + "Entry"
    entry = added.nested_type.add(name=name)
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    return entry


def _set_type(field: Any, kind: str, package: str, enums: set[str]) -> None:
    field.label = field.label or _FIELD.LABEL_OPTIONAL
    if kind in _SCALARS:
        field.type = getattr(_FIELD, f"TYPE_{kind.upper()}")
    elif kind in enums:
        field.type = _FIELD.TYPE_ENUM
        field.type_name = f".{package}.{_flat(kind)}_Scope.{_flat(kind)}"
    else:
        field.type = _FIELD.TYPE_MESSAGE
        known = kind.startswith("google.protobuf.")
        field.type_name = f".{kind}" if known else f".{package}.{_flat(kind)}"


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
