"""The verbs that configure the process: what they take, what they replace, what they return."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from google.generativeai.generative_models import GenerativeModel

import genai_config
from genai_config import UNSET, GenAIConfig, generative_model, get_config, safe_configure
from genai_config._settings import model, validation
from genai_config._settings.given import ScopedSettings, Settings
from genai_config._settings.patch import GROUPS
from genai_config._settings.secrets import Secret
from genai_config.exceptions import ConfigurationError, UnknownSettingError


class TestAWholeConfiguration:
    """`safe_configure(config)`."""

    def test_it_takes_the_place_of_all_that_was_configured(self) -> None:
        """What it leaves out is as by default."""
        first = safe_configure(api_key="made-up-1", transport="rest", default_metadata=[("a", "b")])
        second = safe_configure(GenAIConfig(api_key="made-up-2", timeout=5))
        assert second == GenAIConfig(api_key="made-up-2", timeout=5)
        assert safe_configure(first) == first == get_config()

    def test_keywords_go_before_it(self) -> None:
        """They merge into what it says."""
        config = GenAIConfig(transport="rest", timeout=5)
        assert safe_configure(config, timeout=6) == config.merge(timeout=6)
        assert safe_configure(config, timeout=UNSET) == config.merge(timeout=UNSET)

    def test_the_environment_gives_what_it_leaves_out(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And goes on giving it: a key that came from a variable follows the variable."""
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-1")
        seen = get_config()
        assert safe_configure(GenAIConfig(timeout=5)) == seen.merge(timeout=5)
        safe_configure(seen)
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-2")
        key = get_config().api_key
        assert isinstance(key, Secret)
        assert key.get_secret_value() == "made-up-2"

    def test_a_key_beside_credentials_stays(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The environment's key gives way to credentials; a configuration's does not."""
        monkeypatch.setenv("GEMINI_API_KEY", "made-up-1")
        both = get_config().merge(credentials=lambda: "token", api_key=get_config().api_key)
        assert safe_configure(both) == both

    def test_a_mapping_merges_as_keywords_do(self) -> None:
        """It is `safe_configure(**mapping)`, keywords first."""
        safe_configure(api_key="made-up")
        merged = safe_configure({"transport": "rest", "timeout": 5}, timeout=6)
        assert merged == GenAIConfig(api_key="made-up", transport="rest", timeout=6)
        with pytest.raises(UnknownSettingError, match="did you mean 'timeout'"):
            safe_configure({"timout": 5})

    @pytest.mark.parametrize("config", ["rest", 5, [("transport", "rest")]])
    def test_anything_else_is_refused(self, config: Any) -> None:
        """The error says what to give."""
        before = safe_configure(transport="rest")
        with pytest.raises(ConfigurationError, match="takes a GenAIConfig or a mapping"):
            safe_configure(config)
        assert get_config() == before

    def test_a_class_that_has_one_is_no_configuration(self) -> None:
        """A class of settings of one's own, for example: the error names its field."""

        class App:
            def __init__(self) -> None:
                self.debug, self.genai = True, GenAIConfig(api_key="made-up")

        with pytest.raises(ConfigurationError, match=r"not App\.\n.*\.genai\)"):
            safe_configure(App())  # type: ignore[arg-type] # that is what is tested

    def test_its_files_are_looked_at(self) -> None:
        """A configuration may have been made where they were."""
        with pytest.raises(ConfigurationError, match="/no/such/file"):
            safe_configure(GenAIConfig(ca_certs="/no/such/file"))


def test_a_configuration_is_built_once_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """By `safe_configure`, whoever asks for it afterwards; its key is checked once."""
    safe_configure()
    counted: list[str] = []
    build, check = model.build, validation.SETTINGS["api_key"]

    def counting(name: str, function: Any) -> Any:
        def count(value: Any) -> Any:
            counted.append(name)
            return function(value)

        return count

    monkeypatch.setattr(model, "build", counting("built", build))
    monkeypatch.setitem(validation.SETTINGS, "api_key", counting("checked", check))
    config = safe_configure(api_key="made-up")
    assert get_config() is config
    assert counted == ["checked", "built"]


def test_every_setting_is_in_every_list_of_settings() -> None:
    """The signature, the types of keywords, the checks and the model name the same ones."""
    names = list(GenAIConfig.model_fields)
    signature = inspect.signature(safe_configure).parameters
    keywords = [n for n, p in signature.items() if p.kind is p.KEYWORD_ONLY]
    assert keywords == list(ScopedSettings.__annotations__) == [*names, "profile"]
    assert list(Settings.__annotations__) == names
    assert {*validation.SETTINGS, *GROUPS} == {*names}
    documented = inspect.getdoc(safe_configure) or ""
    assert all(f"    {name}: " in documented for name in keywords)


def test_generative_model_has_the_signature_of_the_sdk() -> None:
    """Each parameter, in the same order; only the model's default is the SDK's to choose."""
    ours = list(inspect.signature(generative_model).parameters)
    assert ours == list(inspect.signature(GenerativeModel).parameters)
    made: Any = generative_model(system_instruction="Be brief.", tools=[len])
    assert made.model_name == GenerativeModel().model_name
    assert made._system_instruction.parts[0].text == "Be brief."


def test_dir_is_complete() -> None:
    """What is loaded at first use is in it, too."""
    assert {*genai_config.__all__} <= {*dir(genai_config)}
