"""Secrets of every shape, planted in every input there is, are in nothing that comes out."""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import logging
import os
import pickle
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.exceptions import RefreshError
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from genai_config import GenAIConfig, explain, get_config, override, reset, safe_configure
from genai_config._auth import headers as _headers
from genai_config._routing.decision import BASE_SCOPES, TUNED_SCOPES
from genai_config._settings import environment as _environment
from genai_config.testing.isolation import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LETTERS = st.text(
    "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789", min_size=24, max_size=40
)


def key_file(core: str) -> str:
    """The content of a service account's key file with this in its private key."""
    key = f"-----BEGIN PRIVATE KEY-----\nMIIEv{core}\n-----END PRIVATE KEY-----\n"
    return json.dumps({"type": "service_account", "private_key": key, "private_key_id": core})


SHAPES: dict[str, Callable[[str], str]] = {
    "standard key": lambda core: f"AIza{core}",
    "auth key": lambda core: f"AQ.{core}",
    "ephemeral token": lambda core: f"auth_tokens/{core}",
    "access token": lambda core: f"ya29.{core}",
    "refresh token": lambda core: f"1//{core}",
    "client secret": lambda core: f"GOCSPX-{core}",
    "JWT": lambda core: f"eyJhbGciOiJSUzI1NiJ9.eyJ{core}.{core}",
    "PEM": lambda core: f"-----BEGIN PRIVATE KEY-----\n{core}\n-----END PRIVATE KEY-----\n",
    "key file": key_file,
    "key file, dumped twice": lambda core: json.dumps(key_file(core)),
    "key file in base64": lambda core: base64.b64encode(key_file(core).encode()).decode(),
    "password in a URL": lambda core: f"http://me:{core}@proxy:3128",
}


class Output:
    """All that a process shows, in one place."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, value: object) -> None:
        """What printing a value shows, and formatting it."""
        self.texts += [str(value), repr(value), f"{value}"]

    @contextlib.contextmanager
    def trying(self) -> Iterator[None]:
        """What is raised is shown, like all else."""
        with warnings.catch_warnings(record=True) as issued:
            warnings.simplefilter("always")
            try:
                yield
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is read
                self.add(error)
                self.texts += [repr(vars(error)), *getattr(error, "__notes__", ())]
        for warning in issued:
            self.add(warning.message)

    def state(self) -> None:
        """What there is to see of the configuration in force."""
        with self.trying():
            config = get_config()
            self.add(config)
            self.texts += [repr(dict(config)), repr(config.redacted()), config.model_dump_json()]
        with self.trying():
            self.texts.append(pickle.dumps(get_config(), 0).decode("latin-1"))
        with self.trying():
            told = explain("tunedModels/mine")
            self.texts += [str(told), told.model_dump_json()]

    def holds(self, secret: str, core: str) -> bool:
        """Whether any of it has the secret in it, or its core in any encoding."""
        parts = {core, secret.strip(), base64.b64encode(core.encode()).decode()[2:-4]}
        if secret.startswith(("ey", "ew", "In")):
            parts.add(secret[-60:-20])
        return any(part in text for part in parts for text in self.texts)


def setting(name: str) -> Callable[[Output, str], None]:
    """As a setting of that name, for the process and in a scope."""

    def plant(output: Output, secret: str) -> None:
        changes: Any = {name: secret}
        for give in (safe_configure, GenAIConfig, GenAIConfig().merge):
            with output.trying():
                output.add(give(**changes))
        output.state()
        reset()
        with output.trying(), override(**changes):
            output.state()

    return plant


def option(name: str) -> Callable[[Output, str], None]:
    """As a member of `client_options`."""

    def plant(output: Output, secret: str) -> None:
        with output.trying():
            safe_configure(client_options={name: secret})
        output.state()

    return plant


def header_value(output: Output, secret: str) -> None:
    """As a header's value."""
    for name in ("x-token", "x-plain", "x-bytes-bin"):
        value = secret.encode() if name.endswith("-bin") else secret.replace("\n", "")
        with output.trying():
            safe_configure(default_metadata=[(name, value)])
        output.state()
        reset()


