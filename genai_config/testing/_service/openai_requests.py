"""OpenAI's requests as messages of the service: what it does not take is refused by name.

https://ai.google.dev/gemini-api/docs/openai and
https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview list what is taken.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from genai_config.testing import _schemas
from genai_config.testing._service import strict_json
from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.programming import full_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NUMBER, _INTEGER, _TEXT, _FLAG = (int, float), (int,), (str,), (bool,)
_CHAT: dict[str, tuple[type, ...]] = {
    "model": _TEXT,
    "messages": (list,),
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "max_tokens": _INTEGER,
    "max_completion_tokens": _INTEGER,
    "presence_penalty": _NUMBER,
    "frequency_penalty": _NUMBER,
    "seed": _INTEGER,
    "n": _INTEGER,
    "stop": (str, list),
    "stream": _FLAG,
    "stream_options": (dict,),
    "tools": (list,),
    "tool_choice": (str, dict),
    "parallel_tool_calls": _FLAG,  # taken, without effect
    "response_format": (dict,),
    "reasoning_effort": _TEXT,
    "logprobs": _FLAG,
    "top_logprobs": _INTEGER,
    "user": _TEXT,  # taken, without effect
    "google": (dict,),
    "extra_body": (dict,),
}
_EMBED: dict[str, tuple[type, ...]] = {
    "model": _TEXT,
    "input": (str, list),
    "dimensions": _INTEGER,
    "encoding_format": _TEXT,
    "user": _TEXT,  # taken, without effect
}
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "n": "candidate_count",
}
_OWN = {
    "cached_content": "cachedContent",
    "safety_settings": "safetySettings",
    "thinking_config": "generationConfig",
}
_ROLES = ("system", "developer", "user", "assistant", "tool")
_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "extra_content"})
_CHOICES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_EFFORTS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}


def prompt(given: Mapping[str, Any]) -> Any:
    """The request of a chat, for the service.

    Raises:
        ServiceError: It is not understood, or holds what the service does not take.
    """
    arguments = _known(given, _CHAT)
    body: dict[str, Any] = {"model": full_name(arguments["model"]), "contents": []}
    settings: dict[str, Any] = {
        setting: arguments[name] for name, setting in _SETTINGS.items() if name in arguments
    }
    stop = arguments.get("stop", [])
    settings["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if arguments.get("logprobs") or "top_logprobs" in arguments:
        raise invalid(f"Logprobs is not enabled for {body['model']}.")
    _known(arguments.get("stream_options", {}), {"include_usage": _FLAG}, "stream_options")
    _add_format(settings, arguments.get("response_format"))
    _add_effort(settings, arguments.get("reasoning_effort"))
    _add_tools(body, arguments)
    _add_own(body, settings, arguments)
    _add_messages(body, arguments.get("messages", []))
    body["generationConfig"] = settings
    return strict_json.read(body, _schemas.message("gemini", "GenerateContentRequest")())


def texts_to_embed(given: Mapping[str, Any]) -> Any:
    """The request of embeddings, for the service.

    Raises:
        ServiceError: It is not understood, or holds what the service does not take.
    """
    arguments = _known(given, _EMBED)
    if arguments.get("encoding_format", "float") not in ("float", "base64"):
        raise invalid("Invalid value at 'encoding_format': it is 'float' or 'base64'.")
    model = full_name(arguments["model"])
    texts = arguments.get("input", [])
    texts = [texts] if isinstance(texts, str) else texts
    if not texts or not all(isinstance(text, str) for text in texts):
        raise invalid("Invalid value at 'input': a text or a list of texts is wanted.")
    request = _schemas.message("gemini", "BatchEmbedContentsRequest")(model=model)
    for text in texts:
        one = request.requests.add(model=model)
        one.content.parts.add(text=text)
        if "dimensions" in arguments:
            one.output_dimensionality = arguments["dimensions"]
    return request


def invalid(message: str) -> ServiceError:
    """The answer to what is not understood."""
    return ServiceError("INVALID_ARGUMENT", message)


def _known(given: Any, fields: Mapping[str, tuple[type, ...]], at: str = "") -> dict[str, Any]:
    """The fields that are given; null is as good as nothing.

    Raises:
        ServiceError: One is unknown, or its value is not of its type.
    """
    problems = []
    for name, value in given.items():
        place = f" at '{at}'" if at else ""
        if name not in fields:
            text = f'Unknown name "{name}"{place}: Cannot find field.'
            problems.append((at, f"Invalid JSON payload received. {text}"))
        elif value is not None and not _is(value, fields[name]):
            here = f"{at}.{name}" if at else name
            problems.append((here, f"Invalid value at '{here}', {json.dumps(value)}"))
    if problems:
        text = "\n".join(description for _, description in problems)
        raise ServiceError("INVALID_ARGUMENT", text, violations=tuple(problems))
    return {name: value for name, value in given.items() if value is not None}


def _is(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds)


def _add_format(settings: dict[str, Any], given: Any) -> None:
    if given is None:
        return
    kind = given.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise invalid(f"Invalid value at 'response_format.type', {json.dumps(kind)}")
    if kind != "text":
        settings["response_mime_type"] = "application/json"
    if kind == "json_schema":
        schema = given.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("schema"), dict):
            raise invalid("response_format.json_schema.schema is missing.")
        settings["response_json_schema"] = schema["schema"]


def _add_effort(settings: dict[str, Any], effort: Any) -> None:
    if effort == "none":
        settings["thinking_config"] = {"thinking_budget": 0}
    elif effort in _EFFORTS:
        settings["thinking_config"] = {"thinking_level": _EFFORTS[effort]}
    elif effort is not None:
        raise invalid(f"Invalid value at 'reasoning_effort', {json.dumps(effort)}")


def _add_tools(body: dict[str, Any], arguments: Mapping[str, Any]) -> None:
    declarations = []
    for index, tool in enumerate(arguments.get("tools", [])):
        at = f"tools[{index}]"
        function = _known(_object(tool, at), {"type": _TEXT, "function": (dict,)}, at)
        if function.get("type") != "function" or "function" not in function:
            raise invalid(f"Invalid value at '{at}.type': functions alone are supported.")
        fields: dict[str, tuple[type, ...]] = {
            "name": _TEXT, "description": _TEXT, "parameters": (dict,), "strict": _FLAG,
        }  # fmt: skip
        known = _known(function["function"], fields, f"{at}.function")
        known.pop("strict", None)
        if "parameters" in known:
            known["parametersJsonSchema"] = known.pop("parameters")
        declarations.append(known)
    if declarations:
        body["tools"] = [{"functionDeclarations": declarations}]
    choice = arguments.get("tool_choice")
    if choice is None:
        return
    named = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(named, dict) and isinstance(named.get("name"), str):
        config = {"mode": "ANY", "allowedFunctionNames": [named["name"]]}
    elif isinstance(choice, str) and choice in _CHOICES:
        config = {"mode": _CHOICES[choice]}
    else:
        raise invalid(f"Invalid value at 'tool_choice', {json.dumps(choice)}")
    if config["mode"] == "ANY" and not declarations:
        raise invalid("Function calling config is set without function_declarations.")
    body["toolConfig"] = {"functionCallingConfig": config}


def _add_own(body: dict[str, Any], settings: dict[str, Any], arguments: Mapping[str, Any]) -> None:
    """What Google adds to OpenAI's fields: as "google", or in "extra_body" as its own samples."""
    outer = _known(arguments.get("extra_body", {}), {"google": (dict,)}, "extra_body")
    own = {**outer.get("google", {}), **arguments.get("google", {})}
    for name, value in own.items():
        if name not in _OWN:
            raise invalid(
                f'Invalid JSON payload received. Unknown name "{name}" at '
                "'extra_body.google': Cannot find field."
            )
        if name == "thinking_config":
            settings[name] = value
        else:
            body[_OWN[name]] = value


