"""JSON as Google's front end reads it: what it does not know is an error that names the field."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from genai_config.testing import _schemas
from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 100
_OUTER = "Invalid JSON payload received. "


def loads(body: bytes) -> dict[str, Any]:
    """The object that a request's body holds; an empty body is an empty object.

    Raises:
        ServiceError: It is no JSON, no object, nested too deeply, or no text that can be sent on.
    """
    try:
        found = json.loads(body or b"{}")
        # A lone surrogate can be written in JSON, but it is no character.
        json.dumps(found, ensure_ascii=False).encode()
    except RecursionError:
        raise _refusal(_OUTER + "Message too deep. Max recursion depth reached.") from None
    except UnicodeEncodeError:
        raise _refusal(_OUTER + "Invalid \\u escape: a lone surrogate.") from None
    except ValueError as error:
        raise _refusal(f"{_OUTER}{error}") from error
    if not isinstance(found, dict):
        raise _refusal(_OUTER + "Root element must be a message.")
    return found


def read(given: dict[str, Any], message: Any) -> Any:
    """Fills a message from JSON and returns it.

    Raises:
        ServiceError: A field is unknown, or its value is not of its type; all such are named.
    """
    problems = list(_problems(given, message.DESCRIPTOR, ""))
    if problems:
        text = "\n".join(description for _, description in problems)
        raise ServiceError("INVALID_ARGUMENT", text, violations=tuple(problems))
    try:
        json_format.ParseDict(given, message)
    except json_format.ParseError as error:
        raise _refusal(f"{_OUTER}{error}") from error
    return message


def to_dict(message: Any) -> dict[str, Any]:
    """A message as JSON; whole numbers in free-form values are written as such."""
    found: dict[str, Any] = _whole(json_format.MessageToDict(message))
    return found


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _refusal(message: str) -> ServiceError:
    return ServiceError("INVALID_ARGUMENT", message)


def _problems(given: Any, descriptor: Any, path: str) -> Iterator[tuple[str, str]]:
    """The fields of a message that cannot be read: (path, description)."""
    if descriptor.full_name.startswith("google.protobuf."):
        return  # their JSON has forms of its own, which protobuf checks
    if not isinstance(given, dict):
        yield path, f"Invalid value at '{path}' ({_shown(descriptor)}), {json.dumps(given)}"
        return
    if path.count(".") > _DEEPEST:
        yield path, _OUTER + "Message too deep. Max recursion depth reached."
        return
    for name, value in given.items():
        field = descriptor.fields_by_camelcase_name.get(name) or descriptor.fields_by_name.get(name)
        if field is None:
            at = f" at '{path}'" if path else ""
            yield path, f'{_OUTER}Unknown name "{name}"{at}: Cannot find field.'
        elif value is not None:
            here = f"{path}.{field.name}" if path else str(field.name)
            yield from _field_problems(value, field, here, path, name)


def _field_problems(
    value: Any, field: Any, here: str, path: str, name: str
) -> Iterator[tuple[str, str]]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entries = value.items() if isinstance(value, dict) else [("", value)]
        for index, (_, one) in enumerate(entries):
            yield from _value_problems(one, kind.fields_by_name["value"], f"{here}[{index}].value")
    elif is_repeated(field):
        for index, one in enumerate(value if isinstance(value, list) else [value]):
            yield from _value_problems(one, field, f"{here}[{index}]")
        if not isinstance(value, list):
            at = f" at '{path}'" if path else ""
            yield here, f'{_OUTER}Unknown name "{name}"{at}: Proto field is repeating.'
    elif isinstance(value, list) and not (kind and kind.full_name.startswith("google.protobuf.")):
        at = f" at '{path}'" if path else ""
        description = "Proto field is not repeating, cannot start list."
        yield here, f'{_OUTER}Unknown name "{name}"{at}: {description}'
    else:
        yield from _value_problems(value, field, here)


def _value_problems(value: Any, field: Any, here: str) -> Iterator[tuple[str, str]]:
    if field.message_type is not None:
        yield from _problems(value, field.message_type, here)
    elif field.enum_type is not None:
        known = field.enum_type.values_by_name
        if value not in known and not (isinstance(value, int) and not isinstance(value, bool)):
            yield (
                here,
                f"Invalid value at '{here}' ({_shown(field.enum_type)}), {json.dumps(value)}",
            )
    elif not _fits(value, field):
        kind = _TYPES[field.type]
        yield here, f"Invalid value at '{here}' (TYPE_{kind}), {json.dumps(value)}"


_TYPES = {
    1: "DOUBLE", 2: "FLOAT", 3: "INT64", 4: "UINT64", 5: "INT32", 8: "BOOL", 9: "STRING",
    12: "BYTES", 13: "UINT32",
}  # fmt: skip


def _fits(value: Any, field: Any) -> bool:
    kind = _TYPES[field.type]
    if kind in ("STRING", "BYTES"):
        return isinstance(value, str)
    if kind == "BOOL":
        return isinstance(value, bool)
    # Numbers may be written as strings.
    return isinstance(value, int | float | str) and not isinstance(value, bool)


def is_repeated(field: Any) -> bool:
    """Whether a field has a list of values; protobuf has renamed the way to ask."""
    new = getattr(field, "is_repeated", None)  # since 6.31
    return bool(field.label == field.LABEL_REPEATED if new is None else new)


def _shown(descriptor: Any) -> str:
    return f"type.googleapis.com/{_schemas.real_name(descriptor.full_name)}"
