"""Messages as JSON and back: as protobuf's own, and with what that drops."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from google.ai import generativelanguage_v1beta as glm
from google.protobuf import json_format

from genai_config._transport import json_codec
from genai_config.exceptions import UnsupportedRequestError
from genai_config.testing._service.methods import methods

SIGNATURE = b"\x00\xffsignature"


def part(*fields: bytes) -> Any:
    """A part with a text and fields that the SDK has no name for, as gRPC gives it."""
    one = glm.Part(text="a")
    type(one).pb(one).MergeFromString(b"".join(fields))
    return one


THOUGHT = b"\x58\x01"  # 11, true
SIGNED = b"\x6a" + bytes([len(SIGNATURE)]) + SIGNATURE  # 13


def test_thought_signatures_go_and_come_back() -> None:
    """Under the Gemini API's own names and numbers; copies and pickles keep them."""
    sent = part(THOUGHT, SIGNED)
    data = json_codec.encode(type(sent).pb(sent))
    assert data == {"text": "a", "thought": True, "thoughtSignature": "AP9zaWduYXR1cmU="}
    back = glm.Part()
    json_codec.decode(data, type(back).pb(back))
    assert glm.Part.serialize(back) == glm.Part.serialize(sent)
    for same in (copy.deepcopy(back), pickle.loads(pickle.dumps(back))):  # noqa: S301 -- our own
        assert json_codec.encode(glm.Part.pb(same)) == data


def test_newer_fields_of_answers_are_kept() -> None:
    """Numbers and texts, as gRPC keeps them."""
    data = {
        "responseId": "r",
        "usageMetadata": {"thoughtsTokenCount": 300, "promptTokenCount": 2},
        "candidates": [{"finishMessage": "why"}],
    }
    answer = glm.GenerateContentResponse.pb()()
    json_codec.decode(data, answer)
    assert json_codec.encode(answer) == data


def test_what_has_no_name_is_not_dropped() -> None:
    """A field, or a value of an enum: refused, as JSON could only leave it out."""
    unknown = part(b"\x72\x00")  # 14, empty
    with pytest.raises(UnsupportedRequestError, match="field 14"):
        json_codec.encode(type(unknown).pb(unknown))
    config = glm.FunctionCallingConfig.pb()(mode=9)
    with pytest.raises(UnsupportedRequestError, match="Mode 9"):
        json_codec.encode(config)
    assert json_codec.encode(glm.FunctionCallingConfig.pb()(mode=4)) == {"mode": "VALIDATED"}


@pytest.mark.parametrize("name", sorted(methods()))
def test_the_rest_is_as_protobufs_own(name: str, one_by_one: Any) -> None:
    """Every field of every message of the SDK, alone: the same JSON, and back to the same bytes."""
    method = methods()[name]
    for message_class in (method.request, method.response):
        for path, message in one_by_one(message_class):
            data = json_codec.encode(message)
            assert data == json_format.MessageToDict(message), path
            back = message_class()
            json_codec.decode(data, back)
            assert back.SerializeToString() == message.SerializeToString(), path


@pytest.mark.parametrize(
    ("given", "number"),
    [
        ("STOP", 1), ("MODEL_ARMOR", 5), ("NEVER_HEARD_OF", 5), ("IMAGE_OTHER", 15), (99, 99),
        ("FINISH_REASON_UNSPECIFIED", 0), ("BLOCKED_REASON_UNSPECIFIED", 0),
    ],
)  # fmt: skip
def test_no_unknown_reason_is_a_good_end(given: Any, number: int) -> None:
    """The SDK's chat takes 0 for one."""
    candidate = glm.Candidate.pb()()
    json_codec.decode({"finishReason": given}, candidate)
    assert candidate.finish_reason == number


def test_other_unknown_names_are_unspecified() -> None:
    """As protobuf's own does."""
    rating = glm.SafetyRating.pb()()
    json_codec.decode({"category": "HARM_CATEGORY_JAILBREAK", "blocked": True}, rating)
    assert (rating.category, rating.blocked) == (0, True)


@pytest.mark.parametrize(
    "data",
    [[], "text", {"candidates": {"a": 1}}, {"candidates": [1]}, {"candidates": [{"index": "x"}]},
     {"candidates": [{"content": {"parts": [{"text": 5}]}}]},
     {"candidates": [{"content": {"parts": [{"functionCall": {"args": 5}}]}}]},
     {"usageMetadata": {"promptTokenCount": 2**40}}, {"responseId": 5}],
)  # fmt: skip
def test_data_that_are_no_answer(data: Any) -> None:
    """One kind of error, which does not quote them."""
    with pytest.raises(ValueError, match="not a GenerateContentResponse"):
        json_codec.decode(data, glm.GenerateContentResponse.pb()())


def test_nothing_is_nothing() -> None:
    """Null is no value, and names in protobuf's own form are taken too."""
    answer = glm.GenerateContentResponse.pb()()
    feedback = {"block_reason": "SAFETY"}
    json_codec.decode({"candidates": None, "prompt_feedback": feedback, "new": {"a": 1}}, answer)
    assert answer == glm.GenerateContentResponse.pb()(prompt_feedback=feedback)


@pytest.mark.parametrize(
    ("value", "data"),
    [(0.1, 0.1), (1 / 3, 0.33333334), (float("inf"), "Infinity"), (float("-inf"), "-Infinity"),
     (float("nan"), "NaN"), (1e-30, 1e-30), (16777217.0, 16777216.0)],
)  # fmt: skip
def test_numbers_are_short(value: float, data: Any) -> None:
    """A float of 32 bits is written as it was meant."""
    assert json_codec.encode(glm.GenerationConfig.pb()(temperature=value)) == {"temperature": data}
    candidate = glm.Candidate.pb()
    # The messages of older SDKs have no such field.
    if isinstance(data, str) and "avg_logprobs" in candidate.DESCRIPTOR.fields_by_name:
        assert json_codec.encode(glm.Candidate.pb()(avg_logprobs=value)) == {"avgLogprobs": data}


def test_bytes_in_either_alphabet() -> None:
    """With or without what fills them up."""
    for text in ("-_8=", "-_8", "+/8="):
        blob = glm.Blob.pb()()
        json_codec.decode({"data": text}, blob)
        assert blob.data == b"\xfb\xff"