def _object(value: Any, at: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(f"Invalid value at '{at}', {json.dumps(value)}")
    return value


def _add_messages(body: dict[str, Any], messages: list[Any]) -> None:
    names: dict[str, str] = {}
    for index, given in enumerate(messages):
        at = f"messages[{index}]"
        message = {k: v for k, v in _object(given, at).items() if v is not None}
        role = message.get("role")
        if role not in _ROLES:
            raise invalid(
                f"Invalid value at '{at}.role', {json.dumps(role)}: it is one of {_ROLES}"
            )
        _known(message, dict.fromkeys(_MESSAGE, (object,)), at)
        if role in ("system", "developer"):
            parts = body.setdefault("systemInstruction", {"parts": []})["parts"]
            parts += _parts(message.get("content"), at)
        elif role == "tool":
            _add_result(body["contents"], message, names, at)
        else:
            content = {"role": "model" if role == "assistant" else "user"}
            parts = _parts(message.get("content"), at) if message.get("content") else []
            if parts and "extra_content" in message:
                parts[0] |= _signature(message)
            parts += _calls(message.get("tool_calls", []), names, at)
            if not parts:
                raise invalid(f"Invalid value at '{at}': it has no content.")
            body["contents"].append({**content, "parts": parts})
    if not body["contents"]:
        raise invalid("* GenerateContentRequest.contents: contents is not specified")


def _parts(content: Any, at: str) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, list):
        raise invalid(f"Invalid value at '{at}.content', {json.dumps(content)}")
    return [_part(_object(one, f"{at}.content"), at) for one in content]


