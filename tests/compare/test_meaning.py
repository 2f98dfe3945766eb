"""What two SDKs write in different words is the same, and everything else is a difference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.ai import generativelanguage_v1beta as glm

from genai_config._compare.differences import Difference, compare
from genai_config._compare.meaning import Meaning, meanings
from genai_config._compare.schemas import levelled
from genai_config.testing import RecordedRequest


def recorded(method: str, message: Any = None, resource: str = "models/m") -> RecordedRequest:
    """A request as the server remembers it."""
    return RecordedRequest(
        method=f"Service.{method}", resource=resource, transport="rest", auth="api_key",
        identity="k", scopes=frozenset(), headers={}, connection="c", message=message,
    )  # fmt: skip


def said(method: str, message: Any = None, resource: str = "models/m") -> dict[str, Any]:
    """The body of what one request says."""
    (found,) = meanings([recorded(method, message, resource)])
    return found.body


TEXT = glm.Content(parts=[glm.Part(text="a")])
USER = glm.Content(role="user", parts=[glm.Part(text="a")])
MODEL = glm.Content(role="model", parts=[glm.Part(text="b")])


def test_roles_and_chunks() -> None:
    """A content is the user's by default; a turn in chunks is one turn."""
    generate = glm.GenerateContentRequest
    one = generate(model="models/m", contents=[TEXT, glm.Content(role="model", parts=[
        glm.Part(text="b"), glm.Part(text="b")])], system_instruction=TEXT)  # fmt: skip
    other = generate(contents=[USER, MODEL, MODEL], system_instruction=USER)
    assert said("GenerateContent", one) == said("GenerateContent", other)
    assert said("GenerateContent", generate()) == {}
    twice = generate(contents=[USER, USER])
    assert said("GenerateContent", twice) != said("GenerateContent", generate(contents=[USER]))


def test_counting_and_embedding() -> None:
    """Contents alone or in a request; a text alone or as a batch of one."""
    inner = glm.GenerateContentRequest(model="models/m", contents=[TEXT])
    counted = glm.CountTokensRequest(model="models/m", generate_content_request=inner)
    assert said("CountTokens", counted) == said(
        "CountTokens", glm.CountTokensRequest(model="models/m", contents=[USER])
    )
    one = glm.EmbedContentRequest(model="models/m", content=TEXT)
    batch = glm.BatchEmbedContentsRequest(model="models/m", requests=[one])
    assert said("EmbedContent", one) == said("BatchEmbedContents", batch)


def test_steps_of_an_upload_and_pages_of_a_list() -> None:
    """They are one request; names that the service gives are numbered."""
    file = glm.File(name="files/x", display_name="a")
    pages = [glm.ListFilesRequest(page_size=5), glm.ListFilesRequest(page_token="2")]
    found = meanings([
        recorded("CreateFile", file, "files/x"),
        recorded("GetFile", glm.GetFileRequest(name="files/x"), "files/x"),
        *(recorded("ListFiles", page, "") for page in pages),
    ])  # fmt: skip
    assert [(one.method, one.resource) for one in found] == [
        ("CreateFile", "files/1"), ("GetFile", "files/1"), ("ListFiles", ""),
    ]  # fmt: skip
    assert found[-1].body == {}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"type": "integer", "default": 1}, {"type": "INTEGER"}),
        (
            {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            {"type": "STRING", "nullable": True},
        ),
        (
            {"type": "object", "properties": {"b": {"type": "number"}, "a": {"type": "array",
             "items": {"type": "string"}}}, "required": ["b", "a"]},
            {"type": "OBJECT", "properties": {"a": {"type": "ARRAY", "items": {"type": "STRING"}},
             "b": {"type": "NUMBER"}}, "required": ["a", "b"]},
        ),
    ],
)  # fmt: skip
def test_schemas(one: dict[str, Any], other: dict[str, Any]) -> None:
    """JSON Schema and Google's own."""
    assert levelled(one) == levelled(other)


def test_schemas_with_choices_differ_from_those_without() -> None:
    """They are kept."""
    assert levelled({"anyOf": [{"type": "string"}, {"type": "integer"}]})["anyOf"]


def test_differences_are_found_by_path() -> None:
    """Equal requests belong together in any order; of the others, what differs is named."""
    first = Meaning("Generate", "models/a", "api_key", {"contents": [{"text": "x"}]}, "OK")
    second = first._replace(resource="models/b")
    changed = second._replace(body={"contents": [{"text": "y"}]}, credentials="oauth")
    same, differs, gone = compare([first, second, first], [changed, first])
    assert (same.differences, gone.differences[0].after) == ((), "(absent)")
    assert differs.differences == (
        Difference("credentials", '"api_key"', '"oauth"'),
        Difference("contents[0].text", '"x"', '"y"'),
    )
    (new,) = compare([], [first])
    assert new.differences[0].before == "(absent)"
    (moved,) = compare([first], [second])
    assert moved.differences == (Difference("resource", '"models/a"', '"models/b"'),)


def test_functions_without_arguments() -> None:
    """One SDK writes an empty description, the other none."""
    one = {"name": "f"}
    request = glm.GenerateContentRequest
    functions = [request(tools=[{"function_declarations": [one | more]}])
                 for more in ({}, {"description": " "})]  # fmt: skip
    assert said("GenerateContent", functions[0]) == said("GenerateContent", functions[1])


@pytest.mark.parametrize(
    ("request_", "method", "resource", "sign"),
    [
        (
            replace(recorded("x", resource="/v1beta/tunedModels/t:countTokens"), method="",
                    status="NOT_FOUND"),
            "CountTokens", "tunedModels/t", "no method",
        ),
        (replace(recorded("x", resource="/elsewhere"), method=""), "unknown request", "/elsewhere",
         "no method"),
        (replace(recorded("x", resource="/v1/what"), method=""), "unknown request", "what",
         "no method"),
        (replace(recorded("GenerateContent"), status="INVALID_ARGUMENT"), "GenerateContent",
         "models/m", "INVALID_ARGUMENT"),
        (recorded("Responses"), "Responses", "models/m", "not recorded"),
        (recorded("CountTokens", object()), "CountTokens", "models/m", "AttributeError"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_hides_nothing(
    request_: RecordedRequest, method: str, resource: str, sign: str
) -> None:
    """Its method and resource as far as they are known, with the reason, between the others."""
    other = recorded("GenerateContent", glm.GenerateContentRequest(contents=[USER]))
    first, found, last = meanings([other, request_, other])
    assert (found.method, found.resource) == (method, resource)
    assert sign in found.problem
    assert first == last
    assert first.problem == ""
    # It proves nothing, even where both runs send it.
    same, differs, _ = compare([first, found, last], [first, found, last])
    assert same.differences == ()
    assert sign in differs.differences[0].before


def test_a_comparison_that_fails_is_told_and_hides_nothing() -> None:
    """Of an unexpected value, for example."""
    first = Meaning("Generate", "models/a", "api_key", {"contents": "x"}, "OK")
    odd = first._replace(body={"contents": b"x"})
    differs, same = compare([odd, first], [first, first._replace(body={"contents": "y"})])
    assert "TypeError" in differs.differences[0].before
    assert "TypeError" in differs.differences[0].after
    assert same.differences == ()
