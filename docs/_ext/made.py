"""Parts of pages that are made from the package.

The lists in reference/environment.md and reference/errors.md are in the files, for who reads them
there: ``python docs/_ext/made.py`` writes them, and a test compares them. The table of the rules is
put in place of its line when the site is built.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import genai_config
from genai_config import exceptions
from genai_config._models import MODEL
from genai_config._routing import decision
from genai_config._settings import environment as _environment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sphinx.application import Sphinx

_BASE = f'genai.GenerativeModel("{MODEL}").generate_content("hi")'
_SWITCHED = (
    "safe_configure(api_key=KEY)\n"
    f'model = genai.GenerativeModel("{MODEL}", tools=[weather])\n'
    "chat = model.start_chat(enable_automatic_function_calling=True)\n"
    'chat.send_message("How is the weather in Oslo?")\n'
    "with override(api_key=OTHER_KEY):\n"
    '    chat.send_message("And in Rome?")'
)
_TUNED = 'genai.GenerativeModel("tunedModels/mine").generate_content("hi")'

RAISED_BY = {
    "ConfigurationError": 'safe_configure(transport="grcp")',
    "UnknownSettingError": 'safe_configure(api_kye="…")',
    "APIKeyRequiredError": f'with override(auth="api_key"):\n    {_BASE}',
    "OAuthRequiredError": (
        'with override(auth="api_key"):\n    genai.GenerativeModel(\n        '
        '"projects/my-project/locations/us-central1/endpoints/456"\n    ).generate_content("hi")'
    ),
    "UnsupportedRequestError": (
        'with override(backend="vertex", project="my-project", location="us-central1"):\n'
        "    list(genai.list_models())"
    ),
    "CredentialsNotFoundError": "with tuned_models():\n    ...",
    "InvalidCredentialsError": 'safe_configure(credentials="key.json")',
    "TokenRefreshError": (
        'server.tokens.fail(1, 400, {"error": "invalid_grant"})\n'
        f"with override(credentials=WORKLOAD):\n    {_TUNED}"
    ),
    "CredentialsTimeoutError": (
        f"server.tokens.hang()\nwith override(credentials=WORKLOAD, auth_timeout=1):\n    {_TUNED}"
    ),
    "RawConfigureError": 'safe_configure(raw_configure="error")\ngenai.configure(api_key=KEY)',
    "SecretReferenceError": f'with override(api_key=from_env("TEAM_KEY")):\n    {_BASE}',
    "SecretPicklingError": "pickle.dumps(safe_configure(api_key=KEY))",
    "APIKeyWarning": 'reset()\nsafe_configure(api_key="my-api-key")',
    "ThoughtSignatureWarning": _SWITCHED,
    "EnvironmentConflictWarning": (
        'os.environ["GEMINI_API_KEY"] = "one"\nos.environ["GOOGLE_API_KEY"] = "two"\nget_config()'
    ),
    "EnvironmentValueWarning": 'os.environ["GOOGLE_CLOUD_LOCATION"] = "evil.com/"\nget_config()',
    "UnusedScopeWarning": 'override(transport="rest")',
    "RawConfigureWarning": (
        'safe_configure(api_key=KEY, raw_configure="warn")\ngenai.configure(transport="grpc")'
    ),
}
"""Lines that really raise each error, or issue each warning, on the local server."""


def _weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def environment() -> str:
    """The table of the environment variables."""
    rows = [
        f"| `{v.name}` | {f'`{v.setting}`: ' if v.setting else ''}{v.meaning} |"
        for v in _environment.VARIABLES
    ]
    return "\n".join(["| variable | setting that it gives, and what it does |", "|---|---|", *rows])


def rules() -> str:
    """The table of the routing rules, one row per rule."""
    by_rule: dict[tuple[Any, ...], list[str]] = {}
    for rule in decision.RULES:
        key = (rule.methods, rule.fields, rule.need, rule.source, rule.vertex)
        by_rule.setdefault(key, []).append(rule.service)
    needs = {
        "resource": "the resource decides",
        "tuned": "OAuth, scopes of tuned models",
        "retriever": "OAuth, scopes of corpora",
        "api_key": "API key",
    }
    lines = ["| methods | fields that name a resource | credentials |", "|---|---|---|"]
    for (methods, fields, need, _, on_vertex), services in by_rule.items():
        called = f"{', '.join(services)}: {_code(methods)}"
        vertex = "OAuth on Vertex AI" if on_vertex else "not on Vertex AI"
        cells = [called, _code(fields), f"{needs[need]}; {vertex}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def errors() -> str:
    """A section for each error and each warning, in the order of the module."""
    sections = []
    for name, kind in vars(exceptions).items():
        if isinstance(kind, type) and kind.__module__ == exceptions.__name__:
            said = str(inspect.getdoc(kind)).partition("\n")[0]
            caught = _code(base.__name__ for base in kind.__bases__)
            parts = [f"## {name}", said, f"Caught as {caught} as well."]
            if code := RAISED_BY.get(name):
                parts += [f"```python\n{code}\n```", f"```text\n{message(name)}\n```"]
            sections += parts
    return "\n\n".join(sections)


def message(name: str) -> str:
    """What an error or a warning says when the lines in `RAISED_BY` are run.

    Raises:
        RuntimeError: They did not raise it.
    """
    with ExitStack() as undo:
        said = undo.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("ignore")
        import google.generativeai as genai

        from genai_config.testing import isolated, serving

        undo.enter_context(isolated())
        # Errors say something else in a test, and one compares the page.
        undo.enter_context(mock.patch.dict(os.environ))
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        server = undo.enter_context(serving())
        names: dict[str, Any] = {"__name__": "app"}
        names |= {n: getattr(genai_config, n) for n in genai_config.__all__}
        names |= {"genai": genai, "os": os, "pickle": __import__("pickle"), "server": server}
        workload = str(server.external_account_file())
        names |= {"KEY": server.api_key(), "WORKLOAD": workload}
        names |= {"OTHER_KEY": server.api_key(), "weather": _weather}
        kind: type[Exception] = getattr(exceptions, name)
        if issubclass(kind, Warning):
            warnings.simplefilter("always", kind)
        raised: object = None
        try:
            exec(compile(RAISED_BY[name], "app.py", "exec"), names)  # noqa: S102 -- our own
        except kind as error:
            raised = error
        except Exception:
            if not said:  # what follows a warning may be the service's own error
                raise
        finally:
            server.tokens.release()
        if said:
            raised = said[0].message
        if raised is not None:
            # Where this module has pointed the program at the server.
            text = re.sub(re.escape(__file__) + r":\d+", "conftest.py:1", str(raised))
            # Folders and ports are new each time; these are such as a reader has.
            for made, shown in (
                (os.environ["CLOUDSDK_CONFIG"], "~/.config/gcloud"),
                (workload, "workload.json"),
                (server.metadata_host, "localhost:8080"),
            ):
                text = text.replace(made, shown)
            return text
    raise RuntimeError(f"{name} was not raised by:\n{RAISED_BY[name]}")


WRITTEN = {"environment": environment, "errors": errors}
_REFERENCE = Path(__file__).parents[1] / "reference"


def written(name: str) -> str:
    """A page of the reference with its list made anew."""
    page = (_REFERENCE / f"{name}.md").read_text(encoding="utf-8")
    before, start, rest = page.partition("<!-- made -->\n")
    _, end, after = rest.partition("<!-- end -->")
    return f"{before}{start}\n{WRITTEN[name]()}\n\n{end}{after}"


def _put_in(app: Sphinx, docname: str, source: list[str]) -> None:
    del app
    source[0] = re.sub("(?m)^.*<!-- made: rules -->$", lambda _: rules(), source[0])
    if docname == "reference/errors":
        # What docstrings say is raised leads there.
        target = rf"\g<0>\n\n```{{py:exception}} {exceptions.__name__}.\1\n```"
        source[0] = re.sub(r"(?m)^## (\w+)$", target, source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _put_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


if __name__ == "__main__":
    for _name in WRITTEN:
        (_REFERENCE / f"{_name}.md").write_text(written(_name), encoding="utf-8")
