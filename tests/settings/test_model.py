"""The configuration: frozen, equal by content, and silent about its secrets."""

from __future__ import annotations

import copy
import functools
import json
import logging
import os
import pickle
import re
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.auth.credentials import AnonymousCredentials
from google.oauth2.credentials import Credentials
from pydantic import BaseModel, ValidationError

from genai_config import UNSET, GenAIConfig, from_env, get_config, safe_configure
from genai_config._masking import MASK
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError, SecretPicklingError, UnknownSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.json_schema import JsonSchemaMode

WORDS = {
    "key": "AIzaSyMadeUpAndLongEnough0123456789",
    "token": "made-up-access-token",
    "password": "made-up-password",
    "header": "made-up-header",
    "private key": "made-up-private-key",
}
KEY = WORDS["key"]


def secretive(**settings: Any) -> GenAIConfig:
    """A configuration with a secret in every place that may hold one."""
    return GenAIConfig().merge(
        **{
            "api_key": KEY,
            "credentials": Credentials(WORDS["token"]),
            "proxy": f"http://user:{WORDS['password']}@host:3128",
            "default_metadata": [("x-tenant", WORDS["header"])],
            "client_options": {
                "client_cert_source": functools.partial(print, WORDS["private key"]),
            },
            **settings,
        }
    )


def with_key_file() -> GenAIConfig:
    """A configuration that holds the content of a key file."""
    return GenAIConfig().merge(
        credentials={"type": "service_account", "private_key": WORDS["private key"]}
    )


def shown_by(config: GenAIConfig) -> dict[str, str]:
    """Every way of making text of a configuration."""
    error = RuntimeError("failed", config)
    return {
        "repr": repr(config),
        "str": str(config),
        "format": f"{config} {config!r} {config!s}",
        "list": str([config]),
        "percent": "%s %r" % (config, config),  # noqa: UP031 -- this way of formatting is tested too
        "options": f"{config.client_options} {config.client_options!r}",
        "vars": str(vars(config)["api_key"]) + str(vars(config)["proxy"]),
        "model_dump": str(config.model_dump()),
        "model_dump of JSON": str(config.model_dump(mode="json")),
        "model_dump_json": config.model_dump_json(),
        "redacted": json.dumps(config.redacted()),
        "traceback": "".join(traceback.format_exception(error)),
    }


@pytest.mark.parametrize("how", shown_by(GenAIConfig()))
@pytest.mark.parametrize("make", [secretive, with_key_file])
def test_no_text_made_of_it_shows_a_secret(how: str, make: Any) -> None:
    """Whatever prints, dumps or logs a configuration."""
    text = shown_by(make())[how]
    assert not [name for name, word in WORDS.items() if word in text]


def test_logging_shows_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """The configuration, the error that carries it and their traceback may be logged."""
    error = RuntimeError(secretive())
    logging.getLogger("test").error("%s failed", secretive(), exc_info=error)
    assert MASK in caplog.text
    assert not [name for name, word in WORDS.items() if word in caplog.text]


def test_redacted_data_is_fit_for_json_and_says_what_is_there() -> None:
    """Secrets as asterisks, objects by their type, functions by their name, the rest as it is."""
    config = secretive(timeout=3, ca_certs="/ca.pem", scopes=["email", "openid"])
    data = json.loads(json.dumps(config.redacted()))
    assert data["api_key"] == data["proxy"] == MASK
    assert data["credentials"] == "<google.oauth2.credentials.Credentials>"
    assert data["default_metadata"] == [["x-tenant", MASK]]
    assert data["client_options"] == {"client_cert_source": "<builtins.print>"}
    assert (data["timeout"], data["ca_certs"], data["scopes"]) == (
        3.0,
        "/ca.pem",
        ["email", "openid"],
    )
    assert data["transport"] is None
    assert with_key_file().redacted()["credentials"] == MASK
    assert GenAIConfig(credentials="/key.json").redacted()["credentials"] == "/key.json"


def test_the_repr_names_what_was_set() -> None:
    """Defaults are left out; the secrets are asterisks."""
    assert repr(GenAIConfig()) == "GenAIConfig()"
    config = GenAIConfig().merge(
        api_key=KEY,
        transport="rest",
        client_options={"api_endpoint": "host"},
        client_info=ClientInfo(user_agent="me/1.0", python_version="3"),
        default_metadata=[("x-tenant", "t")],
        timeout=3,
        tuned_endpoints={"tunedModels/mine": "1"},
    )
    assert repr(config) == (
        f"GenAIConfig(api_key={MASK}, transport=rest, "
        "client_options=ClientOptions(api_endpoint=host), "
        f"client_info={[i for i in config.client_info or () if i]}, "
        f"default_metadata=(('x-tenant', '{MASK}'),), timeout=3.0, "
        "tuned_endpoints={'tunedModels/mine': '1'})"
    )


