"""A pool of forked workers, as Celery and gunicorn make them: ``python worker.py``.

The parent configures, and may call too; each child makes connections and tokens of its own.
"""

import multiprocessing
import os

import google.generativeai as genai

from genai_config import override, safe_configure

safe_configure(timeout=60)  # the key comes from GEMINI_API_KEY

KEYS = {"free": os.environ.get("FREE_KEY"), "paid": os.environ.get("PAID_KEY")}
model = genai.GenerativeModel("gemini-3.6-flash")


# With Celery there is an @app.task here, and all else is the same.
def answer(plan: str, question: str) -> str:
    """One task: the key of its plan while it runs, and the worker's own again afterwards."""
    with override(api_key=KEYS[plan]):
        text: str = model.generate_content(question).text
    return f"{plan}: {text}"


if __name__ == "__main__":
    print("parent:", model.generate_content("hi").text)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for line in pool.starmap(answer, [("free", "hi"), ("paid", "hi"), ("free", "hi")]):
            print(line)
