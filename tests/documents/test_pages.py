"""Every page of docs/ does what it says: its Python is run, and the server's records are read."""

from __future__ import annotations

import asyncio
import doctest
import gc
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import google.generativeai
import pytest
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client as client_lib

from genai_config import safe_configure
from genai_config.testing import isolated, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from genai_config.testing import GeminiServer

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"

BASE, TUNED = "models/gemini-3.6-flash", "tunedModels/mine"
MINE, TENANT = (BASE, "mine", "grpc"), (BASE, "tenant", "grpc")
OAUTH, TUNED_OAUTH = (BASE, "account", "grpc"), (TUNED, "account", "grpc")
LIST, TUNED_LIST = ("", "mine", "grpc"), ("", "account", "grpc")

SEEN = {
    "index": [MINE, TUNED_OAUTH],
    "ai-studio-key": [MINE],
    "base-and-tuned": [
        *(MINE, TUNED_OAUTH, LIST, TUNED_LIST),
        *(MINE, TUNED_OAUTH, TUNED_OAUTH),
        *(TUNED_OAUTH, OAUTH, MINE, TUNED_OAUTH),
        *((BASE, "mine", "rest"), (TUNED, "account", "rest")),
    ],
    "production": [OAUTH, TUNED_OAUTH, OAUTH, OAUTH],
    "tenants": [TENANT, MINE, TENANT, TENANT],
    "workers": [TENANT, TENANT, MINE, TENANT, MINE, TENANT, MINE],
    "notebooks": [MINE, TUNED_OAUTH],
    "how-it-works": [],
}
"""For each page that is one program: what the server sees of it. Calls at once may come in any
order."""

PRINTED = {
    "ai-studio-key": "api_key\noauth\n",
    "production": "a token from google.oauth2.service_account.Credentials from ADC, ",
    "workers": "from_file(",
}
"""What a page's program prints, among other things."""

BY_OTHERS = {
    "first-steps",  # below
    "google-genai",  # below
    "sdk-facts",  # below
    "testing",  # test_documents.py
    "openai",  # test_documents.py
    "proxy",  # test_documents.py
    "behind-a-proxy",  # test_http.py
    "diagnosis",  # test_documents.py
    "any-language",  # test_any_language.py
    "with-other-libraries",  # test_identity.py
    "with-other-tools",  # tests/tools
    "tuned-on-vertex",  # below
    "profiles",  # below
    "secrets",  # below
}


def blocks(page: str, language: str) -> list[str]:
    """The code blocks of a page in one language."""
    text = (DOCS / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_no_page_is_left_out() -> None:
    """A page with code in it is run by a test."""
    pages = {path.stem for path in DOCS.glob("*.md") if "```py" in path.read_text(encoding="utf-8")}
    assert pages <= SEEN.keys() | BY_OTHERS


_DECLARED = (README.parent / "pyproject.toml").read_text(encoding="utf-8")
_OPTIONAL = _DECLARED.partition("[project.optional-dependencies]")[2].partition("\n[project.")[0]
EXTRAS = {*re.findall(r"^([\w-]+) = \[", _OPTIONAL, re.MULTILINE)}

PROSE = [README, *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.stem)
def test_what_a_page_names_is_there(page: Path) -> None:
    """The files that it links to, and the extras that it has installed."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (page.parent / target).is_file(), target
    extras = re.findall(r"(?:genai-config|'\.)\[([\w-]+)\]", text)
    assert {*extras} <= EXTRAS


@pytest.fixture
def here() -> Iterator[GeminiServer]:
    """A server that this process is pointed at, on a machine without any configuration."""
    with isolated(), serving() as server:
        yield server


def run(page: str, names: dict[str, Any]) -> None:
    """Runs the Python blocks of a page as one program."""
    for number, block in enumerate(blocks(page, "python")):
        exec(compile(block, f"{page}, block {number}", "exec"), names)  # noqa: S102 -- our own


@pytest.fixture
def names(here: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a reader has: keys, a service account as ADC, and Colab's or Kaggle's secrets."""
    account = here.service_account_file("account")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(account))
    key = here.api_key("mine")
    secrets = {"GEMINI_API_KEY": key, "SERVICE_ACCOUNT": account.read_text(encoding="utf-8")}
    stored = SimpleNamespace(get=secrets.__getitem__, get_secret=secrets.__getitem__)
    # These modules exist there alone.
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(userdata=stored))
    kaggle = SimpleNamespace(UserSecretsClient=lambda: stored)
    monkeypatch.setitem(sys.modules, "kaggle_secrets", kaggle)
    safe_configure(api_key=key)
    return {
        "MY_KEY": key,
        "TENANT_KEY": here.api_key("tenant"),
        "KEY_FILE": account,
        "REST": here.rest_endpoint,
    }


