"""The first step: `safe_configure()` for a raw configure(), `override()` for one caller."""

from __future__ import annotations

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")

from genai_config._migrate.adopt import adopt

OLD = "import google.generativeai as genai\n"
FUNCTION = "def ask(key, prompt):\n    genai.configure(api_key=key)\n"

MOVED = {
    "an alias": (OLD + "genai.configure(api_key='k')\n", "safe_configure(api_key='k')"),
    "the package": (
        "import google.generativeai\ngoogle.generativeai.configure(transport='rest')\n",
        "safe_configure(transport='rest')",
    ),
    "the function": (
        "from google.generativeai import configure\nconfigure(**settings)\n",
        "safe_configure(**settings)",
    ),
    "the module": (
        "from google.generativeai import client\nclient.configure(api_key=K)  # ours\n",
        "safe_configure(api_key=K)  # ours",
    ),
    "a taken name": (
        OLD + "safe_configure = 1\ngenai.configure(api_key=K)\n",
        "genai_safe_configure(api_key=K)",
    ),
    "a caller's key": (
        OLD + FUNCTION + "    m = genai.GenerativeModel('m')\n"
        "    return m.generate_content(prompt).text\n",
        "    with override(api_key=key):\n        m = genai.GenerativeModel('m')\n"
        "        return m.generate_content(prompt).text",
    ),
    "a key of a loop": (
        OLD + "def ask(keys):\n    for key in keys:\n        genai.configure(api_key=key)\n"
        "        print(genai.GenerativeModel('m').generate_content('a').text)\n",
        "        with override(api_key=key):\n            print(",
    ),
    "a caller's key, and its answer read": (
        OLD + FUNCTION + "    return json.loads(model.generate_content(prompt).text)\n",
        "    with override(api_key=key):\n        return json.loads(",
    ),
    "inside of another call": (
        OLD + "def ask(key):\n    run(genai.configure(api_key=key))\n",
        "    run(safe_configure(api_key=key))\n",
    ),
    "a caller's key, awaited": (
        OLD + "async def ask(key):\n    genai.configure(api_key=key)\n"
        "    return (await model.generate_content_async('a')).text\n",
        "    with override(api_key=key):\n        return (await",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_it_is_replaced(name: str) -> None:
    """The call keeps its arguments; a second time changes nothing."""
    before, expected = MOVED[name]
    after, sites = adopt(before)
    assert expected in after
    assert [site.outcome for site in sites] == ["migrated"]
    assert adopt(after) == (after, [])


NOT_PLAIN = {
    "a stream": "    return model.generate_content(prompt, stream=True)\n",
    "a coroutine": "    return model.generate_content_async(prompt)\n",
    "a model": "    m = genai.GenerativeModel('m')\n    return m\n",
    "models": "    return [genai.GenerativeModel('m')]\n",
    "a chat": "    chat = model.start_chat()\n    return {'chat': chat}\n",
    "kept": "    cache[key] = genai.GenerativeModel('m')\n",
    "wrapped": "    return run(genai.GenerativeModel('m'))\n",
    "a generator": "    yield model.generate_content(prompt).text\n",
    "a global": "    global last\n    last = model.generate_content(prompt).text\n",
    "a function": "    return (lambda: model.generate_content(prompt))()\n",
}


@pytest.mark.parametrize("name", NOT_PLAIN)
def test_what_asks_later_gets_no_scope(name: str) -> None:
    """The call is replaced all the same, with a note on what it does to other callers."""
    after, sites = adopt(OLD + FUNCTION + NOT_PLAIN[name])
    assert "    safe_configure(api_key=key)\n" in after
    assert [site.outcome for site in sites] == ["migrated", "note"]


ODD = {
    "in an if": "def ask(key):\n    if key:\n        genai.configure(api_key=key)\n"
    "        a = model.generate_content('a').text\n    return a\n",
    "after a loop": "def ask(keys):\n    for key in keys:\n        genai.configure(api_key=key)\n"
    "        model.generate_content('a')\n    return model.generate_content('b').text\n",
    "in an expression": "def ask(key):\n    x = genai.configure(api_key=key)\n"
    "    return model.generate_content('b').text\n",
    "a dictionary": "def ask(key):\n    genai.configure(api_key=key, **more)\n"
    "    return model.generate_content('b').text\n",
    "an awaited stream": "async def ask(key):\n    genai.configure(api_key=key)\n"
    "    return await model.generate_content_async('b', stream=True)\n",
    "nothing": "genai.configure()\n",
}


@pytest.mark.parametrize("name", ODD)
def test_other_shapes_get_a_note(name: str) -> None:
    """Only the whole rest of a function, or of a loop, is put into a scope."""
    after, sites = adopt(OLD + ODD[name])
    assert "override" not in after
    assert sites[-1].outcome == "note"


def test_what_is_left() -> None:
    """The function itself, and texts that name it."""
    code = (
        OLD + "run(genai.configure)\nmock.patch('google.generativeai.configure')\n"
        "import openai\nopenai.configure(api_key=1)\nprint(genai.configure.__doc__)\n"
    )
    after, sites = adopt(code)
    assert after == code
    assert [(site.line, site.outcome) for site in sites] == [
        (2, "unchanged"),
        (6, "unchanged"),
        (3, "unchanged"),
    ]


def test_without_the_sdk() -> None:
    """Nothing is found."""
    assert adopt("import openai\n") == ("import openai\n", [])
