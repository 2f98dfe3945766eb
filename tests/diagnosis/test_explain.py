"""Explanations: the decision, where each value came from, and no secret anywhere."""

from __future__ import annotations

import datetime as dt
import html
import json
import sys
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.auth.compute_engine import Credentials as Machine
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as EndUser

import genai_config
from genai_config import (
    UNSET,
    explain,
    from_command,
    from_env,
    from_file,
    override,
    safe_configure,
)
from genai_config._diagnosis import provenance
from genai_config._diagnosis.provenance import Setting, Source
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER, TUNED_SCOPES, TUNING
from genai_config.exceptions import ConfigurationError, UnknownSettingError

if TYPE_CHECKING:
    from pathlib import Path

    from genai_config import Explanation
    from genai_config.testing import GeminiServer

KEY = "AIza-a-key-that-nobody-may-see"
GATEWAY = {"api_endpoint": "localhost:8443"}
"""Where a tuned model may still be served: Google's own endpoint no longer does."""
TUNED = "tunedModels/mine"


def here(offset: int) -> str:
    """The place of a line above the caller's, as layers name it."""
    frame = sys._getframe(1)
    return f"{__file__}:{frame.f_lineno - offset}"


def setting(explanation: Explanation, name: str) -> Setting:
    """The setting of that name."""
    return next(one for one in explanation.settings if one.name == name)


def problems(explanation: Explanation) -> list[str]:
    """What would go wrong, by kind."""
    return [problem.kind for problem in explanation.problems]


