"""What is left as it is, and why: never a guess that compiles and means something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")

from genai_config._migrate.moving import move
from genai_config._migrate.tuned import ONLY_OVER_GRPC
from genai_config._transport.http_rules import RULES

HEAD = 'import google.generativeai as genai\nmodel = genai.GenerativeModel("m")\n'


def read_left() -> dict[str, str]:
    """All programs of left.txt; behind ``#!``, what is said of a line that is left."""
    text = Path(__file__).with_name("left.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^=== (.*?)\n(.*?)(?=^=== |\Z)", text, re.DOTALL | re.MULTILINE))


LEFT = read_left()


@pytest.mark.parametrize("name", LEFT)
def test_it_stays_as_it_is(name: str) -> None:
    """The whole of what belongs together stays, with a reason in the right line."""
    code = LEFT[name]
    after, sites = move(code)
    assert after == code
    left = [site for site in sites if site.outcome == "unchanged"]
    (at,) = (n for n, line in enumerate(code.splitlines(), 1) if "#!" in line)
    sign = code.splitlines()[at - 1].partition("#! ")[2]
    assert any(sign in site.reason for site in left if site.line == at)
    assert all(site.todo for site in left)


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


def test_only_models_that_are_held_stay_where_keys_change() -> None:
    """One that is made for a call asks with the key of that moment, as before."""
    keys = "from genai_config import safe_configure\nsafe_configure(api_key=A)\n"
    code = f'{HEAD}{keys}print(genai.GenerativeModel("m").generate_content("a").text)\n'
    after, sites = move(code + "safe_configure(api_key=B)\n")
    assert "shared_client()" in after
    assert [site.what for site in sites if site.outcome == "unchanged"] == ["GenerativeModel"]


def test_only_what_may_be_tuned_is_left() -> None:
    """Names that are the same by chance, and cycles of variables, are no tuned models."""
    code = (
        "import google.generativeai as genai\n"
        'keep, name = "tunedModels/mine", "m"\n'
        "a = b\nb = a\n"
        'print(genai.GenerativeModel(get(keep=name)).count_tokens("x").total_tokens)\n'
        'print(genai.GenerativeModel(names.keep).count_tokens("x").total_tokens)\n'
        'print(genai.GenerativeModel(a).count_tokens("x").total_tokens)\n'
        'print(genai.GenerativeModel().count_tokens("x").total_tokens)\n'
    )
    assert [site for site in move(code)[1] if site.outcome == "unchanged"] == []


def test_the_methods_of_tuned_models_over_grpc_alone() -> None:
    """Of the methods that are migrated, those whose path over REST takes only base models."""
    migrated = {
        "count_tokens": "CountTokens", "embed_content": "EmbedContent",
        "generate_content": "GenerateContent", "stream": "StreamGenerateContent",
    }  # fmt: skip
    left = {name for name, method in migrated.items()
            if "tunedModels" not in RULES[f"GenerativeService.{method}"][1]}  # fmt: skip
    assert left == ONLY_OVER_GRPC.keys()


def test_coroutines_in_a_row_by_hand() -> None:
    """What is written for them can be migrated."""
    sites = move(LEFT["coroutines in a row"])[1]
    (todo,) = {site.todo for site in sites}
    written = re.findall(r"async def ask.*?\.text", todo)[0]
    code = f"import asyncio\n{HEAD}{written}\nasyncio.gather(*(ask(q) for q in qs))\n"
    assert {site.outcome for site in move(code)[1]} == {"migrated"}


def test_a_site_is_masked_before_it_is_cut() -> None:
    """Half a key would be recognised no more."""
    history = "conversation_of_somebody_else('AIzaSyA1234567890')"
    (site, *_) = (s for s in move(f"{HEAD}model.start_chat(history={history})\n")[1]
                  if "somebody" in s.what)  # fmt: skip
    assert len(site.what) == 40
    assert "AIza" not in site.what