def seen_by(server: GeminiServer) -> list[tuple[str, str, str]]:
    """Each request's resource, identity and transport, sorted."""
    return sorted(
        (r.resource, str(r.identity).partition("@")[0], r.transport) for r in server.requests
    )


@pytest.mark.parametrize("page", SEEN)
def test_the_server_sees_of_a_page_what_it_says(
    page: str, here: GeminiServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page's program is run, in the reader's place, and every request is answered."""
    run(page, names)
    assert PRINTED.get(page, "") in capsys.readouterr().out
    assert seen_by(here) == sorted(SEEN[page])
    assert {r.status for r in here.requests} <= {"OK"}


def test_a_tuned_model_moves_to_vertex_by_one_setting(
    here: GeminiServer, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same code before and after, with the output that the page shows."""
    place = "projects/my-project/locations/us-central1"
    here._service.behaviour.models.tuning = "ended"  # as since May 2025
    here.respond(f"{place}/endpoints/4567890123", "Hello from the endpoint")
    safe_configure(vertex_endpoint=here.base_url)
    run("tuned-on-vertex", names)
    assert capsys.readouterr().out == blocks("tuned-on-vertex", "text")[0]
    published = f"{place}/publishers/google/models"
    assert [(r.resource, r.auth, r.status) for r in here.requests] == [
        (TUNED, "oauth", "NOT_FOUND"),
        (f"{place}/endpoints/4567890123", "oauth", "OK"),
        (f"{published}/gemini-3.6-flash", "oauth", "OK"),
        (f"{published}/gemini-embedding-2", "oauth", "OK"),
    ]


def test_profiles_are_as_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file of the page with the program of the page; `explain` names the file."""
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    (tmp_path / "genai-config.toml").write_text(blocks("profiles", "toml")[0], encoding="utf-8")
    (tmp_path / "keys").mkdir()
    with isolated(), serving() as server:
        account = Path(server.service_account_file())
        (tmp_path / "keys" / "prod.json").write_bytes(account.read_bytes())
        monkeypatch.chdir(tmp_path)
        run("profiles", {})
    told = "".join(capsys.readouterr().out.split())
    assert told.startswith("my-project")
    assert f"fromprofile,{tmp_path}/genai-config.toml[profiles.dev]" in told


def test_keys_rotate_as_shown(
    here: GeminiServer,
    names: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The page's program, whose file holds one key and then another."""
    monkeypatch.chdir(tmp_path)
    Path("gemini-key").write_text(names["MY_KEY"], encoding="utf-8")
    run("secrets", {"NEW_KEY": here.api_key("new")})
    assert [r.identity for r in here.requests] == ["mine", "new"]
    told = capsys.readouterr().out
    assert "from_file('gemini-key')" in told
    assert '{"api_key":{"from_file":"gemini-key"}}' in told


def test_what_the_layers_make_is_as_shown(
    names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The page of the layers shows what its program prints."""
    run("how-it-works", names)
    assert capsys.readouterr().out == blocks("how-it-works", "text")[0]


def test_first_steps_lead_to_two_calls(
    tmp_path: Path,
    names: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program in a file of its own, the command as printed; then the rest of the page."""
    program, missing, migrated = blocks("first-steps", "python")
    (tmp_path / "first.py").write_text(program, encoding="utf-8")
    command, _, expected = blocks("first-steps", "console")[1].partition("\n")
    assert command == "$ python -W ignore first.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "first.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == expected, done.stderr
    names["isolated"] = isolated
    monkeypatch.delenv("PYTEST_CURRENT_TEST")  # the page is not about tests
    exec(missing, names)  # noqa: S102 -- our own
    assert capsys.readouterr().out == blocks("first-steps", "text")[0]
    exec(migrated, names)  # noqa: S102 -- our own


class TestTheSuccessor:
    @pytest.fixture
    def successor(self) -> Any:
        """google-genai."""
        return pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

    def test_both_work_in_one_process(
        self, here: GeminiServer, names: dict[str, Any], successor: Any
    ) -> None:
        """The same question to the same model, by the same key."""
        del successor
        run("google-genai", names)
        names["client"].close()
        assert names["answer"] == names["moved"]
        assert seen_by(here) == [MINE, (BASE, "mine", "rest")]

    @pytest.mark.filterwarnings("ignore:.* usage is experimental:UserWarning")
    def test_every_name_of_the_table_exists(self, successor: Any) -> None:
        """On both sides."""
        table = re.findall(
            r"^\| (`.*) \| (.*) \|$",
            (DOCS / "google-genai.md").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        assert len(table) == 17
        left, right = (" ".join(column) for column in zip(*table, strict=True))
        client = successor.Client(api_key="made-up")
        roots = {"client": client, "types": successor.types, "google": sys.modules["google"]}
        checked = 0
        for names, text in (
            ({"genai": google.generativeai, "caching": google.generativeai.caching}, left),
            ({**roots, "genai": successor}, right),
        ):
            for dotted in re.findall(r"`((?:[a-z]+\.)+\w+(?:\.\w+)*)", text):
                root, *path = dotted.split(".")
                found = names[root] if root in names else sys.modules[root]
                for name in path:
                    found = getattr(found, name)
                checked += 1
        client.close()
        assert checked == 30
        for kind, field in re.findall(r"types\.(\w+)\((\w+)=", right):
            assert field in getattr(successor.types, kind).model_fields

    def test_its_key_is_the_other_one(
        self, successor: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And credentials do not take the place of a key."""
        for name in ("corpora", "permissions"):
            assert not hasattr(successor.Client, name)
        with pytest.raises(ValueError, match="No API key was provided"):
            successor.Client(credentials=AnonymousCredentials())
        monkeypatch.setenv("GEMINI_API_KEY", "gemini")
        monkeypatch.setenv("GOOGLE_API_KEY", "google")
        client = successor.Client()
        assert client._api_client.api_key == "google"
        client.close()


# What the SDK does


class _Bare:
    """The SDK, whose `configure()` is told where the server is."""

    def __init__(self, server: GeminiServer) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Any:
        return getattr(google.generativeai, name)

    def configure(self, client_options: Any = None, **settings: Any) -> None:
        rest = settings.get("transport") == "rest"
        endpoint = self._server.rest_endpoint if rest else self._server.grpc_endpoint
        options = client_options or ClientOptions()
        options.api_endpoint = endpoint
        google.generativeai.configure(client_options=options, **settings)


FACTS = dict(enumerate(blocks("sdk-facts", "pycon")))


_SINCE_PYTHON_3_14 = (
    (
        "object GenerateContentResponse can't be used in 'await' expression",
        "'GenerateContentResponse' object can't be awaited",
    ),
    ("RuntimeError: ...\n", "AttributeError: 'coroutine' object has no attribute ...\n"),
)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", FACTS)
def test_the_sdk_does_what_the_page_says(
    number: int, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each example in a state of its own; what it prints and raises is compared."""
    monkeypatch.setattr(client_lib, "_client_manager", client_lib._ClientManager())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.ca_file))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(server.service_account_file()))
    names = {
        "asyncio": asyncio,
        "genai": _Bare(server),
        "os": os,
        "server": server,
        "KEY": server.api_key("key"),
        "OTHER_KEY": server.api_key("other"),
        "CREDENTIALS": server.user_credentials(quota_project="my-project"),
    }
    # What is set in an example is gone after it.
    for name in ("GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    page = FACTS[number]
    for words, newer in _SINCE_PYTHON_3_14:
        page = page.replace(words, newer if sys.version_info >= (3, 14) else words)
    test = doctest.DocTestParser().get_doctest(page, names, "sdk-facts", None, None)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    gc.collect()  # what the SDK left half made complains now, not in another test
    assert results.attempted
    assert not results.failed, "".join(report)


# The reference


@pytest.mark.parametrize("module", ["genai_config", "genai_config.openai", "genai_config.testing"])
def test_every_public_name_is_in_the_reference(module: str) -> None:
    """And nothing else is."""
    page = (DOCS / "reference" / f"{module.rpartition('.')[2]}.rst").read_text(encoding="utf-8")
    pattern = r"^\.\. (?:auto(?:function|class|exception)|py:data):: (\w+)"
    found = re.findall(pattern, page.partition("pytest_plugin")[0], re.MULTILINE)
    assert sorted(found) == sorted({*importlib.import_module(module).__all__} - {"exceptions"})


def test_every_setting_is_in_its_table() -> None:
    """In one of the two, once."""
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    cells = " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE))
    settings = set(inspect.signature(safe_configure).parameters) - {"config", "unknown"}
    assert sorted(re.findall(r"`(\w+)`", cells)) == sorted(settings)