def test_a_notebook_shows_a_table() -> None:
    """Each setting that was set has a row; secrets are masked, and markup is escaped."""
    config = GenAIConfig(api_key="AIza-nobody-may-see", client_info={"user_agent": "<b>me</b>"})
    shown = config._repr_html_()
    assert "<th" in shown
    assert re.findall(r"<th [^>]*>(\w+)</th>", shown) == ["api_key", "client_info"]
    assert "nobody" not in shown
    assert "<b>" not in shown


class Embedding(BaseModel):
    """Somebody's model with a configuration in it."""

    genai: GenAIConfig


BAD: dict[str, Any] = {
    "a refused key": {"api_key": f"{KEY} {KEY}"},
    "an unknown name": {"api_kye": KEY},
    "a proxy": {"proxy": f"http://user:{KEY}@host/path"},
    "a header": {"default_metadata": [("x-a", f"{KEY}\n")]},
    "an endpoint": {"client_options": {"api_endpoint": f"https://user:{KEY}@host"}},
    "an unknown option": {"client_options": {"api_key": KEY}},
    "another object": {"client_options": ClientOptions(api_key=KEY)},
    "credentials": {"credentials": {"private_key": KEY}},
    "no mapping at all": KEY,
}


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_an_embedded_configurations_error_holds_nothing_of_what_it_refuses(given: Any) -> None:
    """Neither its text nor its data, which is what web frameworks send to the client."""
    with pytest.raises(ValidationError) as caught:
        Embedding.model_validate({"genai": given})
    error = caught.value
    (line,) = error.errors()
    assert line["input"] == MASK
    printed = "".join(traceback.format_exception(error))
    assert KEY not in f"{error} {error!r} {error.errors()} {error.json()} {printed}"


@pytest.mark.parametrize("given", BAD.values(), ids=BAD)
def test_a_configuration_alone_raises_this_librarys_error(given: Any) -> None:
    """Whichever way it is made, and the values are nowhere in it."""
    ways: list[Callable[[Any], Any]] = [GenAIConfig.model_validate]
    if isinstance(given, dict):
        ways.append(lambda settings: GenAIConfig(**settings))
    if given is not BAD["another object"]:
        ways.append(lambda data: GenAIConfig.model_validate_json(json.dumps(data)))
    for way in ways:
        with pytest.raises(ConfigurationError) as caught:
            way(given)
        printed = "".join(traceback.format_exception(caught.value))
        assert KEY not in f"{caught.value} {caught.value!r} {printed}"
        assert caught.value.__cause__ is caught.value.__context__ is None


def test_several_wrong_values_are_told_at_once() -> None:
    """The remedies too; a misspelt name by itself, with the nearest one."""
    with pytest.raises(ConfigurationError, match=r"white space.* timeout=-1") as caught:
        GenAIConfig(api_key="a b", timeout=-1)
    assert "aistudio" in caught.value.remedy
    with pytest.raises(UnknownSettingError, match="did you mean 'api_key'"):
        GenAIConfig(api_kye="k")  # type: ignore[call-arg] # that is what is tested
    with pytest.raises(ConfigurationError, match=r"client_options: .*valid dictionary"):
        GenAIConfig.model_validate({"client_options": 1})
    with pytest.raises(ValidationError, match="white space") as embedded:
        Embedding.model_validate({"genai": {"api_key": "a b", "timeout": 0}})
    assert [line["loc"] for line in embedded.value.errors()] == [
        ("genai", "api_key"), ("genai", "timeout"),
    ]  # fmt: skip


DUMPED = {
    "a key": {"api_key": KEY},
    "a header": {"default_metadata": [("x-a", "b")]},
    "a proxy": {"proxy": "http://host"},
    "a key file's content": {"credentials": {"type": "x", "private_key": KEY}},
    "credentials": {"credentials": AnonymousCredentials()},
}


