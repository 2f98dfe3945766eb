"""References to secrets: what may be one, and that they are shown, compared and pickled as such."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from genai_config import (
    GenAIConfig,
    from_command,
    from_env,
    from_file,
    from_keyring,
    from_secret_manager,
)
from genai_config._settings.references import KINDS, Reference, _unpickled
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError

KEY = "AIzaSyMadeUpAndLongEnough0123456789"
NAME = "projects/my-project/secrets/gemini/versions/latest"
REGIONAL = "projects/my-project/locations/europe-west1/secrets/gemini/versions/3"

EACH = {
    "from_env('MY_KEY')": from_env("MY_KEY"),
    "from_file('/run/secrets/key')": from_file("/run/secrets/key"),
    "from_command(['pass', 'show', 'gemini'])": from_command(["pass", "show", "gemini"]),
    f"from_secret_manager('{NAME}')": from_secret_manager(NAME),
    f"from_secret_manager('{NAME}', endpoint='https://here:443')": from_secret_manager(
        NAME, endpoint="https://here:443"
    ),
    "from_keyring('gemini', 'me')": from_keyring("gemini", "me"),
}


@pytest.mark.parametrize("shown", EACH)
class TestEach:
    def test_it_is_shown_as_it_is_written(self, shown: str) -> None:
        """Its repr makes it again."""
        assert repr(EACH[shown]) == str(EACH[shown]) == shown

    def test_it_is_compared_by_what_it_refers_to(self, shown: str) -> None:
        """An equal one is the same; a secret of the same words is another thing."""
        one = EACH[shown]
        other = Reference(one.kind, *one.where)
        assert one == other
        assert hash(one) == hash(other)
        assert one != Reference(one.kind, *one.where, "more")
        assert one != shown

    def test_it_is_frozen(self, shown: str) -> None:
        """Copies are itself."""
        one = EACH[shown]
        with pytest.raises(AttributeError, match="kind"):
            one.kind = "from_env"
        with pytest.raises(AttributeError, match="where"):
            del one.where
        assert copy.copy(one) is one
        assert copy.deepcopy([one])[0] is one

    def test_it_travels(self, shown: str) -> None:
        """By pickle, with whatever protocol."""
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            assert pickle.loads(pickle.dumps(EACH[shown], protocol)) == EACH[shown]  # noqa: S301 -- our own

    def test_it_is_data_in_a_dump_and_read_again(self, shown: str) -> None:
        """As a mapping, as JSON, and in a configuration."""
        one = EACH[shown]
        config = GenAIConfig(api_key=one, credentials=one)
        assert GenAIConfig.model_validate(config.model_dump()) == config
        assert GenAIConfig.model_validate_json(config.model_dump_json()) == config
        assert config.redacted()["api_key"] == one.dump() == config.redacted()["credentials"]
        assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 -- our own
        assert shown in repr(config)
        assert config.merge(timeout=1).api_key is one


def test_every_kind_is_tested() -> None:
    """The table above has them all."""
    assert {one.kind for one in EACH.values()} == {*KINDS}


def test_what_it_refers_to() -> None:
    """The variable of one of the environment, the location of a regional secret."""
    assert from_env(" MY_KEY ").variable == "MY_KEY"
    assert from_file("a").variable is None
    assert from_secret_manager(REGIONAL).location == "europe-west1"
    assert from_secret_manager(NAME).location is None


def test_a_path_of_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the one here."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("USERPROFILE", "/home/me")
    assert from_file(Path("~/key")).where == (str(Path("/home/me/key")),)


def test_a_program_may_be_a_path() -> None:
    """As for subprocess."""
    assert from_command([Path("/bin/cat"), "key"]).where == ("/bin/cat", "key")


REFUSED: list[tuple[Any, tuple[Any, ...]]] = [
    (from_env, ("",)),
    (from_env, ("MY KEY",)),
    (from_env, (KEY,)),
    (from_env, (1,)),
    (from_env, ("sentinel-of-a-secret/",)),
    (from_file, ("",)),
    (from_file, (KEY,)),
    (from_file, ('{"type": "service_account"}',)),
    (from_file, (3,)),
    (from_command, ("pass show gemini",)),
    (from_command, ([],)),
    (from_command, (["pass", 1],)),
    (from_command, ([" ", "x"],)),
    (from_command, (["pass", "\0"],)),
    (from_command, (["echo", KEY],)),
    (from_command, ({"pass"},)),
    (from_secret_manager, ("projects/p/secrets/s",)),
    (from_secret_manager, ("gemini",)),
    (from_secret_manager, (f"{NAME}:access",)),
    (from_secret_manager, (f"{NAME}/../../x",)),
    (from_secret_manager, (3,)),
    (from_keyring, ("gemini", "")),
    (from_keyring, ("gemini", KEY)),
    (from_keyring, (1, "me")),
]


@pytest.mark.parametrize(("make", "given"), REFUSED)
def test_what_is_no_reference_is_refused(make: Any, given: tuple[Any, ...]) -> None:
    """Where it is given; the error names the function and shows nothing that may be a secret."""
    with pytest.raises(ConfigurationError) as caught:
        make(*given)
    assert make.__name__ in str(caught.value)
    assert KEY not in str(caught.value)
    assert "sentinel" not in str(caught.value)
    assert caught.value.remedy


@pytest.mark.parametrize("given", ["$TEAM", "${TEAM}"])
def test_a_variable_as_a_shell_reads_it(given: str) -> None:
    """The name alone is wanted."""
    with pytest.raises(ConfigurationError, match=r"leave out the '\$'"):
        from_env(given)


def test_an_endpoint_without_tls_is_refused() -> None:
    """A token is sent there."""
    with pytest.raises(ConfigurationError, match="http"):
        from_secret_manager(NAME, endpoint="http://elsewhere.example")


@pytest.mark.parametrize(
    "given",
    [
        {"from_env": "A", "from_file": "b"},
        {"from_env": "A", "type": "service_account"},
        {"from_env": ["A", "B"]},
        {"from_env": 1},
        {"from_keyring": "gemini"},
        {"from_command": []},
        {"from_secret_manager": [NAME, "https://here", "more"]},
    ],
)
def test_a_mapping_that_is_no_reference(given: dict[str, Any]) -> None:
    """It is refused for the key and for the credentials."""
    for setting in ("api_key", "credentials"):
        with pytest.raises(ConfigurationError):
            GenAIConfig.model_validate({setting: given})


def test_a_mapping_with_another_name_is_not_taken_for_a_reference() -> None:
    """For the credentials it is a key file's content, for the key it is nothing."""
    with pytest.raises(ConfigurationError, match="api_key"):
        GenAIConfig.model_validate({"api_key": {"somewhere": "x"}})
    for setting in ("api_key", "credentials"):
        with pytest.raises(ConfigurationError, match=f"{setting}.*'from_flie'") as caught:
            GenAIConfig.model_validate({setting: {"from_flie": "x"}})
        assert "'from_file'" in caught.value.remedy
    config = GenAIConfig.model_validate({"credentials": {"type": "authorized_user"}})
    assert not isinstance(config.credentials, Reference)


@pytest.mark.parametrize("data", [(2, "from_env", "A"), (1, "from_afar", "A")])
def test_a_pickle_of_another_version(data: Any) -> None:
    """It is refused, and the remedy is to have one version."""
    with pytest.raises(ConfigurationError, match="same version"):
        _unpickled(*data)


def test_a_literal_key_takes_its_place() -> None:
    """And the other way round: the later one counts."""
    config = GenAIConfig(api_key=from_env("A")).merge(api_key="made-up-key")
    assert config.api_key == Secret("made-up-key")
    assert config.merge(api_key=from_env("A")).api_key == from_env("A")
