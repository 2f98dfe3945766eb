"""The least that fits a schema: what a model answers that nobody has told what to answer."""

from __future__ import annotations

from typing import Any

_DEEPEST = 8
_BY_TYPE: dict[str, Any] = {"string": "text", "integer": 1, "number": 1.5, "boolean": True}


def sample(schema: Any) -> Any:
    """A value that fits a schema, the Gemini API's own or a JSON schema."""
    return _sample(schema, schema, 0)


def _sample(schema: Any, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _sample(_referenced(str(schema["$ref"]), root), root, depth + 1)
    given = next((name for name in ("const", "default", "example") if name in schema), None)
    if given is not None:
        return schema[given]
    choices = next((schema[name] for name in ("anyOf", "oneOf", "allOf") if schema.get(name)), None)
    if choices:
        return _sample(choices[0], root, depth + 1)
    return schema["enum"][0] if schema.get("enum") else _of_type(schema, root, depth)


def _referenced(path: str, root: Any) -> Any:
    found = root
    for name in path.removeprefix("#/").split("/"):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _of_type(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema or depth == 0 else "string")
    kind = str(kind[0] if isinstance(kind, list) else kind).lower()
    if kind == "object":
        properties = schema.get("properties", {})
        wanted = schema.get("required") or list(properties)
        return {name: _sample(properties.get(name), root, depth + 1) for name in wanted}
    if kind == "array":
        return [_sample(schema.get("items", {}), root, depth + 1)]
    return _BY_TYPE.get(kind)
