"""A librarian on google-generativeai: the program that docs/google-genai.md moves."""

from __future__ import annotations

import asyncio
import os

import google.generativeai as genai
from google.api_core import exceptions
from google.generativeai.types import HarmBlockThreshold, HarmCategory

genai.configure(api_key=os.environ["GEMINI_API_KEY"])

BOOKS = {
    "Moby-Dick": "A captain hunts a whale.",
    "Emma": "A young woman matches her friends.",
    "Dracula": "A count moves to England.",
}

# What every answer goes by.
generation_config = genai.GenerationConfig(
    temperature=0.2,
    top_p=0.95,
    max_output_tokens=512,
)

safety_settings = {
    HarmCategory.HARM_CATEGORY_HARASSMENT: HarmBlockThreshold.BLOCK_ONLY_HIGH,
    HarmCategory.HARM_CATEGORY_DANGEROUS_CONTENT: HarmBlockThreshold.BLOCK_ONLY_HIGH,
}


def find_book(title: str) -> str:
    """Says what a book is about."""
    return BOOKS.get(title, "We do not have it.")


def reserve(title: str, days: int) -> str:
    """Reserves a book for some days."""
    return f"{title} is yours for {days} days."


librarian = genai.GenerativeModel(
    "gemini-3.6-flash",
    system_instruction="You are a librarian. Be brief.",
    generation_config=generation_config,
    safety_settings=safety_settings,
    tools=[find_book, reserve],
)
writer = genai.GenerativeModel("gemini-3.6-flash")  # no settings of its own
critic = genai.GenerativeModel("tunedModels/critic")


def talk() -> None:
    """A conversation in which the model calls functions."""
    chat = librarian.start_chat(enable_automatic_function_calling=True)
    for question in ("Is there a book about a whale?", "Reserve it for a week."):
        answer = chat.send_message(question)
        print("librarian:", answer.text)
    print(len(chat.history), "turns")


def tell() -> None:
    """An answer in chunks, and the conversation that it starts."""
    chat = writer.start_chat(
        history=[
            {"role": "user", "parts": ["I like the sea."]},
            {"role": "model", "parts": ["So do I."]},
        ]
    )
    for chunk in chat.send_message("Tell me a story of it.", stream=True):
        print(chunk.text, end="", flush=True)
    print()
    short = chat.send_message(
        "Once more, in ten words.",
        generation_config=genai.GenerationConfig(
            max_output_tokens=40,
            stop_sequences=["THE END"],  # it likes to write that
        ),
    )
    print("writer:", short.text)


async def summary(title: str) -> str:
    """What a book is about, in one sentence."""
    response = await writer.generate_content_async(
        ["Summarise in one sentence:", title, BOOKS[title]],
        generation_config={"temperature": 0.0},
    )
    return str(response.text)


async def summaries() -> None:
    """All books at once."""
    for text in await asyncio.gather(*[summary(title) for title in BOOKS]):
        print("summary:", text)


def embed(text: str) -> list[float]:
    """The vector of a text."""
    result = genai.embed_content(
        model="models/gemini-embedding-2",
        content=text,
        task_type="retrieval_document",
    )
    return result["embedding"]


def nearest(question: str) -> str:
    """The book whose description is nearest to a question."""
    asked = genai.embed_content(
        model="models/gemini-embedding-2",
        content=question,
        task_type="retrieval_query",
    )["embedding"]

    def distance(title: str) -> float:
        pairs = zip(asked, embed(BOOKS[title]), strict=True)
        return sum((one - other) ** 2 for one, other in pairs)

    return min(BOOKS, key=distance)


def judge(title: str) -> None:
    """What a tuned model thinks of a book, and what it costs to ask."""
    prompt = f"Judge {title}: {BOOKS[title]}"
    print(writer.count_tokens(prompt).total_tokens, "tokens")
    try:
        print("critic:", critic.generate_content(prompt).text)
    except exceptions.GoogleAPICallError as error:
        print("no critic today:", error)


def look(picture: bytes) -> None:
    """What is on the cover of a book."""
    response = writer.generate_content(
        [{"mime_type": "image/png", "data": picture}, "Which book is this?"],
        request_options={"timeout": 60},
    )
    print("cover:", response.text)
    print(response.usage_metadata.total_token_count, "tokens")


def main() -> None:
    """All of it."""
    talk()
    tell()
    asyncio.run(summaries())
    print("nearest:", nearest("Who hunts a whale?"))
    judge("Dracula")
    look(b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    main()
