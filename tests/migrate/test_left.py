"""What is left as it is, and why: never a guess that compiles and means something else."""

from __future__ import annotations

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")

from genai_config._migrate.moving import move

HEAD = 'import google.generativeai as genai\nmodel = genai.GenerativeModel("m")\n'

LEFT = {
    "returned": (HEAD + "def get():\n    return model\n", 4, "return"),
    "passed on": (HEAD + "run(model)\n", 3, "passed on"),
    "kept elsewhere": (HEAD + "state.model = model\n", 3, "not followed"),
    "in a dictionary": (HEAD + 'models = {"a": model}\n', 3, "dictelement"),
    "unknown method": (HEAD + "model.tune()\n", 3, ".tune"),
    "unknown attribute": (HEAD + "print(model.model_name)\n", 3, ".model_name"),
    "another value": (HEAD + "model = other()\n", 2, "something else"),
    "stream decided later": (HEAD + 'model.generate_content("a", stream=flag)\n', 3, "stream="),
    "starred arguments": (HEAD + "model.generate_content(*args)\n", 3, "list or dictionary"),
    "resolve": (
        HEAD + 'r = model.generate_content("a", stream=True)\nr.resolve()\n', 4, ".resolve",
    ),
    "value error": (
        HEAD
        + 'try:\n    print(model.generate_content("a").text)\n'
        "except ValueError:\n    print(1)\n",
        4, "ValueError",
    ),
    "a number": (
        HEAD
        + 'r = model.generate_content("a")\nif r.candidates[0].finish_reason == 1:\n    print(1)\n',
        4, "finish_reason",
    ),
    "unknown config": (
        HEAD + 'def f(c):\n    return model.generate_content("a", generation_config=c).text\n',
        4, "generation_config=c",
    ),
    "unknown field": (
        HEAD + 'print(model.generate_content("a", generation_config={"x": 1}).text)\n', 3, '"x"',
    ),
    "merged safety": (
        'import google.generativeai as genai\n'
        'm = genai.GenerativeModel("m", safety_settings={"sex": "low"})\n'
        'print(m.generate_content("a", safety_settings={"hate": "low"}).text)\n',
        3, "merged",
    ),
    "counting an instruction": (
        'import google.generativeai as genai\n'
        'm = genai.GenerativeModel("m", system_instruction="s")\nprint(m.count_tokens("a"))\n',
        3, "count_tokens",
    ),
    "retries": (
        HEAD + 'model.generate_content("a", request_options={"retry": r, "timeout": 1})\n',
        3, "timeout",
    ),
    "a chat of both kinds": (
        HEAD
        + 'chat = model.start_chat()\nchat.send_message("a")\n'
        "async def f():\n    await chat.send_message_async('a')\n",
        6, "synchronous or asynchronous",
    ),
    "the last answer": (HEAD + "chat = model.start_chat()\nprint(chat.last.text)\n", 4, ".last"),
    "one or several texts": (
        "import google.generativeai as genai\n"
        'def f(x):\n    return genai.embed_content(model="m", content=x)["embedding"]\n',
        3, "one text or several",
    ),
    "a file of an unknown path": (
        "import google.generativeai as genai\ndef f(x):\n    print(genai.upload_file(x()).name)\n",
        3, "named after its path",
    ),
    "several keys": (
        "import google.generativeai as genai\n"
        "genai.configure(api_key=A)\n"
        'm = genai.GenerativeModel("m")\nm.generate_content("a")\n'
        "genai.configure(api_key=B)\n"
        'm.generate_content("a")\n',
        3, "several keys",
    ),
    "narrow error with others": (
        "import google.generativeai as genai\nfrom google.api_core import exceptions\n"
        'm = genai.GenerativeModel("m")\ntry:\n    m.generate_content("a")\n'
        "except exceptions.ResourceExhausted:\n    print(1)\nexcept Exception:\n    print(2)\n",
        6, "other handlers",
    ),
    "deadline": (
        "import google.generativeai as genai\nfrom google.api_core import exceptions\n"
        'm = genai.GenerativeModel("m")\ntry:\n    m.generate_content("a")\n'
        "except exceptions.DeadlineExceeded:\n    print(1)\n",
        6, "DeadlineExceeded",
    ),
    "tuning": (
        "import google.generativeai as genai\ngenai.create_tuned_model(source_model='m')\n",
        2, "May 2025",
    ),
    "annotation": (
        "import google.generativeai as genai\ndef f(m: genai.GenerativeModel): ...\n",
        2, "cannot be followed",
    ),
    "blocked prompts": (
        HEAD
        + 'chat = model.start_chat()\ntry:\n    chat.send_message("a")\n'
        "except genai.types.BlockedPromptException:\n    print(1)\n",
        6, "counterpart",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_it_stays_as_it_is(name: str) -> None:
    """The whole of what belongs together stays, with a reason in the right line."""
    code, line, sign = LEFT[name]
    after, sites = move(code)
    assert after == code
    reasons = {site.line: site.reason for site in sites if site.outcome == "left"}
    assert sign in reasons[line]
    assert all(site.todo for site in sites if site.outcome == "left")


UNTOUCHED = {
    "no code of the SDK": "import json\nprint(json.dumps({}))\n",
    "google.genai": (
        "from google import genai\nclient = genai.Client()\n"
        'client.models.generate_content(model="m", contents="a")\n'
    ),
    "another library": (
        'import openai\nopenai.configure(api_key="k")\n# google.generativeai was here\n'
    ),
    "either of two": (
        "try:\n    import google.generativeai as genai\nexcept ImportError:\n"
        "    import other as genai\n"
        'print(genai.GenerativeModel("m").generate_content("a").text)\n'
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_names_of_others_are_untouched(name: str) -> None:
    """Nothing is found in them, and nothing is changed."""
    assert move(UNTOUCHED[name])[0] == UNTOUCHED[name]


def test_a_variable_that_another_file_imports_stays() -> None:
    """The other file would find a name in the place of a model."""
    code = HEAD + 'print(model.generate_content("a").text)\n'
    after, sites = move(code, frozenset({"model"}))
    assert after == code
    assert "another file" in sites[0].reason