def login(path: Path, **more: str) -> Path:
    """A file of an end user's, as gcloud writes it."""
    content = {
        "type": "authorized_user", "client_id": "the-client", "client_secret": "GOCSPX-nobody-may",
        "refresh_token": "1//0nobody-may-see-this", **more,
    }  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class TestTheDecision:
    def test_a_base_model_goes_by_the_key(self) -> None:
        """The route and its reasons are those of the routing."""
        safe_configure(api_key=KEY, transport="rest")
        told = explain("gemini-3.6-flash")
        assert told.decision is not None
        assert (told.decision.auth, told.decision.transport) == ("api_key", "rest")
        assert told.decision.reasons == (
            "generative.generate_content takes an API key, and there is one.",
            'transport="rest".',
        )
        assert told.credentials is not None
        assert told.credentials.kind == "API key (standard key)"
        assert told.problems == ()
        assert told.installed

    def test_a_tuned_model_goes_by_oauth(self, adc: Path) -> None:
        """Of a service account the address is told, and where it came from."""
        safe_configure(client_options=GATEWAY)
        told = explain(TUNED)
        assert told.decision is not None
        assert (told.decision.auth, told.decision.scopes) == ("oauth", TUNED_SCOPES)
        held = told.credentials
        assert held is not None
        assert held.kind == "service account"
        assert held.identity == "sa-1@project.iam.gserviceaccount.com"
        assert held.origin == f"ADC, {adc} (named by GOOGLE_APPLICATION_CREDENTIALS)"
        assert held.scopes_held == TUNED_SCOPES
        assert (held.quota_project, held.expires) == (None, None)
        assert told.problems == ()

    def test_the_errors_of_the_routing_are_told_with_the_services_answer(self) -> None:
        """A key alone, and a request that takes none."""
        safe_configure(api_key=KEY, auth="api_key", client_options=GATEWAY)
        told = explain("corpora/x", "query_corpus")
        assert (told.decision, told.credentials) == (None, None)
        assert problems(told) == ["OAuthRequiredError", "key"]
        assert told.problems[0].remedy == 'with override(auth="auto"): …'
        assert "401 UNAUTHENTICATED" in told.problems[1].problem

    def test_a_forced_key_is_sent_for_a_tuned_model(self) -> None:
        """Whether the service takes it is for the service to say."""
        safe_configure(api_key=KEY, auth="api_key", client_options=GATEWAY)
        decided = explain(TUNED).decision
        assert decided is not None
        assert (decided.auth, decided.place) == ("api_key", "gemini")

    def test_vertex_ai(self) -> None:
        """By its own names, by a mapped tuned model, or by the backend: one scope."""
        safe_configure(
            api_key=KEY, project="my-project", location="us-central1",
            tuned_endpoints={TUNED: "456"},
        )  # fmt: skip
        for name in (TUNED, "projects/my-project/locations/eu/endpoints/1"):
            told = explain(name)
            assert told.decision is not None
            assert (told.decision.place, told.decision.auth, told.decision.transport) == (
                "vertex", "oauth", "rest",
            )  # fmt: skip
            assert told.decision.scopes == (CLOUD_PLATFORM,)
            assert "Vertex AI" in str(told)
        assert explain("models/x").decision == explain().decision
        with override(backend="vertex"):
            told = explain("models/x")
            assert told.decision is not None
            assert told.decision.place == "vertex"
            assert problems(explain("a/b/c"))[0] == "ConfigurationError"
            assert problems(explain(method="list_models"))[0] == "UnsupportedRequestError"
        with override(backend="vertex", auth="api_key"):
            assert problems(explain("models/x"))[0] == "OAuthRequiredError"

    @pytest.mark.parametrize(
        ("method", "name", "transport"),
        [
            (None, "generative.generate_content", "grpc"),
            ("generate_content_async", "generative.generate_content", "grpc_asyncio"),
            ("upload_file", "file.create_file", "grpc"),
            ("list_models", "model.list_models", "grpc"),
        ],
    )
    def test_methods_are_found_by_the_sdks_names(
        self, method: str | None, name: str, transport: str
    ) -> None:
        """Those of its functions, and those of its clients."""
        safe_configure(api_key=KEY)
        told = explain("models/x", method)
        assert told.method == name
        assert told.decision is not None
        assert told.decision.transport == transport

    def test_a_method_that_names_no_resource_is_not_decided_by_the_model(self) -> None:
        """As with the call itself."""
        safe_configure(api_key=KEY)
        told = explain(TUNED, "list_models")
        assert told.decision is not None
        assert told.decision.auth == "api_key"

    @pytest.mark.usefixtures("adc")
    def test_making_tuned_models_takes_oauth(self) -> None:
        """Whatever the model."""
        told = explain(None, "create_tuned_model")
        assert told.decision is not None
        assert told.decision.scopes == TUNED_SCOPES

    def test_what_is_no_method(self) -> None:
        """The nearest is named."""
        with pytest.raises(ConfigurationError, match="did you mean 'embed_content'"):
            explain(method="embed_contnet")
        with pytest.raises(ConfigurationError, match='method="generate_content", for example'):
            explain(method="zzz")
        with pytest.raises(ConfigurationError, match="must be a model of google"):
            explain(1)  # type: ignore[arg-type] # the point

    def test_without_anything_the_remedy_is_told(self) -> None:
        """No key, no ADC: what was looked for, and what to do."""
        told = explain()
        assert problems(told) == ["CredentialsError"]
        assert "No OAuth credentials were found" in told.problems[0].problem
        assert 'api_key="…") or export GEMINI_API_KEY=…' in told.problems[0].remedy

    @pytest.mark.parametrize("model", [None, TUNED])
    def test_the_remedy_is_that_of_the_call(
        self, monkeypatch: pytest.MonkeyPatch, model: str | None
    ) -> None:
        """Whether or not the metadata server may be asked, which is not done here."""
        asked = explain(model).problems[0].remedy
        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setattr(provenance, "is_googles_machine", lambda: False)
        foretold, *_ = explain(model).problems
        assert foretold.kind == "CredentialsNotFoundError"
        assert foretold.remedy == asked
        assert "--client-id-file" in asked
        assert ("api_key" in asked) == (model is None)

    def test_where_the_sdk_is_not_loaded_it_need_not_be(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Explaining loads no SDK."""
        monkeypatch.delitem(sys.modules, "google.generativeai.client")
        assert not explain().installed
        assert "google.generativeai.client" not in sys.modules

    def test_a_variable_that_cannot_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The problem names it; the settings are told all the same, though not in force."""
        safe_configure(transport="rest")
        monkeypatch.setenv("GEMINI_API_KEY", f"'{KEY}'")
        told = explain()
        assert problems(told) == ["ConfigurationError"]
        assert "GEMINI_API_KEY" in told.problems[0].problem
        assert setting(told, "transport").note
        assert KEY not in str(told)


class TestTheSettings:
    def test_a_default(self) -> None:
        """It came from nowhere."""
        told = setting(explain(), "auth_timeout")
        assert told == Setting("auth_timeout", 30.0, Source(30.0, "default", ""))

    def test_the_strongest_layer_and_those_that_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variables, a call and a scope, each with its place."""
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "from-the-environment")
        safe_configure(project="from-a-call")
        with override(project="from-a-scope"):
            told = setting(explain(), "project")
        assert told.value == "from-a-scope"
        assert told.source == Source("from-a-scope", "override", here(3))
        assert told.lost == (
            Source("from-a-call", "safe_configure", here(6)),
            Source("from-the-environment", "environment", "GOOGLE_CLOUD_PROJECT"),
        )

    def test_a_key_of_the_environment_loses_to_credentials(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And it is said why."""
        monkeypatch.setenv("GEMINI_API_KEY", KEY)
        safe_configure(credentials=AnonymousCredentials())
        told = setting(explain(), "api_key")
        assert (told.value, told.source.place) == (None, here(2))
        assert told.lost == (Source("**********", "environment", "GEMINI_API_KEY"),)
        assert "credentials= was given" in told.note
        assert "(credentials= was given" in str(explain())

    def test_what_was_cleared(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """UNSET is told as what it is: a layer that won."""
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "us-central1")
        safe_configure(location=UNSET)
        told = setting(explain(), "location")
        assert (told.value, told.source.value) == (None, "UNSET")
        assert [lost.value for lost in told.lost] == ["us-central1"]

    def test_groups_are_told_member_by_member(self) -> None:
        """Clearing a group clears each of its members; header values are never shown."""
        safe_configure(
            client_options={"api_endpoint": "one.example"}, default_metadata=[("x-a", "hidden")]
        )
        told = explain()
        assert setting(told, "client_options.api_endpoint").value == "one.example"
        assert setting(told, "default_metadata.x-a").value == "**********"
        with override(client_options=UNSET, default_metadata=UNSET):
            told = explain()
        for name in ("client_options.api_endpoint", "default_metadata.x-a"):
            assert (setting(told, name).value, setting(told, name).source.kind) == (
                None,
                "override",
            )
        assert "hidden" not in str(told)

    def test_what_a_raw_configure_had_set_is_told_before_the_library_is_in(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The explanation is of what will be in force then, and changes nothing."""
        monkeypatch.setattr(client, "_client_manager", client._ClientManager())
        genai.configure(api_key=KEY, transport="rest")
        told = explain()
        assert not told.installed
        assert not genai_config.is_configured()
        assert setting(told, "transport").source.kind == "genai.configure"
        assert "The SDK sends requests by itself" in str(told)


class TestTheCredentials:
    def test_an_end_user_without_a_quota_project(self, tmp_path: Path) -> None:
        """The service's refusal is foretold, and the scopes are unknown until asked."""
        safe_configure(credentials=login(tmp_path / "adc.json"), client_options=GATEWAY)
        told = explain(TUNED)
        held = told.credentials
        assert held is not None
        assert (held.kind, held.identity) == ("end user", "the-client")
        assert held.scopes_held is None
        assert problems(told) == ["quota project"]
        assert "quota project" in told.problems[0].problem
        assert "unknown; ask the service" in str(told)

    def test_a_quota_project_of_the_file_or_of_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And which of the two it was."""
        safe_configure(credentials=login(tmp_path / "adc.json", quota_project_id="of-the-file"))
        held = explain(TUNED).credentials
        assert held is not None
        assert (held.quota_project, held.quota_origin) == (
            "of-the-file",
            "the credentials themselves",
        )
        monkeypatch.setenv("GOOGLE_CLOUD_QUOTA_PROJECT", "of-the-variable")
        held = explain(TUNED).credentials
        assert held is not None
        assert held.quota_project == "of-the-variable"
        assert held.quota_origin == "environment, GOOGLE_CLOUD_QUOTA_PROJECT"
        assert "of-the-variable (from environment, GOOGLE_CLOUD_QUOTA_PROJECT)" in str(
            explain(TUNED)
        )

    @pytest.mark.parametrize(
        ("granted", "model", "method", "refused"),
        [
            ((RETRIEVER,), TUNED, None, True),
            ((CLOUD_PLATFORM,), TUNED, None, False),
            ((CLOUD_PLATFORM,), None, "list_tuned_models", True),
            ((TUNING,), None, "list_tuned_models", False),
            ((CLOUD_PLATFORM,), None, "list_corpora", True),
            ((CLOUD_PLATFORM,), "corpora/x", "generate_answer", True),
            ((CLOUD_PLATFORM,), None, "get_operation", False),
            ((CLOUD_PLATFORM,), None, None, False),
        ],
    )
    def test_scopes_that_will_not_do(
        self, granted: tuple[str, ...], model: str | None, method: str | None, *, refused: bool
    ) -> None:
        """Those that an end user granted, where whoever made the credentials has told them."""
        safe_configure(
            credentials=EndUser(
                "ya29.nobody-may-see",
                expiry=dt.datetime(2030, 1, 1),  # noqa: DTZ001 -- google-auth's are naive
                granted_scopes=list(granted),
                quota_project_id="project",
            ),
            client_options=GATEWAY,
        )
        told = explain(model, method)
        held = told.credentials
        assert held is not None
        assert held.scopes_held == granted
        assert held.expires == "2030-01-01T00:00:00+00:00"
        assert problems(told) == (["scopes"] if refused else [])
        assert not refused or "gcloud auth application-default login" in told.problems[0].remedy

    def test_a_service_account_with_too_little(self, adc: Path) -> None:
        """Its scopes are those that are asked for: here, by a setting."""
        safe_configure(credentials=adc, scopes=[RETRIEVER], client_options=GATEWAY)
        told = explain(TUNED)
        assert problems(told) == ["scopes"]
        assert "safe_configure(scopes=" in told.problems[0].remedy

    @pytest.mark.usefixtures("adc")
    def test_a_token_that_is_held(self, configured: Any) -> None:
        """What a request has found and fetched is told, without asking anew."""
        del configured
        genai.GenerativeModel(TUNED).generate_content("hi")
        held = explain(TUNED).credentials
        assert held is not None
        assert held.expires is not None
        assert held.expires.endswith("+00:00")
        assert f"held, until {held.expires}" in str(explain(TUNED))

    def test_the_metadata_server_is_not_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A machine on which it would be its turn."""
        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setattr("google.auth.default", pytest.fail)
        held = explain(TUNED).credentials
        assert held is not None
        assert "not asked" in held.origin
        assert "not asked" in str(explain(TUNED))

    def test_a_machine_has_no_name_until_it_is_asked(self) -> None:
        """google-auth calls it "default"."""
        safe_configure(credentials=Machine())
        held = explain(TUNED).credentials
        assert held is not None
        assert (held.kind, held.identity, held.scopes_held) == ("metadata server", None, None)

    def test_credentials_of_another_kind_are_told_by_their_class(self) -> None:
        """Anybody may write some."""
        safe_configure(credentials=AnonymousCredentials())
        held = explain(TUNED).credentials
        assert held is not None
        assert held.kind == "google.auth.credentials.AnonymousCredentials"

    def test_a_file_that_went_away(self, adc: Path, tmp_path: Path) -> None:
        """It was there when it was given."""
        gone = tmp_path / "gone.json"
        gone.write_bytes(adc.read_bytes())
        safe_configure(credentials=gone, client_options=GATEWAY)
        gone.unlink()
        told = explain(TUNED)
        assert problems(told) == ["CredentialsError"]
        assert "cannot be read" in " ".join(str(told).split())  # however long the path is


class TestTheForms:
    def test_plain_data(self, adc: Path) -> None:
        """What a machine gets is what JSON can hold."""
        del adc
        told = explain(TUNED)
        data = told.model_dump()
        assert data == json.loads(told.model_dump_json(indent=2))
        assert data["decision"]["scopes"] == list(TUNED_SCOPES)
        assert data["credentials"]["kind"] == "service account"

    def test_for_people_it_fits_80_columns(self) -> None:
        """But for words that are longer than that."""
        safe_configure(
            api_key=KEY,
            credentials=AnonymousCredentials(),
            scopes=["https://example.com/" + "x" * 90, CLOUD_PLATFORM],
            default_metadata=[("x-a-very-long-name-of-a-header", "1")],
            client_options=GATEWAY,
        )
        lines = str(explain(TUNED)).splitlines()
        # The settings' column begins at 32: what is longer than the rest is a path, or the scope.
        assert [x for x in lines if len(x) > 80 and max(map(len, x.split())) <= 80 - 32] == []
        assert lines[0] == "generative.generate_content on tunedModels/mine"

    def test_nothing_moves_a_terminals_cursor(self) -> None:
        """A model's name may be anything."""
        assert "\x1b" not in str(explain("\x1b[2Jmodel"))

    def test_for_notebooks_everything_is_escaped(self) -> None:
        """A model's name may be anything."""
        told = explain("<script>alert(1)</script>")._repr_html_()
        assert "<script>" not in told
        assert html.escape("<script>") in told
        assert "<h4>" in told


def test_no_form_shows_a_secret(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, proxy, headers, key file, environment, and secrets in the wrong place."""
    info = server.service_account_info()
    other = "AIza-another-key-that-nobody-may-see"
    monkeypatch.setenv("GEMINI_API_KEY", other)
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", other)
    safe_configure(project=UNSET)
    with override(
        api_key=KEY,
        credentials=info,
        proxy="http://user:nobody-may@localhost:1",
        default_metadata=[("x-authorization", "nobody-may-see")],
    ):
        for model in (TUNED, None, KEY, f"tunedModels/{KEY}"):
            told = explain(model)
            for form in (str(told), repr(told), told._repr_html_(), told.model_dump_json()):
                for secret in (KEY, other, "nobody-may", info["private_key"], "BEGIN PRIVATE"):
                    assert secret not in form


@pytest.mark.parametrize(
    ("settings", "model", "lacking"),
    [
        ({"api_key": from_env("NOT_SET")}, None, "NOT_SET is not set"),
        ({"api_key": from_file("/nowhere/key")}, None, "cannot read"),
        ({"api_key": from_command(["no-such-program"])}, None, "no-such-program"),
        ({"credentials": from_env("NOT_SET")}, "tunedModels/mine", "NOT_SET is not set"),
        ({"credentials": from_env("NOT_SET"), "api_key": "k"}, None, None),
    ],
)
def test_a_secret_that_is_not_there(
    settings: dict[str, Any], model: str | None, lacking: str | None
) -> None:
    """As far as the request needs it."""
    safe_configure(**settings)
    problems = [p for p in explain(model).problems if p.kind == "SecretReferenceError"]
    assert [lacking in problem.problem for problem in problems if lacking] == [True] * bool(lacking)
    assert bool(problems) == bool(lacking)


def test_given_scopes_are_kept(adc: Path) -> None:
    """Credentials that were given with scopes of their own are told with these."""
    credentials = service_account.Credentials.from_service_account_file(str(adc), scopes=[TUNING])
    safe_configure(credentials=credentials)
    held = explain(TUNED).credentials
    assert held is not None
    assert held.scopes_held == (TUNING,)


def test_unknown_names_are_of_the_types_that_python_has() -> None:
    """A method that is none is no unknown setting."""
    with pytest.raises(ConfigurationError) as raised:
        explain(method="zzz")
    assert not isinstance(raised.value, UnknownSettingError)