@pytest.mark.parametrize("settings", DUMPED.values(), ids=DUMPED)
def test_what_a_dump_shows_is_refused_wherever_it_comes_back(settings: dict[str, Any]) -> None:
    """The asterisks of a secret would be sent as the secret; the error says which way works."""
    before = safe_configure(transport="rest")
    config = GenAIConfig().merge(**settings)
    ways: tuple[Callable[[], Any], ...] = (
        lambda: safe_configure(**config.model_dump()),
        lambda: safe_configure(config.model_dump()),
        lambda: GenAIConfig(**config.model_dump()),
        lambda: GenAIConfig.model_validate_json(config.model_dump_json()),
        lambda: GenAIConfig().merge(**config.redacted()),
    )
    for back in ways:
        with pytest.raises(ConfigurationError, match="dump") as caught:
            back()
        assert "safe_configure(config)" in caught.value.remedy
    assert get_config() == before


def test_a_configuration_without_secrets_survives_a_dump() -> None:
    """As data and as JSON; its schema can be written down."""
    config = everything().merge(
        api_key=UNSET, credentials="/key.json", proxy=UNSET, default_metadata=UNSET,
        client_options={"client_cert_source": UNSET},
    )  # fmt: skip
    assert GenAIConfig(**config.model_dump()) == config
    assert GenAIConfig.model_validate_json(config.model_dump_json()) == config
    modes: tuple[JsonSchemaMode, ...] = ("validation", "serialization")
    for mode in modes:
        schema = GenAIConfig.model_json_schema(mode=mode)
        assert schema["properties"]["api_key"]["writeOnly"]
        assert schema["properties"].keys() == GenAIConfig.model_fields.keys()
        json.dumps(schema)


def test_strings_are_converted_as_settings_classes_have_them() -> None:
    """Numbers, scopes and JSON's lists, as they come from variables and files."""
    made = Embedding.model_validate(
        {"genai": {"timeout": "5", "auth_timeout": "2.5", "scopes": "email,openid", "api_key": KEY,
                   "default_metadata": [["x-a", "b"]], "client_options": {"api_endpoint": "host"},
                   "tuned_endpoints": {"tunedModels/a": "1"}, "client_info": {"user_agent": "me"},
                   "quota_project": None}}
    ).genai  # fmt: skip
    assert made == GenAIConfig().merge(
        timeout=5, auth_timeout=2.5, scopes=["email", "openid"], api_key=KEY,
        default_metadata=[("x-a", "b")], client_options={"api_endpoint": "host"},
        tuned_endpoints={"tunedModels/a": "1"},
        client_info=ClientInfo(user_agent="me", python_version=None, grpc_version=None,
                               api_core_version=None),
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="must be a number of seconds, not str"):
        GenAIConfig(timeout="soon")  # type: ignore[arg-type] # that is what is tested


def test_it_is_a_field_of_pydantic_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of one's own reads it from nested variables."""
    settings = pytest.importorskip("pydantic_settings")
    monkeypatch.setenv("APP__GENAI__TIMEOUT", "5")
    monkeypatch.setenv("APP__GENAI__API_KEY", KEY)

    class Mine(settings.BaseSettings):  # type: ignore[name-defined, misc] # imported if installed
        model_config: ClassVar = {"env_prefix": "APP__", "env_nested_delimiter": "__"}
        genai: GenAIConfig = GenAIConfig()

    assert Mine().genai == GenAIConfig().merge(timeout=5, api_key=KEY)
    monkeypatch.setenv("APP__GENAI__API_KEY", '{"from_env": "TEAM"}')
    with pytest.raises(ValidationError, match="__API_KEY__FROM_ENV"):
        Mine()
    monkeypatch.delenv("APP__GENAI__API_KEY")
    monkeypatch.setenv("APP__GENAI__API_KEY__FROM_ENV", "TEAM")
    assert Mine().genai == GenAIConfig().merge(timeout=5, api_key=from_env("TEAM"))
    monkeypatch.delenv("APP__GENAI__API_KEY__FROM_ENV")
    monkeypatch.setenv("APP__GENAI", '{"api_key": {"from_env": "TEAM"}}')
    assert Mine().genai.api_key == from_env("TEAM")


def test_it_is_frozen() -> None:
    """Neither it nor its parts can be changed."""
    config = GenAIConfig()
    with pytest.raises(ConfigurationError, match=r"frozen, transport too.\n.*config.merge"):
        config.transport = "rest"  # type: ignore[misc] # that is what is tested
    with pytest.raises(ConfigurationError, match="frozen") as caught:
        config.__setattr__("api_key", KEY)
    assert KEY not in str(caught.value)
    with pytest.raises(ConfigurationError, match="frozen"):
        config.client_options.api_endpoint = "host"  # type: ignore[misc] # likewise
    with pytest.raises(ConfigurationError, match=r"frozen, transport too.\n.*transport=UNSET"):
        del config.transport
    assert config == GenAIConfig()