def _part(given: dict[str, Any], at: str) -> dict[str, Any]:
    kind = given.get("type")
    if kind == "text" and isinstance(given.get("text"), str):
        return {"text": given["text"]}
    if kind == "image_url" and isinstance(given.get("image_url"), dict):
        return _image(given["image_url"].get("url"), at)
    if kind == "input_audio" and isinstance(given.get("input_audio"), dict):
        audio = given["input_audio"]
        data = _decoded(audio.get("data"), at)
        return {"inlineData": {"mimeType": f"audio/{audio.get('format')}", "data": data}}
    raise invalid(f"Invalid value at '{at}.content', {json.dumps(given)[:200]}")


def _image(url: Any, at: str) -> dict[str, Any]:
    match = re.fullmatch(r"data:(image/[\w.+-]+);base64,(.*)", str(url), re.DOTALL)
    if match:
        return {"inlineData": {"mimeType": match[1], "data": _decoded(match[2], at)}}
    if isinstance(url, str) and url.startswith(("gs://", "https://", "http://")):
        kinds = {"png": "image/png", "webp": "image/webp", "gif": "image/gif"}
        kind = kinds.get(url.rpartition(".")[2].lower(), "image/jpeg")
        return {"fileData": {"mimeType": kind, "fileUri": url}}
    raise invalid(
        f"Invalid value at '{at}.content': image_url.url is neither a data URI nor a URL."
    )


def _decoded(data: Any, at: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(data, validate=True)).decode()
    except (binascii.Error, TypeError, ValueError):
        raise invalid(f"Invalid value at '{at}.content': Base64 decoding failed.") from None


def _calls(given: Any, names: dict[str, str], at: str) -> list[dict[str, Any]]:
    parts = []
    for index, one in enumerate(given if isinstance(given, list) else [given]):
        here = f"{at}.tool_calls[{index}]"
        function = _object(_object(one, here).get("function"), f"{here}.function")
        name, text = function.get("name"), function.get("arguments") or "{}"
        try:
            arguments = json.loads(text)
        except (TypeError, ValueError):
            arguments = None
        if not isinstance(name, str) or not isinstance(arguments, dict):
            raise invalid(f"Invalid value at '{here}.function': a name and JSON are wanted.")
        names[str(one.get("id"))] = name
        parts.append({"functionCall": {"name": name, "args": arguments}, **_signature(one)})
    return parts


def _signature(given: Mapping[str, Any]) -> dict[str, str]:
    """The thought signature that came with a call or a text, if it was sent back."""
    found: Any = given.get("extra_content") or {}
    for name in ("google", "thought_signature"):
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return {"thoughtSignature": found} if found else {}


def _add_result(
    contents: list[dict[str, Any]], message: Mapping[str, Any], names: dict[str, str], at: str
) -> None:
    name = names.get(str(message.get("tool_call_id")), message.get("name"))
    if not isinstance(name, str):
        raise invalid(f"Invalid value at '{at}.tool_call_id': no call has this id.")
    texts: Iterable[dict[str, Any]] = _parts(message.get("content"), at)
    text = "".join(part.get("text", "") for part in texts)
    try:
        result = json.loads(text)
    except ValueError:
        result = text
    response = result if isinstance(result, dict) else {"result": result}
    part = {"functionResponse": {"name": name, "response": response}}
    # The results of calls that were made together are one content.
    if contents and "functionResponse" in contents[-1]["parts"][-1]:
        contents[-1]["parts"].append(part)
    else:
        contents.append({"role": "user", "parts": [part]})
