"""Between protobuf messages and JSON, without losing what the messages have no field for. Pure.

protobuf's own `json_format` drops unknown fields, and with them the thought signatures that
Gemini 3 wants back: here they travel both ways, under the numbers that the Gemini API has for them.
Enums go by name; integers come back too.
"""

from __future__ import annotations

import base64
import functools
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

from google.protobuf import json_format

from genai_config.exceptions import UnsupportedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from google.protobuf.unknown_fields import UnknownFieldSet
except ImportError:  # pragma: no cover -- protobuf before 4.21.12 has it as a method

    def UnknownFieldSet(message: Any) -> Any:  # noqa: N802 -- it stands for the class
        return message.UnknownFields()


_PACKAGE = "google.ai.generativelanguage.v1beta."

_VARINT, _BYTES = 0, 2


class Newer(NamedTuple):
    """A field that the service has and the SDK's messages do not: its JSON name and its type."""

    name: str
    type: type


# Read off google-ai-generativelanguage 0.12.1, v1beta. The first two are what requests carry, too.
NEWER: dict[str, dict[int, Newer]] = {
    "Part": {11: Newer("thought", bool), 13: Newer("thoughtSignature", bytes)},
    "Candidate": {4: Newer("finishMessage", str)},
    "GenerateContentResponse": {5: Newer("responseId", str)},
    "GenerateContentResponse.UsageMetadata": {
        8: Newer("toolUsePromptTokenCount", int),
        10: Newer("thoughtsTokenCount", int),
    },
}

# Enums whose 0 the SDK takes for a good end: a name that is not known here must not become it.
# The numbers are those of the same version of the Gemini API.
REASONS: dict[str, dict[str, int]] = {
    "Candidate.FinishReason": {
        "UNEXPECTED_TOOL_CALL": 12,
        "TOO_MANY_TOOL_CALLS": 13,
        "IMAGE_PROHIBITED_CONTENT": 14,
        "IMAGE_OTHER": 15,
        "NO_IMAGE": 16,
        "IMAGE_RECITATION": 17,
    },
    "GenerateContentResponse.PromptFeedback.BlockReason": {},
    "GenerateAnswerResponse.InputFeedback.BlockReason": {},
    "ContentFilter.BlockedReason": {},
}


# By number, the values that enums of requests have got since.
_NEWER_VALUES: dict[str, dict[int, str]] = {
    "TaskType": {8: "CODE_RETRIEVAL_QUERY"},
    "FunctionCallingConfig.Mode": {4: "VALIDATED"},
    "Type": {7: "NULL"},
}


def encode(message: Any) -> Any:
    """A message as JSON data: the service's names, enums by name.

    Raises:
        UnsupportedRequestError: It holds a field, or a value of an enum, that has no name here.
    """
    descriptor = message.DESCRIPTOR
    name = descriptor.full_name
    if name.startswith("google.protobuf."):
        return json_format.MessageToDict(message)
    plan = _encoders(descriptor)
    data = {}
    for field, value in message.ListFields():
        json_name, convert = plan[field.number]
        data[json_name] = convert(value)
    for unknown in UnknownFieldSet(message):
        newer = NEWER.get(name.removeprefix(_PACKAGE), {}).get(unknown.field_number)
        if newer is None:
            raise UnsupportedRequestError(
                f"The request holds a {name.rpartition('.')[2]} with the field "
                f"{unknown.field_number}, which google-generativeai does not know.",
                "leave it out, or send the request to the Gemini API with transport='grpc'.",
            )
        data[newer.name] = _newer_to_json(newer, unknown.data)
    return data


def decode(data: Any, message: Any) -> None:
    """Fills a message from JSON data; names that it has no field for are left out.

    Raises:
        ValueError: The data are not the message's, as far as the names are known.
    """
    try:
        _decode(data, message)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        # Without the values, which are the answer of a model.
        raise ValueError(f"not a {message.DESCRIPTOR.name} ({type(error).__name__})") from None
    except json_format.ParseError:
        raise ValueError(f"not a {message.DESCRIPTOR.name} (ParseError)") from None


def _decode(data: Any, message: Any) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name.startswith("google.protobuf."):
        json_format.ParseDict(data, message, ignore_unknown_fields=True)
        return
    plan, newer = _decoders(descriptor)
    unknown = b""
    for name, value in data.items():
        if value is None:
            continue
        put = plan.get(name)
        if put is not None:
            put(message, value)
        elif name in newer:
            unknown += _newer_to_wire(*newer[name], value)
    if unknown:
        message.MergeFromString(unknown)


def _newer_to_json(newer: Newer, value: Any) -> Any:
    if newer.type is bytes:
        return base64.b64encode(value).decode()
    return value.decode() if newer.type is str else newer.type(value)


def _newer_to_wire(number: int, newer: Newer, value: Any) -> bytes:
    if newer.type in (bool, int):
        return _varint(number << 3 | _VARINT) + _varint(int(value))
    wire = _from_base64(value) if newer.type is bytes else value.encode()
    return _varint(number << 3 | _BYTES) + _varint(len(wire)) + wire


def _varint(value: int) -> bytes:
    wire = bytearray()
    while value > 0x7F:  # noqa: PLR2004 -- seven bits a byte
        wire.append(value & 0x7F | 0x80)
        value >>= 7
    wire.append(value)
    return bytes(wire)


