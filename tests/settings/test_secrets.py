"""Secrets show as asterisks, whatever prints them."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import pytest

from genai_config import _masking
from genai_config._masking import MASK
from genai_config._settings.secrets import Secret, SecretMapping, refuse_pickling
from genai_config.exceptions import ConfigurationError, SecretPicklingError

KEY = "AIzaSyMadeUpAndLongEnough0123456789"
KEY_FILE = {
    "type": "service_account",
    "private_key": "made-up-private-key",
    "nested": {"secret": "made-up-nested"},
    "list": ["made-up-item", {"deep": "made-up-deep"}],
}


@pytest.mark.parametrize(
    "shown",
    [
        repr(Secret(KEY)),
        str(Secret(KEY)),
        f"{Secret(KEY)}",
        f"{Secret(KEY):>40}",
        f"{Secret(KEY)!r}",
        "%s %r" % (Secret(KEY), Secret(KEY)),  # noqa: UP031 -- this way of formatting is tested too
        str([Secret(KEY)]),
        str({"key": Secret(KEY)}),
    ],
)
def test_a_secret_is_shown_as_asterisks(shown: str) -> None:
    """No way of making a string of it shows the value."""
    assert MASK in shown
    assert KEY not in shown


def test_a_format_specification_is_followed() -> None:
    """A secret stands in a table like anything else."""
    assert f"{Secret(KEY):>22}" == f"  Secret('{MASK}')"


def test_a_secret_stays_out_of_logs_and_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """An exception that carries one may be logged."""
    error = RuntimeError(Secret(KEY))
    logging.getLogger("test").error("failed with %s", Secret(KEY), exc_info=error)
    printed = "".join(traceback.format_exception(error))
    assert MASK in caplog.text
    assert MASK in printed
    assert KEY not in caplog.text + printed


def test_a_secret_gives_its_value_to_who_asks() -> None:
    """The name of the method is that of pydantic's SecretStr."""
    assert Secret(KEY).get_secret_value() == KEY


def test_secrets_are_equal_by_value() -> None:
    """Where a secret came from makes no difference, nor is it a string."""
    assert Secret(KEY) == Secret(KEY, "GEMINI_API_KEY")
    assert hash(Secret(KEY)) == hash(Secret(KEY, "GEMINI_API_KEY"))
    assert Secret(KEY) != Secret("other")
    assert Secret(KEY) != KEY
    assert hash(Secret(KEY)) != hash(KEY)


def test_copies_of_a_secret_are_the_secret() -> None:
    """Copying is no way around pickling."""
    secret = Secret(KEY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_literal_secret_is_not_pickled(protocol: int) -> None:
    """The error says how to carry a configuration over."""
    with pytest.raises(SecretPicklingError, match="GEMINI_API_KEY") as caught:
        pickle.dumps(Secret(KEY), protocol)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_secret_of_the_environment_pickles_as_a_reference(
    protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pickle holds the variable's name; the value is read where it is unpickled."""
    pickled = pickle.dumps(Secret(KEY, "GEMINI_API_KEY"), protocol)
    assert KEY.encode() not in pickled
    monkeypatch.setenv("GEMINI_API_KEY", " the-other-side ")
    secret = pickle.loads(pickled)  # noqa: S301 -- our own
    assert secret == Secret("the-other-side")
    assert secret.variable == "GEMINI_API_KEY"


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_reference_to_a_missing_variable_is_an_error_that_names_it(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blank variable is a missing one."""
    pickled = pickle.dumps(Secret(KEY, "GEMINI_API_KEY"))
    if value is not None:
        monkeypatch.setenv("GEMINI_API_KEY", value)
    with pytest.raises(ConfigurationError, match="GEMINI_API_KEY, which is not set") as caught:
        pickle.loads(pickled)  # noqa: S301 -- our own
    assert caught.value.remedy.startswith("export GEMINI_API_KEY")


def test_a_key_file_is_shown_as_asterisks() -> None:
    """Neither a value nor a name is shown."""
    mapping = SecretMapping(KEY_FILE)
    shown = f"{mapping} {mapping!r} {[mapping]} {dict(mapping)['nested']}"
    assert MASK in shown
    assert "made-up" not in shown


def test_a_key_file_is_a_frozen_copy() -> None:
    """What happens to the caller's object afterwards changes nothing, at any depth."""
    given = copy.deepcopy(KEY_FILE)
    mapping = SecretMapping(given)
    given["nested"]["secret"] = "changed"  # type: ignore[index] # it is a dict
    given["list"].append("changed")  # type: ignore[attr-defined] # it is a list
    assert mapping.plain() == KEY_FILE
    assert mapping["list"][0] == "made-up-item"


def test_the_plain_content_is_new_each_time() -> None:
    """Loaders may do with it what they like."""
    mapping = SecretMapping(KEY_FILE)
    mapping.plain()["nested"]["secret"] = "changed"
    assert mapping.plain() == KEY_FILE
    assert json.loads(json.dumps(mapping.plain())) == KEY_FILE


def test_key_files_are_equal_by_content() -> None:
    """Equal content means an equal hash, at any depth."""
    one, two = SecretMapping(KEY_FILE), SecretMapping(copy.deepcopy(KEY_FILE))
    assert one == two
    assert hash(one) == hash(two)
    assert one != SecretMapping({**KEY_FILE, "type": "other"})
    assert len(one) == len(KEY_FILE)


def test_a_key_file_is_copied_as_itself_and_not_pickled() -> None:
    """It cannot change, so a copy is the same object."""
    mapping = SecretMapping(KEY_FILE)
    assert copy.copy(mapping) is mapping
    assert copy.deepcopy([mapping])[0] is mapping
    with pytest.raises(SecretPicklingError, match="the content of a key file"):
        pickle.dumps(mapping)


def test_refusing_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy names the variable, the path and the worker's initializer."""
    # What other tests hold as a secret, such as "GEMINI_API_KEY", would be masked in the remedy.
    monkeypatch.setattr(_masking, "all_values", list)
    with pytest.raises(SecretPicklingError) as caught:
        refuse_pickling("a made-up thing")
    assert "a made-up thing" in caught.value.problem
    for remedy in ("GEMINI_API_KEY", "credentials=PATH", "initializer"):
        assert remedy in caught.value.remedy
