"""A FastAPI application with a tenant, and so a key, per request: ``uvicorn tenants:app``.

The tenant's scope ends after the response; in FastAPI 0.106 to 0.117 it ends before. What runs in
between, a background task or a response's generator, has the tenant's key in each with `bind`.
"""

from collections.abc import AsyncIterator
from typing import Annotated

import google.generativeai as genai
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException
from fastapi.responses import StreamingResponse

from genai_config import bind, override

KEYS: dict[str, str] = {}
"""The key of each tenant; in production, your store of secrets."""

model = genai.GenerativeModel("gemini-3.6-flash")


async def tenant(x_tenant: Annotated[str, Header()]) -> AsyncIterator[None]:
    """Puts the tenant's key in force for this request alone."""
    if x_tenant not in KEYS:
        raise HTTPException(401, "unknown tenant")
    with override(api_key=KEYS[x_tenant], default_metadata=[("x-tenant", x_tenant)]):
        yield


app = FastAPI(dependencies=[Depends(tenant)])


@app.get("/sync")
def answer(question: str) -> str:
    """In a thread of FastAPI's pool."""
    text: str = model.generate_content(question).text
    return text


@app.get("/async")
async def answer_async(question: str) -> str:
    """On the event loop."""
    text: str = (await model.generate_content_async(question)).text
    return text


@app.get("/later")
async def answer_later(question: str, background: BackgroundTasks) -> None:
    """After the response."""
    background.add_task(bind(model.generate_content), question)


@app.get("/stream")
async def stream(question: str) -> StreamingResponse:
    """The request is made here, with the tenant's key; the chunks come as they come."""
    chunks = await model.generate_content_async(question, stream=True)

    async def texts() -> AsyncIterator[str]:
        async for chunk in chunks:
            yield chunk.text

    return StreamingResponse(texts(), media_type="text/plain")
