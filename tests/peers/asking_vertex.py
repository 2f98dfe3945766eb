"""Google's own clients of Vertex AI ask the local server; prints their answers as JSON.

It runs in an environment of its own, where google-cloud-aiplatform is: its protobuf does not go
with google-generativeai's. Arguments: the server's host and port.
"""

from __future__ import annotations

import json
import sys
import warnings
from typing import Any

PROJECT, LOCATION, MODEL = "my-project", "us-central1", "gemini-3.6-flash"
PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
ENDPOINT = f"{PARENT}/endpoints/456"
PUBLISHED = f"{PARENT}/publishers/google/models/{MODEL}"


def by_vertexai(endpoint: str) -> dict[str, Any]:
    """`vertexai.GenerativeModel`: a base model and a tuned one."""
    import vertexai
    from vertexai.generative_models import GenerativeModel

    vertexai.init(project=PROJECT, location=LOCATION, api_endpoint=endpoint, api_transport="rest")
    base, tuned = GenerativeModel(MODEL), GenerativeModel(ENDPOINT)
    chat = base.start_chat()
    return {
        "base": base.generate_content("hi").text,
        "streamed": [chunk.text for chunk in base.generate_content("hi", stream=True)],
        "chat": [chat.send_message("hi").text, chat.send_message("again").text],
        "turns": len(chat.history),
        "counted": base.count_tokens("hi there").total_tokens,
        "tuned": tuned.generate_content("hi").text,
    }


def by_generated_clients(endpoint: str) -> dict[str, Any]:
    """The REST clients of google-cloud-aiplatform: prediction and caches."""
    from google.api_core import exceptions
    from google.cloud import aiplatform_v1beta1 as vertex

    options = {"api_endpoint": endpoint}
    prediction = vertex.PredictionServiceClient(transport="rest", client_options=options)
    caches = vertex.GenAiCacheServiceClient(transport="rest", client_options=options)
    contents: Any = [{"role": "user", "parts": [{"text": "hi there"}]}]
    made = caches.create_cached_content(
        parent=PARENT, cached_content={"model": PUBLISHED, "contents": contents}
    )
    listed = [one.name for one in caches.list_cached_contents(parent=PARENT)]
    got = caches.get_cached_content(name=made.name)
    answer = prediction.generate_content(
        request={"model": PUBLISHED, "contents": contents, "cached_content": made.name}
    )
    caches.delete_cached_content(name=made.name)
    try:
        caches.get_cached_content(name=made.name)
    except exceptions.NotFound as error:
        gone = error.code
    values = prediction.predict(
        endpoint=PUBLISHED.replace(MODEL, "text-embedding-005"),
        instances=[{"content": "hi"}],
        parameters={"outputDimensionality": 8},
    ).predictions[0]["embeddings"]["values"]
    return {
        "cache": made.name,
        "listed": listed,
        "got": got.name,
        "answer": answer.candidates[0].content.parts[0].text,
        "gone": gone,
        "width": len(values),
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    told = {**by_vertexai(sys.argv[1]), **by_generated_clients(sys.argv[1])}
    sys.stdout.write(json.dumps(told))
