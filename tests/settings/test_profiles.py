"""Profiles: where they are looked for, what they may hold, and which settings win."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest

import genai_config
from genai_config import (
    UNSET,
    GenAIConfig,
    base_models,
    explain,
    from_env,
    from_file,
    get_config,
    is_configured,
    override,
    reset,
    safe_configure,
    tuned_models,
)
from genai_config._settings import profile_files
from genai_config._settings.environment import FILE_VARIABLE, PROFILE_VARIABLE
from genai_config._settings.state import state
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsNotFoundError,
    RawConfigureWarning,
    UnknownSettingError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("tomli" if sys.version_info < (3, 11) else "tomllib")

TWO = """\
[profiles.dev]
transport = "rest"
timeout = 5

[profiles.prod]
auth = "oauth"
timeout = 60
project = "my-project"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a file that has the profiles `dev` and `prod`."""
    here = tmp_path / "project"
    here.mkdir()
    (here / "genai-config.toml").write_text(TWO, encoding="utf-8")
    monkeypatch.chdir(here)
    return here


def write(folder: Path, text: str, name: str = "genai-config.toml") -> Path:
    """Writes a file with profiles."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, table: str, kind: type[ConfigurationError] = ConfigurationError) -> str:
    """The text of the error about a profile with these lines."""
    write(folder, f"[profiles.bad]\n{table}\n")
    before = get_config()
    with pytest.raises(kind) as raised:
        safe_configure(profile="bad")
    assert get_config() == before
    return str(raised.value)