@functools.cache
def _encoders(descriptor: Any) -> dict[int, tuple[str, Callable[[Any], Any]]]:
    """For each field, by number: its name in JSON, and from its value to JSON."""
    return {field.number: (field.json_name, _encoder(field)) for field in descriptor.fields}


def _encoder(field: Any) -> Callable[[Any], Any]:
    if _is_map(field):
        # A key is a string in JSON whatever it is in the message; the API has maps of strings.
        convert = _to_json(field.message_type.fields_by_name["value"])
        return lambda value: {str(key): convert(value[key]) for key in value}
    convert = _to_json(field)
    if _is_repeated(field):
        return lambda value: [convert(item) for item in value]
    return convert


def _to_json(field: Any) -> Callable[[Any], Any]:
    if field.type == field.TYPE_ENUM:
        return functools.partial(_value_name, field.enum_type)
    if field.cpp_type in (field.CPPTYPE_INT64, field.CPPTYPE_UINT64):
        return str
    by_type: dict[int, Callable[[Any], Any]] = {
        field.TYPE_MESSAGE: encode,
        field.TYPE_BYTES: lambda value: base64.b64encode(value).decode(),
        field.TYPE_FLOAT: _shortest,
        field.TYPE_DOUBLE: _finite,
    }
    return by_type.get(field.type, _same)


def _value_name(enum: Any, number: int) -> str:
    known = enum.values_by_number.get(number)
    if known is not None:
        return str(known.name)
    name = enum.full_name.removeprefix(_PACKAGE)
    newer = _NEWER_VALUES.get(name, {}).get(number)
    if newer is None:
        # As a number it might mean something else to the service: Vertex AI counts differently.
        raise UnsupportedRequestError(
            f"The request holds the {name} {number}, which google-generativeai does not know.",
            "use one that it knows, or send the request to the Gemini API with transport='grpc'.",
        )
    return newer


def _same(value: Any) -> Any:
    return value


def _shortest(value: float) -> float | str:
    """The shortest number that is the same float of 32 bits: 0.1, and not 0.10000000149."""
    for digits in (6, 7, 8) if value - value == 0 else ():
        short = float(f"{value:.{digits}g}")
        if struct.pack("f", short) == struct.pack("f", value):
            return short
    return _finite(float(f"{value:.9g}"))


def _finite(value: float) -> float | str:
    """A number; by its name where JSON has none."""
    if value - value == 0:
        return value
    return {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")


@functools.cache
def _decoders(
    descriptor: Any,
) -> tuple[dict[str, Callable[[Any, Any], None]], dict[str, tuple[int, Newer]]]:
    """By name in JSON: what puts a value into a message, and the fields it has no name for."""
    plan: dict[str, Callable[[Any, Any], None]] = {}
    for field in descriptor.fields:
        plan[field.name] = plan[field.json_name] = _decoder(field)
    known = NEWER.get(descriptor.full_name.removeprefix(_PACKAGE), {})
    newer = {
        field.name: (number, field) for number, field in known.items() if field.name not in plan
    }
    return plan, newer


def _decoder(field: Any) -> Callable[[Any, Any], None]:
    name = field.name
    if _is_map(field):
        return functools.partial(_put_map, field)
    if field.type == field.TYPE_MESSAGE:
        if _is_repeated(field):

            def add(message: Any, value: Any) -> None:
                holder = getattr(message, name)
                for item in value:
                    _decode(item, holder.add())

            return add

        def put(message: Any, value: Any) -> None:
            holder = getattr(message, name)
            holder.SetInParent()
            _decode(value, holder)

        return put
    convert = _from_json(field)
    if _is_repeated(field):
        return lambda message, value: getattr(message, name).extend(list(map(convert, value)))
    return lambda message, value: setattr(message, name, convert(value))


def _put_map(field: Any, message: Any, value: Any) -> None:
    holder = getattr(message, field.name)
    item = field.message_type.fields_by_name["value"]
    convert = _from_json(item)
    for key, one in value.items():
        if item.type == item.TYPE_MESSAGE:
            _decode(one, holder[key])
        else:
            holder[key] = convert(one)


def _from_json(field: Any) -> Callable[[Any], Any]:
    if field.type == field.TYPE_ENUM:
        return functools.partial(_number, field.enum_type)
    if field.type == field.TYPE_BYTES:
        return _from_base64
    if field.cpp_type in (
        field.CPPTYPE_INT32, field.CPPTYPE_UINT32, field.CPPTYPE_INT64, field.CPPTYPE_UINT64,
    ):  # fmt: skip
        return int
    if field.cpp_type in (field.CPPTYPE_FLOAT, field.CPPTYPE_DOUBLE):
        return float
    return _same


def _number(enum: Any, value: Any) -> int:
    if isinstance(value, int):
        return value
    known = enum.values_by_name.get(value)
    if known is not None:
        return int(known.number)
    newer = REASONS.get(enum.full_name.removeprefix(_PACKAGE))
    if newer is None or value.endswith("_UNSPECIFIED"):
        return 0
    other = enum.values_by_name.get("OTHER")
    return newer.get(value) or (int(other.number) if other else 0)


def _from_base64(value: str) -> bytes:
    # Services write either alphabet, with or without the padding.
    text = value.replace("-", "+").replace("_", "/")
    return base64.b64decode(text + "=" * (-len(text) % 4))


def _is_map(field: Any) -> bool:
    return bool(field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry)


def _is_repeated(field: Any) -> bool:
    return bool(field.label == field.LABEL_REPEATED)
