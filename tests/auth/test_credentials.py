"""From a `credentials` setting and the machine to google-auth credentials, or words that help."""

from __future__ import annotations

import json
import os
import traceback
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.auth
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.auth import aws, external_account_authorized_user, identity_pool, pluggable
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.auth.impersonated_credentials import Credentials as Impersonated
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as EndUser
from google.oauth2.gdch_credentials import ServiceAccountCredentials as Gdch

from genai_config import GenAIConfig, get_config, override, safe_configure
from genai_config._auth import credentials
from genai_config._auth import headers as _headers
from genai_config._routing.decision import (
    BASE_SCOPES,
    CLOUD_PLATFORM,
    RETRIEVER_SCOPES,
    TUNED_SCOPES,
    TUNING,
)
from genai_config._settings.secrets import SecretMapping
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsNotFoundError,
    InvalidCredentialsError,
)
from genai_config.testing import isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config.testing import GeminiServer

REFRESH_TOKEN = "1//0a-refresh-token-that-nobody-may-see"
LOGIN: dict[str, Any] = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "GOCSPX-nobody-may-see",
    "refresh_token": REFRESH_TOKEN,
}
EXTERNAL: dict[str, Any] = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/x",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/var/run/token"},
}
AWS: dict[str, Any] = {
    **EXTERNAL,
    "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
    "credential_source": {
        "environment_id": "aws1",
        "region_url": "http://169.254.169.254/latest/meta-data/placement/availability-zone",
        "url": "http://169.254.169.254/latest/meta-data/iam/security-credentials",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com",
    },
}
PLUGGABLE: dict[str, Any] = {
    **EXTERNAL,
    "credential_source": {"executable": {"command": "/usr/bin/token"}},
}
WORKFORCE: dict[str, Any] = {
    "type": "external_account_authorized_user",
    "audience": "//iam.googleapis.com/locations/global/workforcePools/p/providers/x",
    "refresh_token": REFRESH_TOKEN,
    "token_url": "https://sts.googleapis.com/v1/oauthtoken",
    "token_info_url": "https://sts.googleapis.com/v1/introspect",
    "client_id": "id",
    "client_secret": "secret",
}
IMPERSONATED: dict[str, Any] = {
    "type": "impersonated_service_account",
    "service_account_impersonation_url": (
        "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"
        "robot@project.iam.gserviceaccount.com:generateAccessToken"
    ),
    "source_credentials": LOGIN,
}


def gdch(server: GeminiServer) -> dict[str, Any]:
    """The key file of a Google Distributed Cloud service account, whose key is elliptic."""
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "type": "gdch_service_account",
        "format_version": "1",
        "project": "project",
        "private_key_id": "1",
        "private_key": key.decode(),
        "name": "robot",
        "ca_cert_path": os.fspath(server.ca_file),
        "token_uri": "https://service-identity.example.com/authenticate",
    }


class Exchange(HTTPServer):
    """A token endpoint of Google Distributed Cloud, which the local server has not."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ExchangeRequest)
        self.asked: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}/authenticate"


class _ExchangeRequest(BaseHTTPRequestHandler):
    server: Exchange

    def do_POST(self) -> None:
        """Exchanges any key for the same token."""
        length = int(self.headers["Content-Length"])
        self.server.asked.append(json.loads(self.rfile.read(length)))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access_token": "gdch-token", "expires_in": 3600}')

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    """A running one."""
    with Exchange() as server, ThreadPoolExecutor(1) as threads:
        threads.submit(server.serve_forever, 0.01)
        yield server
        server.shutdown()


def write(path: Path, content: object) -> Path:
    """A file with some JSON, or with a text as it is."""
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text, encoding="utf-8")
    return path


def everything(error: BaseException) -> str:
    """All that a person or a log gets to see of an error."""
    return "".join((str(error), repr(error), *traceback.format_exception(error)))


@pytest.fixture
def gcloud(tmp_path: Path) -> Path:
    """Where gcloud writes, in the folder that the tests' CLOUDSDK_CONFIG names."""
    return tmp_path / "application_default_credentials.json"