class TestWhichFile:
    """The one that is named, or the nearest one."""

    def test_the_nearest_one_above(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As other tools find their settings from anywhere in a project."""
        below = folder / "src" / "package"
        below.mkdir(parents=True)
        monkeypatch.chdir(below)
        assert safe_configure(profile="dev") == GenAIConfig(transport="rest", timeout=5)

    def test_pyproject(self, folder: Path) -> None:
        """Its tables are below `tool.genai-config`; the file of our own goes before it."""
        text = '[tool.genai-config.profiles.prod]\nlocation = "us"\n'
        write(folder, text, "pyproject.toml")
        assert safe_configure(profile="prod").location is None
        (folder / "genai-config.toml").unlink()
        assert safe_configure(profile="prod") == GenAIConfig(location="us")

    def test_a_pyproject_about_other_things(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is passed over: a workspace has one in each of its packages."""
        below = folder / "package"
        below.mkdir()
        write(below, '[project]\nname = "package"\n', "pyproject.toml")
        monkeypatch.chdir(below)
        assert safe_configure(profile="dev").timeout == 5

    @pytest.mark.parametrize("name", ["settings.toml", "pyproject.toml"])
    def test_the_one_that_is_named(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """Under any name; a relative path starts at the current folder."""
        prefix = "tool.genai-config." if name == "pyproject.toml" else ""
        write(tmp_path, f"[{prefix}profiles.dev]\ntimeout = 7\n", name)
        monkeypatch.setenv(FILE_VARIABLE, f"../{name}")
        assert safe_configure(profile="dev").timeout == 7
        assert folder.exists()

    def test_there_is_none(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error says where it was looked for, and how to begin one."""
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigurationError) as raised:
            safe_configure(profile="prod")
        for part in ("'prod'", "genai-config.toml", "pyproject.toml", str(tmp_path),
                     FILE_VARIABLE, "[profiles.prod]"):  # fmt: skip
            assert part in str(raised.value)

    @pytest.mark.skipif(os.name != "posix", reason="owners and modes are POSIX's")
    def test_a_strangers_file(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a folder for all, such as /tmp, it has to be named: it decides where keys go."""
        path, another = folder / "genai-config.toml", os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: another)
        monkeypatch.setattr(profile_files, "_ROOT", another)
        assert safe_configure(profile="dev").timeout == 5
        folder.chmod(stat.S_IRWXU | stat.S_IRWXO)
        with pytest.raises(ConfigurationError, match=f"(?s)another user.*{FILE_VARIABLE}={path}"):
            safe_configure(profile="dev")
        monkeypatch.setenv(FILE_VARIABLE, str(path))
        assert safe_configure(profile="dev").timeout == 5

    def test_elsewhere_there_are_no_such_modes(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nobody's owner is looked at."""
        monkeypatch.setattr(os, "name", "nt")
        profile_files._refuse_strangers(folder / "no-such-file")

    def test_nothing_is_read_unless_it_is_asked_for(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A broken file does no harm to those who use none; an empty name is none."""
        write(folder, "[[[")
        monkeypatch.setattr(profile_files, "_found", pytest.fail)
        monkeypatch.setenv(PROFILE_VARIABLE, " ")
        monkeypatch.setenv(FILE_VARIABLE, str(folder / "genai-config.toml"))
        assert safe_configure(profile="", timeout=1) == GenAIConfig(timeout=1)
        assert get_config() == GenAIConfig(timeout=1)

    def test_it_is_read_once(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the environment names stays as it was, until reset()."""
        monkeypatch.setenv(PROFILE_VARIABLE, "dev")
        assert get_config().timeout == 5
        write(folder, TWO.replace("timeout = 5", "timeout = 6"))
        monkeypatch.setenv("GEMINI_API_KEY", "made-up")
        assert get_config().timeout == 5
        reset()
        assert get_config().timeout == 6


class TestPrecedence:
    """One test for each pair of neighbouring levels."""

    def test_it_beats_the_environment(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever names a profile has chosen; variables are often another program's."""
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other-project")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us")
        monkeypatch.setenv(PROFILE_VARIABLE, "prod")
        assert (get_config().project, get_config().location) == ("my-project", "us")
        assert not is_configured()
        assert folder.exists()

    def test_its_credentials_beat_the_environments_key(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As those of safe_configure() do."""
        monkeypatch.setenv("GEMINI_API_KEY", "made-up")
        write(folder, '[profiles.prod]\ncredentials = "key.json"\n')
        monkeypatch.setenv(PROFILE_VARIABLE, "prod")
        assert get_config() == GenAIConfig(credentials=folder / "key.json")

    def test_raw_configure_beats_the_environments_profile(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is a call, and the variable is not."""
        monkeypatch.setenv(PROFILE_VARIABLE, "dev")
        safe_configure()
        genai.configure(transport="grpc")
        assert (get_config().transport, get_config().timeout) == ("grpc", 5)
        assert folder.exists()

    @pytest.mark.usefixtures("folder")
    def test_arguments_beat_it(self) -> None:
        """Those of the same call, wherever they stand, and of later ones."""
        assert safe_configure(profile="dev", timeout=1).timeout == 1
        assert safe_configure({"timeout": 2}, profile="dev").timeout == 2
        assert safe_configure(GenAIConfig(timeout=3), profile="dev").timeout == 3
        safe_configure(profile="dev", timeout=UNSET)
        assert get_config() == GenAIConfig(transport="rest")
        with override(profile="dev", timeout=6) as config:
            assert config.timeout == 6

    @pytest.mark.usefixtures("folder")
    def test_it_beats_what_was_configured_before(self) -> None:
        """And leaves what it does not name."""
        safe_configure(timeout=1, location="us")
        config = safe_configure(profile="dev")
        assert config == GenAIConfig(transport="rest", timeout=5, location="us")

    @pytest.mark.usefixtures("folder")
    def test_another_one_takes_its_place(self) -> None:
        """Two profiles never mix: what only the first names is gone."""
        safe_configure(profile="dev", location="us")
        config = safe_configure(profile="prod")
        prod = GenAIConfig(auth="oauth", timeout=60, project="my-project", location="us")
        assert config == prod
        with override(location="eu"), override(profile="dev") as inside:
            assert inside == GenAIConfig(transport="rest", timeout=5, location="eu")
            with override(profile="prod") as innermost:
                assert innermost == prod.merge(location="eu")
            assert get_config() == inside
        assert get_config() == prod
        assert safe_configure(profile=UNSET) == GenAIConfig(location="us")

    def test_it_takes_the_place_of_the_environments(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which is not even read; UNSET puts it out of force."""
        monkeypatch.setenv(PROFILE_VARIABLE, "dev")
        assert safe_configure(profile="prod").transport is None
        reset()
        with override(profile=UNSET) as inside:
            assert inside == GenAIConfig()
        assert get_config().timeout == 5
        monkeypatch.setenv(PROFILE_VARIABLE, "no-such-profile")
        assert safe_configure(profile="prod").timeout == 60
        assert folder.exists()

    @pytest.mark.usefixtures("folder")
    def test_a_statement_that_runs_again(self) -> None:
        """It leaves one layer; without its profile it says less, and does not undo it."""
        for name in ("dev", "dev", None):
            safe_configure(profile=name, location="us")
        assert get_config() == GenAIConfig(transport="rest", timeout=5, location="us")
        assert len(state.published) == 2

    @pytest.mark.usefixtures("folder")
    def test_raw_configure_drops_its_settings_of_the_sdk(self) -> None:
        """And says where they had been set."""
        safe_configure(profile="dev")
        with pytest.warns(RawConfigureWarning, match=r"transport \(dropped.*\[profiles\.dev\]"):
            genai.configure(api_key="made-up")
        assert (get_config().transport, get_config().timeout) == (None, 5)


class TestHeldClients:
    """Models and clients keep their identity, whichever way it was configured."""

    def test_they_keep_the_one_of_their_profile(self, folder: Path) -> None:
        """Everything else is the new profile's."""
        (folder / "a.json").write_text("{}", encoding="utf-8")
        text = '[profiles.a]\nclient_options = {api_endpoint = "a.example.com"}\ntimeout = 1\n'
        text += '[profiles.b]\nclient_options = {api_endpoint = "b.example.com"}\ntimeout = 2\n'
        write(folder, text)
        safe_configure(profile="a")
        held = state.hand_out()
        safe_configure(profile="b")
        config = state.current(held).config
        assert (config.client_options.api_endpoint, config.timeout) == ("a.example.com", 2)
        assert get_config().client_options.api_endpoint == "b.example.com"
        with override(profile="a"):
            assert state.current(held).config.timeout == 1
        with override(profile="b"):
            assert state.current(held).config.client_options.api_endpoint == "b.example.com"
        reset()
        assert state.current(held).config.client_options.api_endpoint == "a.example.com"


class TestScopes:
    """`override`, `base_models` and `tuned_models`."""

    @pytest.mark.usefixtures("folder")
    def test_model_types(self, adc: Path) -> None:
        """What they force stands above the profile."""
        assert adc.exists()
        with tuned_models(profile="dev") as config:
            assert (config.auth, config.timeout) == ("oauth", 5)
        with base_models(profile="dev") as config:
            assert (config.auth, config.timeout) == ("oauth", 5)

    @pytest.mark.usefixtures("folder")
    def test_a_decorator(self) -> None:
        """The function runs with the profile, its caller does not."""

        @override(profile="dev")
        def timeout() -> float | None:
            return get_config().timeout

        assert (timeout(), get_config().timeout) == (5, None)

    def test_what_it_names_is_checked(self, folder: Path) -> None:
        """A key file that is not there is an error where the profile is asked for."""
        write(folder, '[profiles.prod]\ncredentials = "no-such-key.json"\n')
        with pytest.raises(CredentialsNotFoundError, match=r"no-such-key\.json"):
            override(profile="prod")
        with pytest.raises(CredentialsNotFoundError, match=r"no-such-key\.json"):
            safe_configure(profile="prod")


class TestWhatItHolds:
    """Settings as safe_configure() takes them, and no secrets."""

    def test_everything_that_can_be_written_down(self, folder: Path) -> None:
        """Tables for what merges name by name; relative paths start at the file's folder."""
        (folder / "ca.pem").write_bytes(b"")
        write(folder, """\
            [profiles.prod]
            scopes = ["https://www.googleapis.com/auth/cloud-platform"]
            client_options = {api_endpoint = "gateway.example.com"}
            default_metadata = {x-team = "search"}
            proxy = "http://proxy.example.com:3128"
            credentials = "keys/prod.json"
            [profiles.prod.tuned_endpoints]
            "tunedModels/mine" = "1234567890"
            """)  # fmt: skip
        state.publish(profile_files.layer("prod") or pytest.fail("there is no layer"))
        assert get_config() == GenAIConfig(
            scopes=["https://www.googleapis.com/auth/cloud-platform"],
            client_options={"api_endpoint": "gateway.example.com"},
            default_metadata={"x-team": "search"},
            proxy="http://proxy.example.com:3128",
            credentials=folder / "keys" / "prod.json",
            tuned_endpoints={"tunedModels/mine": "1234567890"},
        )

    def test_references_to_secrets(self, folder: Path) -> None:
        """They say where a secret is kept; a file's path starts at the folder, too."""
        table = 'api_key = {from_file = "key"}\ncredentials = {from_env = "ACCOUNT"}\n'
        write(folder, f"[profiles.prod]\n{table}")
        config = safe_configure(profile="prod")
        assert config.api_key == from_file(folder / "key")
        assert config.credentials == from_env("ACCOUNT")

    @pytest.mark.parametrize(
        ("table", "parts"),
        [
            ("timeuot = 5", ["'timeuot'", "'timeout'"]),
            ('timeout = "long"', ["timeout", "number of seconds", "str"]),
            ('transport = "http"', ["transport", "grpc"]),
            ("credentials = 5", ["credentials", "int"]),
            ("api_key = 5", ["api_key", "from_env", "from_file", "from_command"]),
            ('api_key = {from_envv = "X"}', ["api_key", "'from_envv'", "'from_env'"]),
            ('client_options = {endpoint = "x"}', ["client option", "'api_endpoint'"]),
        ],
    )
    def test_what_is_refused(self, folder: Path, table: str, parts: list[str]) -> None:
        """With the file and the table, and what to type."""
        text = refusal(folder, table)
        for part in (*parts, str(folder / "genai-config.toml"), "[profiles.bad]"):
            assert part in text

    def test_an_unknown_setting_is_the_same_error_as_elsewhere(self, folder: Path) -> None:
        """An `except` clause for it works."""
        assert refusal(folder, "timeuot = 5", UnknownSettingError)

    @pytest.mark.parametrize(
        ("table", "what"),
        [
            ('api_key = "SECRET-made-up"', "api_key"),
            ('client_options = {api_key = "SECRET-made-up"}', "api_key"),
            ('credentials = {type = "service_account", private_key = "SECRET-made-up"}',
             "credentials"),
            ('proxy = "http://user:SECRET-made-up@proxy.example.com:3128"', "proxy"),
            ('default_metadata = {x-goog-api-key = "SECRET-made-up"}', "x-goog-api-key"),
            ('default_metadata = {x-other = "AIzaSECRET-made-up"}', "x-other"),
        ],
    )  # fmt: skip
    def test_secrets_are_refused(
        self, folder: Path, report: Callable[[BaseException], str], table: str, what: str
    ) -> None:
        """Such files are committed; neither the error nor a report with all variables shows it."""
        write(folder, f"[profiles.bad]\n{table}\n")
        with pytest.raises(ConfigurationError) as raised:
            safe_configure(profile="bad")
        assert what in str(raised.value)
        assert "SECRET" not in report(raised.value)

    def test_no_such_profile(self, folder: Path) -> None:
        """The error has the file, those that are in it, and the nearest."""
        with pytest.raises(ConfigurationError) as raised:
            safe_configure(profile="prdo")
        for part in ("'prdo'", str(folder / "genai-config.toml"), "'dev'", "did you mean 'prod'"):
            assert part in str(raised.value)

    @pytest.mark.parametrize("text", ["", "profiles = 5", 'profile = {prod = {auth = "auto"}}'])
    def test_no_profiles(self, folder: Path, text: str) -> None:
        """The error says what to add."""
        write(folder, text)
        with pytest.raises(ConfigurationError, match=r'(?s)no profiles.*\[profiles\."eu prod"\]'):
            safe_configure(profile="eu prod")

    def test_a_profile_that_is_no_table(self, folder: Path) -> None:
        """The error says what is there instead."""
        write(folder, 'profiles.prod = "rest"\n')
        with pytest.raises(ConfigurationError, match=r"must be a table, not str"):
            safe_configure(profile="prod")

    @pytest.mark.parametrize("name", [5, b"prod", ["prod"]])
    def test_a_name_that_is_none(self, folder: Path, name: Any) -> None:
        """It is a string."""
        assert folder.exists()
        with pytest.raises(ConfigurationError, match="profile must be a string"):
            safe_configure(profile=name)


class TestWhatCannotBeRead:
    """The error has the path and the cause."""

    @pytest.mark.parametrize(
        ("content", "cause"), [(b"[[[", "TOML.*line 1"), (b"a = '\xff'", "UTF-8")]
    )
    def test_another_content(self, folder: Path, content: bytes, cause: str) -> None:
        """TOML, in UTF-8."""
        path = folder / "genai-config.toml"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match=f"{path} cannot be read: .*{cause}"):
            safe_configure(profile="dev")

    def test_a_byte_order_mark(self, folder: Path) -> None:
        """Editors on Windows write one."""
        (folder / "genai-config.toml").write_bytes(b"\xef\xbb\xbf" + TWO.encode())
        assert safe_configure(profile="dev").timeout == 5

    @pytest.mark.parametrize("name", ["no-such-file.toml", ".", "large.toml"])
    def test_no_file_of_settings(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """It is not there, a folder, or far too large."""
        with (folder / "large.toml").open("wb") as file:
            file.truncate(1 << 21)
        monkeypatch.setenv(FILE_VARIABLE, name)
        with pytest.raises(ConfigurationError, match=f"(?s)cannot be read: .*{FILE_VARIABLE}="):
            safe_configure(profile="dev")

    def test_an_error_of_the_system(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is told as the system says it; root may read everything."""

        def refused(*_: Any, **__: Any) -> str:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(folder), "read_text", refused)
        with pytest.raises(ConfigurationError, match="cannot be read: Permission denied"):
            safe_configure(profile="dev")

    def test_no_parser(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Python 3.10 has none of its own."""
        monkeypatch.setitem(sys.modules, "tomllib", None)
        monkeypatch.setitem(sys.modules, "tomli", None)
        with pytest.raises(ConfigurationError, match=r"(?s)3\.11.*pip install tomli"):
            safe_configure(profile="dev")
        assert folder.exists()


class TestWhatIsTold:
    """`explain` shows the profile as a layer of its own."""

    def test_explain(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the file and the table; what it has won over, and what has won over it."""
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "other-project")
        safe_configure(profile="prod", timeout=1)
        named = {setting.name: setting for setting in explain().settings}
        place = f"{folder / 'genai-config.toml'} [profiles.prod]"
        assert named["project"].source.origin == f"profile, {place}"
        assert [lost.kind for lost in named["project"].lost] == ["environment"]
        assert named["timeout"].source.kind == "safe_configure"
        assert [lost.origin for lost in named["timeout"].lost] == [f"profile, {place}"]

    def test_a_profile_that_cannot_be_used(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No request is sent without it; the variable is named, and the rest is still told."""
        safe_configure(timeout=1)
        monkeypatch.setenv(PROFILE_VARIABLE, "stage")
        told = explain()
        assert PROFILE_VARIABLE in told.problems[0].problem
        assert str(folder) in told.problems[0].problem
        assert {s.name for s in told.settings} == {"timeout"}
        with pytest.raises(ConfigurationError, match=PROFILE_VARIABLE):
            get_config()

    def test_a_name_that_looks_like_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is not shown."""
        monkeypatch.setenv(PROFILE_VARIABLE, "AIzaSy-made-up-key-that-nobody-may-see")
        with pytest.raises(ConfigurationError) as raised:
            genai_config.get_config()
        assert PROFILE_VARIABLE in str(raised.value)
        assert "nobody" not in str(raised.value)
