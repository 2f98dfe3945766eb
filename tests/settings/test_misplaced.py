"""Secrets where they do not belong, and what no server takes: refused, and never shown."""

from __future__ import annotations

import itertools
import math
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from google.api_core.gapic_v1.client_info import ClientInfo

from genai_config import GenAIConfig, from_file, get_config, safe_configure
from genai_config._settings.validation import MOST_HEADERS
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable

SECRETS = ("AIzaSyNobodyMaySeeThis01234", "AQ.NobodyMaySeeThis", "ya29.NobodyMaySeeThis")
TEXTS = (
    "transport", "auth", "tuned_transport", "quota_project", "project", "location", "endpoint",
    "raw_configure", "existing_models", "backend", "vertex_endpoint", "scopes", "ca_certs",
    "credentials",
)  # fmt: skip
OPTIONS = ("api_endpoint", "api_audience", "universe_domain", "quota_project_id", "scopes")


def refusal(**settings: Any) -> ConfigurationError:
    """How settings are refused, which changes nothing."""
    before = get_config()
    with pytest.raises(ConfigurationError) as caught:
        safe_configure(**settings)
    assert get_config() == before
    assert "NobodyMaySeeThis" not in f"{caught.value} {caught.value!r}"
    assert str(caught.value).encode()
    return caught.value


class TestASecretElsewhere:
    @pytest.mark.parametrize("secret", SECRETS)
    @pytest.mark.parametrize("setting", TEXTS)
    def test_as_a_setting(self, setting: str, secret: str) -> None:
        """It is refused, with the setting that it belongs to."""
        error = refusal(**{setting: secret})
        assert setting in error.problem
        given_as = "credentials=lambda" if secret.startswith("ya29") else "api_key="
        assert {"credentials": given_as, "ca_certs": "ca_certs="}.get(
            setting, "credentials="
        ) in error.remedy

    @pytest.mark.parametrize("secret", SECRETS)
    @pytest.mark.parametrize("option", OPTIONS)
    def test_as_a_client_option(self, option: str, secret: str) -> None:
        """So it is among the client options."""
        refusal(client_options={option: secret})

    @pytest.mark.parametrize("secret", SECRETS)
    def test_elsewhere(self, secret: str) -> None:
        """In a header's name, among the scopes, in what is said of the caller, at an endpoint."""
        refusal(default_metadata=[(secret, "value")])
        refusal(scopes=["https://www.googleapis.com/auth/cloud-platform", secret])
        refusal(client_info=ClientInfo(user_agent=f"mine {secret}"))
        refusal(tuned_endpoints={"tunedModels/mine": secret})
        refusal(client_options={"api_endpoint": f"https://host/{secret}"})


class TestHeaders:
    def test_their_values_are_not_shown(self) -> None:
        """A configuration as a dict is printed by many a debugger."""
        headers = (("x-a", "NobodyMaySeeThis"), ("x-bin", b"NobodyMaySeeThis"))
        config = GenAIConfig(default_metadata=headers)
        shown = f"{dict(config)} {config.default_metadata} {config} {config.model_dump_json()}"
        assert "NobodyMaySeeThis" not in shown
        assert config.default_metadata == headers

    @pytest.mark.parametrize(
        "headers",
        [[("x-a", "b")] * 100_000, itertools.repeat(("x-a", "b"))],
        ids=["many", "endless"],
    )
    def test_more_than_any_server_takes(self, headers: Iterable[tuple[str, str]]) -> None:
        """They are refused at once, and one that never ends as well."""
        begun = time.monotonic()
        assert f"more than {MOST_HEADERS}" in refusal(default_metadata=headers).problem
        assert time.monotonic() - begun < 5

    def test_as_many_as_a_server_takes(self) -> None:
        """All are kept, in their order."""
        headers = [("x-a", str(number)) for number in range(MOST_HEADERS)]
        assert list(GenAIConfig(default_metadata=headers).default_metadata) == headers


@pytest.mark.parametrize("value", [7, b"x", ["x"], "a\nb", "\ud800", "é"])
def test_what_is_said_of_the_caller(value: Any) -> None:
    """It goes into a header: printable ASCII or nothing."""
    refusal(client_info=ClientInfo(client_library_version=value))
    refusal(client_info={"user_agent": value})


def test_nothing_is_said_of_the_caller() -> None:
    """A field may be left out."""
    config = GenAIConfig(client_info=ClientInfo(user_agent="mine/1"))
    assert config.client_info is not None
    assert config.client_info.user_agent == "mine/1"
    dumped: Any = {"user_agent": None}
    assert GenAIConfig(client_info=dumped).client_info is not None


@pytest.mark.parametrize(
    ("setting", "content", "told"),
    [
        ("ca_certs", "-----BEGIN CERTIFICATE-----\nNobodyMaySeeThis", "ca_certs="),
        ("credentials", '{"private_key": "NobodyMaySeeThis"}', "json.loads"),
    ],
)
def test_content_in_place_of_a_path(setting: str, content: str, told: str) -> None:
    """The remedy is that of the setting: only a key file may be given by its content."""
    assert told in refusal(**{setting: content}).remedy
    with pytest.raises(ConfigurationError) as caught:
        from_file(content)
    assert "json.loads" not in caught.value.remedy


def test_the_file_of_an_oauth_client() -> None:
    """Its content is no credentials, as the file is none; the remedy says what it is for."""
    error = refusal(credentials={"installed": {"client_secret": "NobodyMaySeeThis"}})
    assert "--client-id-file" in error.remedy


@pytest.mark.parametrize("scope", ["cloud-platform", "www.googleapis.com/auth/Cloud-Platform"])
def test_a_scope_without_its_address(scope: str) -> None:
    """As gcloud takes it for some commands: the service answers 403, so it is refused."""
    meant = "https://www.googleapis.com/auth/cloud-platform"
    for given in (scope, [meant, scope]):
        error = refusal(scopes=given)
        assert scope in error.problem
        assert meant in error.remedy


def test_an_endpoint_of_another_type() -> None:
    """The error names the model whose endpoint it is."""
    error = refusal(tuned_endpoints={"tunedModels/one": "1", "tunedModels/mine": 123})
    for part in ("tunedModels/mine", "string", "int"):
        assert part in error.problem


@pytest.mark.parametrize("value", [math.inf, 1e300, 10**400])
def test_more_seconds_than_there_are(value: float) -> None:
    """The limit is told."""
    assert str(int(threading.TIMEOUT_MAX)) in refusal(timeout=value).remedy


def test_the_keys_header() -> None:
    """It would never be sent beside the configured key: that is given as the key."""
    error = refusal(default_metadata=[("X-Goog-Api-Key", "NobodyMaySeeThis")])
    assert "x-goog-api-key" in error.problem
    assert "api_key=" in error.remedy


@pytest.mark.parametrize("setting", ["credentials", "ca_certs"])
@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "\ud800", "x" * 5000, "a\0b", "a\nb"])
def test_a_path_that_cannot_be(setting: str, path: str) -> None:
    """The error is ours, and can be printed."""
    assert setting in refusal(**{setting: path}).problem


@pytest.mark.parametrize(
    "setting", [name for name in GenAIConfig.model_fields if "tuned_endpoints" not in name]
)
def test_a_lone_surrogate(setting: str) -> None:
    """No setting takes one, and no error shows one."""
    refusal(**{setting: "\ud800"})