def everything() -> GenAIConfig:
    """A configuration with every setting, made anew."""
    return GenAIConfig().merge(
        api_key=KEY,
        credentials={"type": "service_account", "a": [1, {"b": 2}]},
        transport="rest",
        client_options={"api_endpoint": "host", "client_cert_source": print},
        client_info=ClientInfo(user_agent="me/1.0"),
        default_metadata=[("x-a", "1"), ("x-b-bin", b"2"), ("x-a", "3")],
        auth="oauth",
        tuned_transport="rest",
        scopes=["email"],
        quota_project="my-project",
        timeout=3,
        auth_timeout=4,
        proxy="http://host",
        ca_certs="/ca.pem",
        project="my-project",
        location="us",
        endpoint="openapi",
        raw_configure="merge",
        existing_models="follow",
        backend="vertex",
        tuned_endpoints={"tunedModels/b": "2", "tunedModels/a": "1"},
        vertex_endpoint="gateway",
    )


def test_it_is_equal_and_hashed_by_content() -> None:
    """Two configurations made separately of equal values are one key of a dict."""
    assert everything() == everything()
    assert {everything(): 1}[everything()] == 1
    assert everything() != everything().merge(timeout=5)
    assert everything() != everything().merge(api_key="other")
    assert GenAIConfig() == GenAIConfig().merge()


def test_merge_leaves_both_as_they_are() -> None:
    """It makes a new object; None leaves a setting, UNSET clears it."""
    config = everything()
    merged = config.merge(transport=None, timeout=UNSET, default_metadata=UNSET, api_key="new")
    assert config == everything()
    assert merged.transport == "rest"
    assert merged.timeout is None
    assert merged.default_metadata == ()
    assert isinstance(merged.api_key, Secret)
    assert merged.api_key.get_secret_value() == "new"
    assert merged.client_options.api_endpoint == "host"


def test_tuned_endpoints_merge_by_name() -> None:
    """A name is added, replaced or removed by itself; UNSET for the setting clears all."""
    config = GenAIConfig().merge(tuned_endpoints={"tunedModels/b": "2", "tunedModels/a": "1"})
    assert config.tuned_endpoints == (("tunedModels/a", "1"), ("tunedModels/b", "2"))
    changed = config.merge(tuned_endpoints={"tunedModels/a": UNSET, "tunedModels/b": "3"})
    assert changed.tuned_endpoints == (("tunedModels/b", "3"),)
    assert config.merge(tuned_endpoints=UNSET).tuned_endpoints == ()
    given = config.merge(tuned_endpoints=UNSET).merge(tuned_endpoints=config.tuned_endpoints)
    assert given == config


def test_unset_gives_back_the_default() -> None:
    """Clearing every setting leaves the configuration that nothing has set."""
    cleared = everything().merge(**dict.fromkeys(GenAIConfig.model_fields, UNSET))
    assert cleared == GenAIConfig()


def test_merge_refuses_what_safe_configure_refuses() -> None:
    """The error is ours, not pydantic's."""
    with pytest.raises(ConfigurationError, match="did you mean 'rest'"):
        GenAIConfig().merge(transport="rset")  # type: ignore[arg-type] # that is what is tested


def test_copies_are_the_configuration_itself() -> None:
    """Nothing in it can change; credentials with a lock inside are not copied."""
    config = secretive()
    assert copy.copy(config) is config
    assert copy.deepcopy(config) is config
    assert copy.deepcopy([config])[0] is config
    assert config.model_copy() == config
    assert config.model_copy(deep=True) == config


def test_model_copy_checks_what_it_updates() -> None:
    """Pydantic's own would put any value in."""
    assert GenAIConfig().model_copy(update={"transport": "rest"}).transport == "rest"
    with pytest.raises(ConfigurationError, match="it is one of: grpc"):
        GenAIConfig().model_copy(update={"transport": "pigeon"})


LITERAL_SECRETS = {
    "a literal secret": {"api_key": KEY},
    "google-auth credentials": {"credentials": AnonymousCredentials()},
    "the content of a key file": {"credentials": {"type": "x", "private_key": KEY}},
    "a proxy's password": {"proxy": f"http://user:{KEY}@host"},
    "a credential in default_metadata": {"default_metadata": [("X-Api-Key", KEY)]},
}