def header_name(output: Output, secret: str) -> None:
    """As a header's name."""
    with output.trying():
        safe_configure(default_metadata=[(secret, "x")])
    output.state()
    output.texts = [text.replace(secret.lower(), secret) for text in output.texts]


def client_info(output: Output, secret: str) -> None:
    """In what is said of the caller."""
    with output.trying():
        safe_configure(client_info=ClientInfo(user_agent=secret))
    output.state()


def variable(name: str) -> Callable[[Output, str], None]:
    """In an environment variable."""

    def plant(output: Output, secret: str) -> None:
        with environment({name: secret}):
            output.state()
            for scopes in (TUNED_SCOPES, BASE_SCOPES):
                with output.trying():
                    _headers.source_for(GenAIConfig(), scopes).token()

    return plant


def adc_field(name: str) -> Callable[[Output, str], None]:
    """In a field of the ADC file."""

    def plant(output: Output, secret: str) -> None:
        content = {
            "type": "authorized_user", "client_id": "id", "client_secret": "x", "refresh_token": "x"
        }  # fmt: skip
        for value in (secret, {"file": secret}):
            PATH.write_text(json.dumps({**content, name: value}), encoding="utf-8")
            with environment({"GOOGLE_APPLICATION_CREDENTIALS": str(PATH)}):
                output.state()

    return plant


def adc_content(output: Output, secret: str) -> None:
    """As the content of the ADC file."""
    PATH.write_text(secret, encoding="utf-8")
    with environment({"GOOGLE_APPLICATION_CREDENTIALS": str(PATH)}):
        output.state()


def model(output: Output, secret: str) -> None:
    """As the name of a model, and of a method."""
    for name in (secret, f"tunedModels/{secret}"):
        with output.trying():
            told = explain(name)
            output.add(told)
            output.texts.append(told.model_dump_json())
    with output.trying():
        explain(None, secret)


def token_function(output: Output, secret: str) -> None:
    """From a function that gives tokens: in what it raises, and in what it gives."""

    def fail() -> str:
        raise RefreshError(f"vault said {secret}") from ValueError(secret)

    for give in (fail, lambda: f"{secret}\n{secret}", lambda: secret):
        source = _headers.source_for(GenAIConfig(credentials=give), TUNED_SCOPES)
        with output.trying():
            token = source.token()
            output.add([token])
        with output.trying():
            output.add(source)
            output.add(source.found())


PATH = Path(tempfile.mkdtemp()) / "adc.json"
atexit.register(shutil.rmtree, PATH.parent)

INPUTS: dict[str, Callable[[Output, str], None]] = {
    **{name: setting(name) for name in GenAIConfig.model_fields if name not in (
        "client_options", "client_info", "default_metadata", "timeout", "auth_timeout",
        "tuned_endpoints",
    )},
    **{f"client_options.{name}": option(name) for name in (
        "api_endpoint", "api_audience", "universe_domain", "api_key", "credentials_file",
        "quota_project_id", "scopes", "client_cert_source",
    )},
    **{v.name: variable(v.name) for v in _environment.VARIABLES if "SSL" not in v.name},
    **{f"ADC file, {name}": adc_field(name) for name in (
        "type", "client_id", "quota_project_id", "universe_domain", "account", "token_uri",
    )},
    "ADC file": adc_content, "header's value": header_value, "header's name": header_name,
    "client_info": client_info, "model": model, "token function": token_function,
}  # fmt: skip


@pytest.mark.parametrize("where", INPUTS)
@settings(
    max_examples=100 if os.environ.get("GENAI_CONFIG_HEAVY") else 4,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    deadline=None,
)
@given(shape=st.sampled_from(sorted(SHAPES)), core=LETTERS)
def test_what_is_planted_is_not_shown(
    where: str,
    shape: str,
    core: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Wherever it is put by mistake, and in whatever form."""
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    output, secret = Output(), SHAPES[shape](core)
    try:
        INPUTS[where](output, secret)
    finally:
        reset()
    output.texts.append(caplog.text)
    assert not output.holds(secret, core), (where, shape)
