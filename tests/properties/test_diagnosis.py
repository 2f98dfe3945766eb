"""Whatever the environment holds, explaining and examining neither crash nor show a secret."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genai_config import explain, reset
from genai_config._diagnosis import check_environment, doctor
from genai_config._settings import environment as _environment
from genai_config.testing.isolation import environment

SECRET = "nobody-may-see-this"
SECRETS = st.sampled_from(
    [f"AIza{SECRET}", f"ya29.{SECRET}", f"1//{SECRET}", f'"AIza{SECRET}"', f"AIza{SECRET}\n"]
)
PROXY_VALUES = st.sampled_from(
    [f"http://user:{SECRET}@p:1", f"https://{SECRET}@p", f"http://u:{SECRET}/@p:x", "p:1", "", "["]
)
PROXIES = [
    change(name)
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_proxy")
    for change in (str.lower, str.upper)
]
# What a variable may hold: the environment takes neither NUL nor lone surrogates.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=30
)
FILES = ["adc.json", "no-such-file", ".", "x" * 300]
JUNK = st.one_of(
    st.binary(max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.floats() | SECRETS,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["a", "private_key"]), inner, max_size=2)
        ),
        max_leaves=4,
    ).map(lambda value: json.dumps(value).encode()),
)
FIELDS = (
    "client_id", "client_email", "client_secret", "refresh_token", "private_key", "token_uri",
    "quota_project_id", "project_id", "audience", "credential_source", "subject_token_type",
    "token_url", "source_credentials", "service_account_impersonation_url", "universe_domain",
    "scopes", "account",
)  # fmt: skip
TYPES = (
    "service_account", "authorized_user", "external_account", "impersonated_service_account",
    "external_account_authorized_user", "gdch_service_account", "junk",
)  # fmt: skip
KEY_FILES = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES)},
    optional={
        **{
            name: st.none() | st.integers() | SECRETS | st.just("a") | st.just({"file": SECRET})
            for name in FIELDS
        },
        # Where secrets belong, none is shown, whatever it looks like.
        **dict.fromkeys(("client_secret", "refresh_token", "private_key"), st.just(SECRET)),
    },
).map(lambda content: json.dumps(content).encode())
OTHERS = [
    *(v.name for v in _environment.VARIABLES if v.name != "CLOUDSDK_CONFIG"),
    *check_environment._OPENAI, "SSL_CERT_FILE", "CURL_CA_BUNDLE",
]  # fmt: skip
OF_SECRETS = [*(v.name for v in _environment.VARIABLES if v.setting == "api_key"),
              *check_environment._OPENAI]  # fmt: skip
CHECKS = [check for check in doctor.CHECKS if check.name != "versions"]
ENVIRONMENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(OTHERS, SECRETS | TEXT),
        **dict.fromkeys(PROXIES, PROXY_VALUES | SECRETS),
    },
)


@pytest.fixture(scope="module", autouse=True)
def nothing_is_warned_of() -> Any:
    """Bad variables are warned of, which the tests make errors of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def forms(model: str | None) -> list[str]:
    """All that is ever shown of an explanation and of a report."""
    told = explain(model)
    report = doctor.examine(model, checks=CHECKS)
    assert "has failed itself" not in str(report)
    doctor.fix(report)
    return [str(told), told._repr_html_(), told.model_dump_json(), json.dumps(report.model_dump())]


@given(
    variables=ENVIRONMENTS,
    content=JUNK | KEY_FILES,
    named=st.none() | st.sampled_from(FILES),
    as_gclouds=st.booleans(),
    model=st.sampled_from([None, "tunedModels/mine", "corpora/x", f"AIza{SECRET}"]),
)
def test_no_environment_makes_them_crash_or_talk(
    variables: dict[str, str], content: bytes, named: str | None, *, as_gclouds: bool, model: str
) -> None:
    """Variables of all kinds, and files of junk where a key file belongs."""
    with tempfile.TemporaryDirectory() as folder:
        adc = "application_default_credentials.json" if as_gclouds else "adc.json"
        (Path(folder) / adc).write_bytes(content)
        given = {"CLOUDSDK_CONFIG": folder, **variables}
        if named is not None:
            given["GOOGLE_APPLICATION_CREDENTIALS"] = os.path.join(folder, named)  # noqa: PTH118 -- the names are odd
        with environment(given, [*OTHERS, *PROXIES]):
            reset()
            shown = forms(model)
    reset()
    for form in shown:
        assert SECRET not in form