@pytest.mark.parametrize(("what", "settings"), LITERAL_SECRETS.items(), ids=LITERAL_SECRETS)
def test_a_configuration_with_a_literal_secret_is_not_pickled(
    what: str, settings: dict[str, Any]
) -> None:
    """The error names what is in the way and says what to do instead."""
    with pytest.raises(SecretPicklingError, match=what) as caught:
        pickle.dumps(GenAIConfig().merge(**settings))
    assert "export GEMINI_API_KEY" in caught.value.remedy
    assert "safe_configure() in the worker's initializer" in caught.value.remedy
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("header", ["authorization", "cookie", "x-secret", "x-auth-token"])
def test_headers_that_carry_credentials_are_not_pickled(header: str) -> None:
    """A header's name tells; one that names a tenant is no secret."""
    with pytest.raises(SecretPicklingError):
        pickle.dumps(GenAIConfig().merge(default_metadata=[(header, "x")]))
    config = GenAIConfig().merge(default_metadata=[("x-tenant", "x")])
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 -- our own


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_configuration_without_literal_secrets_survives_pickling(protocol: int) -> None:
    """References go over: paths, names, a proxy without a password."""
    config = everything().merge(api_key=UNSET, credentials="/key.json")
    assert pickle.loads(pickle.dumps(config, protocol)) == config  # noqa: S301 -- our own


LOAD = (
    "import base64, pickle, sys; config = pickle.loads(base64.b64decode(sys.argv[1])); "
    "print(config.api_key.get_secret_value(), config.api_key.variable, config.transport)"
)


def load_elsewhere(pickled: bytes, **environ: str) -> subprocess.CompletedProcess[str]:
    """Unpickles in another process and prints the key it finds there."""
    import base64

    root = str(Path(__file__).parents[2])
    return subprocess.run(  # noqa: S603 -- our own code
        [sys.executable, "-c", LOAD, base64.b64encode(pickled).decode()],
        env={**os.environ, "PYTHONPATH": root, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_key_of_the_environment_is_found_again_in_another_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pickle holds the variable's name alone."""
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    pickled = pickle.dumps(get_config().merge(transport="rest"))
    assert KEY.encode() not in pickled
    loaded = load_elsewhere(pickled, GEMINI_API_KEY="made-up-on-the-other-side")
    assert loaded.stdout.split() == ["made-up-on-the-other-side", "GEMINI_API_KEY", "rest"]


def test_a_key_that_is_missing_in_the_other_process_is_an_error_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It names the variable, and what to type."""
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    pickled = pickle.dumps(get_config())
    monkeypatch.delenv("GOOGLE_API_KEY")
    loaded = load_elsewhere(pickled)
    assert loaded.returncode == 1
    assert "takes its API key from GOOGLE_API_KEY, which is not set" in loaded.stderr
    assert "export GOOGLE_API_KEY" in loaded.stderr


def test_from_env_reads_what_it_is_given() -> None:
    """The environment's layer alone: of a mapping, or of this process."""
    config = GenAIConfig.from_env({"GOOGLE_API_KEY": "k", "GOOGLE_CLOUD_LOCATION": "us-central1"})
    assert config == GenAIConfig(api_key="k", location="us-central1")
    assert GenAIConfig.from_env() == GenAIConfig()
    with pytest.raises(ConfigurationError, match="GEMINI_API_KEY"):
        GenAIConfig.from_env({"GEMINI_API_KEY": "a b"})


def test_none_means_not_given_to_the_model_too() -> None:
    """As everywhere else, also for what has another default."""
    assert GenAIConfig(auth=None, default_metadata=None, client_options=None) == GenAIConfig()


def test_a_key_that_the_environment_gives_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration put in force anew follows the variable, unless that has changed since."""

    def shown() -> str:
        key: Any = get_config().api_key
        return str(key.get_secret_value())

    monkeypatch.setenv("GOOGLE_API_KEY", "made-up-one")
    config = get_config()
    monkeypatch.setenv("GOOGLE_API_KEY", "made-up-two")
    safe_configure(config)
    monkeypatch.setenv("GOOGLE_API_KEY", "made-up-three")
    assert shown() == "made-up-one"
    safe_configure(GenAIConfig.from_env())
    monkeypatch.setenv("GOOGLE_API_KEY", "made-up-four")
    assert shown() == "made-up-four"
