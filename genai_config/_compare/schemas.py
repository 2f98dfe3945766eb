"""Normalizes schemas of functions: google-genai sends JSON Schema, the old SDK Google's; pure."""

from __future__ import annotations

from typing import Any

_KEPT = ("format", "description", "enum", "maxItems", "minItems", "nullable")


def levelled(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, Google's or JSON Schema, in one form; without defaults, which Google's lacks.

    Args:
        schema: The schema as JSON.
    """
    choices = [one for one in schema.get("anyOf", []) if isinstance(one, dict)]
    real = [one for one in choices if one.get("type") != "null"]
    if len(real) == 1:
        return {**levelled(real[0]), "nullable": True}
    found = {name: schema[name] for name in _KEPT if name in schema}
    if choices:
        found["anyOf"] = [levelled(one) for one in choices]
    found["type"] = str(schema.get("type", "")).upper()
    if "items" in schema:
        found["items"] = levelled(schema["items"])
    if "properties" in schema:
        properties = schema["properties"]
        found["properties"] = {name: levelled(properties[name]) for name in sorted(properties)}
    if "required" in schema:
        found["required"] = sorted(schema["required"])
    return found