class TestWhatIsFound:
    def test_the_file_that_the_variable_names(self, adc: Path) -> None:
        """GOOGLE_APPLICATION_CREDENTIALS names the file, and errors will name it too."""
        found = credentials.find(None, TUNED_SCOPES)
        kind = "google.oauth2.service_account.Credentials"
        named = "(named by GOOGLE_APPLICATION_CREDENTIALS)"
        assert found.description == f"{kind} from ADC, {adc} {named}"
        assert found.project == "project"

    def test_the_file_that_gcloud_wrote(self, gcloud: Path) -> None:
        """Without the variable it is gcloud's own file."""
        write(gcloud, {**LOGIN, "quota_project_id": "my-project"})
        found = credentials.find(None, TUNED_SCOPES)
        assert isinstance(found.credentials, EndUser)
        assert (found.quota_project, found.project) == ("my-project", None)
        assert found.description.endswith(f"from ADC, {gcloud}")

    def test_the_variable_comes_before_gclouds_file(self, adc: Path, gcloud: Path) -> None:
        """Both are there: the variable wins."""
        write(gcloud, LOGIN)
        assert str(adc) in credentials.find(None, TUNED_SCOPES).description

    @pytest.mark.parametrize("content", ["{junk", "[" * 100_000, "[]", '{"type": "other"}'])
    def test_a_bad_file_is_laid_to_the_variable_that_names_it(
        self, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever reads the error may have forgotten about the variable."""
        path = tmp_path / "bad.json"
        path.write_text(content, encoding="utf-8")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        with pytest.raises(InvalidCredentialsError) as raised:
            credentials.find(None, TUNED_SCOPES)
        assert f"{path} (named by GOOGLE_APPLICATION_CREDENTIALS)" in raised.value.problem

    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            (LOGIN, EndUser),
            (EXTERNAL, identity_pool.Credentials),
            (AWS, aws.Credentials),
            (PLUGGABLE, pluggable.Credentials),
            (WORKFORCE, external_account_authorized_user.Credentials),
            (IMPERSONATED, Impersonated),
        ],
        ids=lambda value: value["type"] if isinstance(value, dict) else value.__module__,
    )
    def test_every_type_of_key_file(
        self, tmp_path: Path, content: dict[str, Any], kind: type
    ) -> None:
        """Each type that google-auth knows is loaded by its own loader, from path and mapping."""
        path = write(tmp_path / "key.json", content)
        for setting in (path, SecretMapping(content)):
            assert type(credentials.find(setting, TUNED_SCOPES).credentials) is kind

    def test_a_distributed_clouds_service_account(self, server: GeminiServer) -> None:
        """So is the type with an endpoint of one's own."""
        found = credentials.find(SecretMapping(gdch(server)), TUNED_SCOPES)
        assert isinstance(found.credentials, Gdch)
        assert found.description.endswith("from the mapping given as credentials=")

    def test_scopes_are_asked_for_where_one_can_ask(self, server: GeminiServer) -> None:
        """A service account gets the scopes; those of a login were fixed at login."""
        robot = SecretMapping(server.service_account_info())
        assert credentials.find(robot, RETRIEVER_SCOPES).credentials.scopes == list(
            RETRIEVER_SCOPES
        )
        login = credentials.find(SecretMapping(LOGIN), RETRIEVER_SCOPES)
        assert login.credentials.scopes is None

    def test_the_users_objects_stay_as_they_are(self, server: GeminiServer) -> None:
        """A service account object is scoped and set to sign in a copy."""
        given = service_account.Credentials.from_service_account_info(server.service_account_info())
        before = dict(vars(given))
        found = credentials.find(given, TUNED_SCOPES)
        assert found.credentials is not given
        assert found.description.endswith("from the object given as credentials=")
        assert found.project == "project"
        assert vars(given) == before

    @pytest.mark.parametrize(
        ("options", "audience"),
        [
            ({}, "https://generativelanguage.googleapis.com/"),
            ({"api_endpoint": "example.com"}, "https://example.com/"),
            ({"api_endpoint": "example.com:8443"}, "https://example.com:8443/"),
            ({"api_endpoint": "https://example.com/path"}, "https://example.com/"),
            ({"api_endpoint": "example.com", "api_audience": "https://mine/"}, "https://mine/"),
        ],
    )
    def test_whom_a_distributed_clouds_tokens_are_for(
        self, server: GeminiServer, options: dict[str, str], audience: str
    ) -> None:
        """The audience that was configured, or else the endpoint; one of one's own is kept."""
        info = SecretMapping(gdch(server))
        config = GenAIConfig(credentials=info, client_options=options)
        assert credentials.audience(config.client_options) == audience
        found = _headers.source_for(config, TUNED_SCOPES).found()
        assert found.credentials._audience == audience
        mine = found.credentials.with_gdch_audience("https://my-own/")
        config = GenAIConfig(credentials=mine, client_options=options)
        assert _headers.source_for(config, TUNED_SCOPES).found().credentials is mine

    def test_the_audience_in_another_universe(self) -> None:
        """It is the service's host there."""
        options = GenAIConfig(client_options={"universe_domain": "example.com"}).client_options
        assert credentials.audience(options) == "https://generativelanguage.example.com/"

    def test_a_distributed_clouds_token(self, server: GeminiServer, exchange: Exchange) -> None:
        """It is fetched with the audience from the endpoint of the key file."""
        info = SecretMapping({**gdch(server), "token_uri": exchange.url})
        config = GenAIConfig(credentials=info, client_options={"api_endpoint": "example.com"})
        assert _headers.source_for(config, TUNED_SCOPES).token() == "gdch-token"
        (asked,) = exchange.asked
        assert asked["audience"] == "https://example.com/"

    def test_scopes_that_an_object_has_are_kept(self, server: GeminiServer) -> None:
        """Who scoped an object meant it."""
        given = service_account.Credentials.from_service_account_info(
            server.service_account_info(), scopes=["https://example.com/mine"]
        )
        found = credentials.find(given, TUNED_SCOPES).credentials
        assert found.scopes == ["https://example.com/mine"]

    def test_the_metadata_servers_come_last(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where no file is, google-auth is asked for the metadata server's, with the scopes."""
        monkeypatch.delenv("NO_GCE_CHECK")
        asked: list[Any] = []

        def default(scopes: list[str]) -> tuple[Any, str]:
            asked.append(scopes)
            return AnonymousCredentials(), "machine-project"

        monkeypatch.setattr(google.auth, "default", default)
        found = credentials.find(None, TUNED_SCOPES)
        assert found.project == "machine-project"
        assert found.description.endswith("from ADC, the metadata server")
        assert asked == [list(TUNED_SCOPES)]


OAUTH_CLIENT = "https://ai.google.dev/gemini-api/docs/oauth"


class TestNothingIsFound:
    def not_found(self, scopes: tuple[str, ...] = TUNED_SCOPES) -> CredentialsNotFoundError:
        with pytest.raises(CredentialsNotFoundError) as caught:
            credentials.find(None, scopes)
        return caught.value

    def test_every_place_is_named(self, gcloud: Path) -> None:
        """The error says where it looked, one by one, and what it found there."""
        assert self.not_found().problem == (
            "No OAuth credentials were found. Looked for: credentials= (not given); "
            "GOOGLE_APPLICATION_CREDENTIALS (not set); "
            f"{gcloud} (does not exist); "
            "the metadata server (NO_GCE_CHECK)."
        )

    def test_the_remedy_can_be_typed(self) -> None:
        """The gcloud command asks for both scopes; there is a way without gcloud, too."""
        scopes = f"'{CLOUD_PLATFORM},{TUNING}'"
        login = "gcloud auth application-default login --client-id-file=client_secret.json"
        assert self.not_found().remedy.splitlines() == [
            f"{login} --scopes={scopes}",
            "  or: export GOOGLE_APPLICATION_CREDENTIALS=/path/to/key.json",
            "  or: safe_configure(credentials='/path/to/key.json')",
            f"  client_secret.json is an OAuth client of your own: {OAUTH_CLIENT}",
        ]

    def test_a_variable_that_leads_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It comes first: a login would not help while it stands."""
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/file")
        first, *others = self.not_found().remedy.splitlines()
        assert first == "unset GOOGLE_APPLICATION_CREDENTIALS, or give it a key file's path"
        assert others

    def test_base_models_lack_a_key(self) -> None:
        """The remedy says how to give one, before all else."""
        error = self.not_found(BASE_SCOPES)
        assert error.remedy.startswith("for base models, an API key: safe_configure(api_key=")

    def test_in_a_test_the_fixtures_are_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """And no login, which could not be seen there; they are pytest's."""
        with isolated():
            tuned, base = self.not_found().remedy, self.not_found(BASE_SCOPES).remedy
        assert tuned.startswith("in a test: the fixture gemini_adc ")
        assert base.startswith("in a test: the fixture gemini_api_key or gemini_adc ")
        assert "gcloud" not in tuned + base
        assert "gemini_adc" not in self.not_found().remedy
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
        with isolated():
            assert "gemini_adc" not in self.not_found().remedy

    def test_gcloud_asks_for_the_scopes_that_the_request_needs(self) -> None:
        """Since gcloud wants cloud-platform: it is asked for with any scopes, once."""
        remedy = self.not_found(("https://example.com/mine",)).remedy
        assert f"--scopes='{CLOUD_PLATFORM},https://example.com/mine'" in remedy

    def test_it_is_google_auths_error_as_well(self) -> None:
        """An except clause written for google-auth goes on working."""
        assert isinstance(self.not_found(), DefaultCredentialsError)

    def test_a_variable_that_names_no_file(
        self, gcloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An explicit choice fails loudly: gcloud's file is not taken in its stead."""
        write(gcloud, LOGIN)
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(tmp_path / "gone.json"))
        assert self.not_found().problem == (
            "No OAuth credentials were found. Looked for: credentials= (not given); "
            f"GOOGLE_APPLICATION_CREDENTIALS (names {tmp_path / 'gone.json'}, which is not a file)."
        )

    def test_a_variable_that_holds_a_key_files_content(
        self, server: GeminiServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A mistake that is often made: the content is not shown."""
        info = server.service_account_info()
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", json.dumps(info))
        error = self.not_found()
        assert "content where a path belongs" in error.problem
        assert info["private_key_id"] not in everything(error)

    def test_colabs_own_metadata_server_is_left_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would answer with Colab's credentials; nobody asks it."""
        monkeypatch.setenv("COLAB_RELEASE_TAG", "release-1")
        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setattr(google.auth, "default", None)
        assert "the metadata server (Colab's own, not used)." in self.not_found().problem

    def test_a_metadata_server_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It was asked, and the error says so."""

        def default(scopes: list[str]) -> None:
            raise DefaultCredentialsError(scopes)

        monkeypatch.delenv("NO_GCE_CHECK")
        monkeypatch.setattr(google.auth, "default", default)
        assert "the metadata server (no answer)." in self.not_found().problem

    def test_no_gce_check_works_at_any_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """google-auth reads the variable when it is imported; here it may be set later."""
        monkeypatch.setenv("NO_GCE_CHECK", "True")
        monkeypatch.setattr(google.auth, "default", None)
        assert "the metadata server (NO_GCE_CHECK)." in self.not_found().problem


def with_broken_key(info: dict[str, Any]) -> dict[str, Any]:
    """A service account whose private key was damaged on its way."""
    return {**info, "private_key": info["private_key"].replace("A", "B").replace("E", "F")}


def without(field: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """A key file that has lost a field."""
    return lambda info: {name: value for name, value in info.items() if name != field}


class TestWhatCannotBeUsed:
    def refused(self, setting: object) -> InvalidCredentialsError:
        with pytest.raises(InvalidCredentialsError) as caught:
            credentials.find(setting, TUNED_SCOPES)
        assert isinstance(caught.value, DefaultCredentialsError)
        return caught.value

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("no json", "it does not hold a JSON object"),
            ("", "it does not hold a JSON object"),
            ([LOGIN], "it does not hold a JSON object"),
            ({}, "is missing"),
            ({**LOGIN, "type": ["authorized_user"]}, "is missing"),
            ({**LOGIN, "type": "somebody"}, "'somebody'"),
            ({"installed": {"client_id": "id", "client_secret": "GOCSPX-x"}}, "is missing"),
            ({n: v for n, v in LOGIN.items() if n != "client_id"}, "missing fields client_id"),
            (EXTERNAL | {"credential_source": None}, "external_account key file"),
            (EXTERNAL | {"credential_source": 7}, "external_account key file"),
            (
                EXTERNAL | {"credential_source": {"file": "f", "format": {"type": "GOCSPX-x"}}},
                "cannot be used: ",
            ),
            (WORKFORCE | {"token_url": None}, "external_account_authorized_user key file"),
            (IMPERSONATED | {"source_credentials": {}}, "impersonated_service_account key file"),
        ],
    )
    def test_a_bad_key_file(self, tmp_path: Path, content: object, problem: str) -> None:
        """The error names the file and what is wrong with it, and shows nothing of it."""
        path = write(tmp_path / "key.json", content)
        error = self.refused(path)
        assert problem in error.problem
        assert str(path) in error.problem
        assert error.remedy
        for secret in (REFRESH_TOKEN, "GOCSPX"):
            assert secret not in everything(error)

    @pytest.mark.parametrize(
        ("damage", "problem"),
        [
            (without("client_email"), "missing fields client_email"),
            (without("token_uri"), "missing fields token_uri"),
            (without("private_key"), "cannot be used: "),
            (with_broken_key, "cannot be used: "),
            (lambda info: {**info, "private_key": "hunter2 is missing here"}, "cannot be used: "),
        ],
    )
    def test_a_bad_service_account(
        self,
        server: GeminiServer,
        tmp_path: Path,
        damage: Callable[[dict[str, Any]], dict[str, Any]],
        problem: str,
    ) -> None:
        """A private key that cannot be read is in no message and in no traceback."""
        info = server.service_account_info()
        damaged = damage(dict(info))
        for setting in (write(tmp_path / "key.json", damaged), SecretMapping(damaged)):
            error = self.refused(setting)
            assert "says it is a service_account key file" in error.problem
            assert problem in error.problem
            shown = everything(error)
            lines = str(damaged.get("private_key", "")).splitlines()
            assert not [line for line in lines if len(line) > 5 and line in shown]

    def test_the_file_of_an_oauth_client(self, tmp_path: Path) -> None:
        """client_secret.json is no key file, and the remedy says what it is for."""
        path = write(tmp_path / "client_secret.json", {"installed": {"client_id": "id"}})
        assert "gcloud's --client-id-file" in self.refused(path).remedy

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        """A file in another encoding is no key file either."""
        path = tmp_path / "key.p12"
        path.write_bytes(b"\xff\xfe\x00")
        assert "it does not hold a JSON object" in self.refused(path).problem

    def test_a_path_that_cannot_be_read(self, tmp_path: Path) -> None:
        """The operating system's reason is passed on."""
        assert "cannot be read: No such file" in self.refused(tmp_path / "gone").problem
        assert "cannot be read: Is a directory" in self.refused(tmp_path).problem

    def test_content_where_a_path_belongs(self, server: GeminiServer) -> None:
        """A key file's content given as a string is refused without being shown."""
        info = server.service_account_info()
        error = self.refused(Path(json.dumps(info)))
        assert "content where a path belongs" in error.problem
        assert info["private_key_id"] not in everything(error)


class TestRefusedWhereItIsGiven:
    @pytest.mark.parametrize("give", [safe_configure, override])
    def test_a_bad_path_changes_nothing(self, tmp_path: Path, give: Callable[..., object]) -> None:
        """A key file that cannot be used is refused at once, with everything else of the call."""
        safe_configure(api_key="k")
        before = get_config()
        with pytest.raises(InvalidCredentialsError, match="cannot be read"):
            give(credentials=tmp_path / "gone.json", transport="rest")
        assert get_config() is before

    def test_a_bad_mapping_changes_nothing(self) -> None:
        """So is the content of one."""
        before = get_config()
        with pytest.raises(InvalidCredentialsError, match="missing fields"):
            safe_configure(credentials={"type": "authorized_user"}, transport="rest")
        assert get_config() == before

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    def test_bad_authorities_change_nothing(self, tmp_path: Path, content: str | None) -> None:
        """A ca_certs file that is not there, or holds no certificate, is refused at once."""
        path = tmp_path / "ca.pem"
        if content is not None:
            write(path, content)
        before = get_config()
        with pytest.raises(ConfigurationError, match="ca_certs=") as caught:
            safe_configure(ca_certs=path, transport="rest")
        assert str(path) in caught.value.problem
        assert get_config() == before

    def test_good_ones_are_taken(self, server: GeminiServer) -> None:
        """What can be used is kept as it was given."""
        path = server.service_account_file()
        config = safe_configure(credentials=str(path), ca_certs=str(server.ca_file))
        assert (config.credentials, config.ca_certs) == (path, server.ca_file)

    def test_what_is_no_file_is_not_looked_into(self) -> None:
        """An object and the absence of one are taken on trust until they are needed."""
        credentials.check(None)
        credentials.check(AnonymousCredentials())


class TestIdentity:
    def test_each_variable_counts(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Whatever decides which credentials ADC finds makes them others."""
        seen = {credentials.identity(None)}
        for name in (
            "CLOUDSDK_CONFIG",
            "COLAB_RELEASE_TAG",
            "GCE_METADATA_HOST",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "GOOGLE_CLOUD_QUOTA_PROJECT",
            "NO_GCE_CHECK",
        ):
            monkeypatch.setenv(name, os.fspath(tmp_path / name))
            seen.add(credentials.identity(None))
        assert len(seen) == 7

    @pytest.mark.parametrize("explicit", [True, False])
    def test_the_files_content_counts(
        self, gcloud: Path, monkeypatch: pytest.MonkeyPatch, *, explicit: bool
    ) -> None:
        """A file that appears, grows, or is written anew is another."""
        if explicit:
            monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(gcloud))
        for setting in (None, gcloud):
            gcloud.unlink(missing_ok=True)
            seen = {credentials.identity(setting)}
            write(gcloud, "1")
            os.utime(gcloud, ns=(1, 1))
            seen.add(credentials.identity(setting))
            write(gcloud, "12")
            os.utime(gcloud, ns=(1, 1))
            seen.add(credentials.identity(setting))
            os.utime(gcloud, ns=(2, 2))
            seen.add(credentials.identity(setting))
            assert len(seen) == 4
            assert credentials.identity(setting) in seen

    def test_an_object_is_itself(self) -> None:
        """Two objects are two credentials, however alike; two equal mappings are one."""
        one, other = AnonymousCredentials(), AnonymousCredentials()
        assert credentials.identity(one) == credentials.identity(one)
        assert credentials.identity(one) != credentials.identity(other)
        assert credentials.identity(one) != one
        assert credentials.identity(SecretMapping(LOGIN)) == SecretMapping(dict(LOGIN))
