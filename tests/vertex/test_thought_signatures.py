"""Thought signatures over JSON: Gemini 3 refuses a conversation in which they are missing."""

from __future__ import annotations

import base64
import copy
import os
import pickle
from typing import Any

import google.generativeai as genai
import pytest

from genai_config._transport import json_call

MODEL = "models/gemini-x"


def signed(signature: bytes) -> bytes:
    """A function call with a thought signature, as the service sends it."""
    part = {
        "functionCall": {"name": "f", "args": {"a": 1}},
        "thoughtSignature": base64.b64encode(signature).decode(),
    }
    thought = {"text": "hm", "thought": True}
    content = {"role": "model", "parts": [thought, part]}
    return json_call._json({"candidates": [{"content": content, "finishReason": "STOP"}]})


class TestThoughtSignatures:
    """Gemini 3 refuses a conversation in which they are missing."""

    @pytest.fixture(autouse=True)
    def unlike_others(self) -> None:
        """A signature that was given to nobody else before."""
        self.signature = os.urandom(12)

    def sent_back(self, recorder: Any) -> Any:
        """The model's turn, as the last request had it."""
        turn = next(c for c in recorder.requests[-1].body["contents"] if c["role"] == "model")
        thought, part = turn["parts"]
        assert thought == {"text": "hm", "thought": True}
        assert part["thoughtSignature"] == base64.b64encode(self.signature).decode()
        return part["functionCall"]

    def test_in_a_conversation(self, backend: str, recorder: Any) -> None:
        """The history of a chat has them, and so have its copies."""
        chat: Any = genai.GenerativeModel(MODEL).start_chat()
        recorder.respond(signed(self.signature))
        chat.send_message("hi")
        chat.send_message("go on")
        assert self.sent_back(recorder) == {"name": "f", "args": {"a": 1}}
        chat.history[:] = copy.deepcopy(chat.history)
        chat.send_message("go on")
        self.sent_back(recorder)
        chat.history[:] = pickle.loads(pickle.dumps(chat.history))  # noqa: S301 -- our own
        chat.send_message("go on")
        self.sent_back(recorder)
        assert backend in ("gemini", "vertex")

    def test_in_automatic_function_calling(self, backend: str, recorder: Any) -> None:
        """The SDK calls the function and sends the turn back."""
        called: list[float] = []

        def f(a: float) -> str:
            """Does something."""
            called.append(a)
            return "done"

        chat: Any = genai.GenerativeModel(MODEL, tools=[f]).start_chat(
            enable_automatic_function_calling=True
        )
        recorder.respond(signed(self.signature))
        assert chat.send_message("hi").text == "yes"
        assert called == [1]
        self.sent_back(recorder)
        assert backend in ("gemini", "vertex")

    def test_in_a_stream(self, backend: str, recorder: Any) -> None:
        """What is put together from it is in the history."""
        chat: Any = genai.GenerativeModel(MODEL).start_chat()
        recorder.respond(b"data: " + signed(self.signature) + b"\n\n")
        for _ in chat.send_message("hi", stream=True):
            pass
        chat.send_message("go on")
        self.sent_back(recorder)
        assert backend in ("gemini", "vertex")
