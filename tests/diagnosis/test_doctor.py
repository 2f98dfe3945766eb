"""The doctor's checks that ask nobody: each with the fault planted, and without."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING

import google.generativeai as genai
import pytest
from google.auth.credentials import AnonymousCredentials
from google.generativeai import client

from genai_config import override, safe_configure
from genai_config._diagnosis import check_environment, doctor, provenance
from genai_config._diagnosis.checks import Case, Check, Finding
from genai_config._routing.decision import CLOUD_PLATFORM, RETRIEVER

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from genai_config._diagnosis.checks import Outcome

KEY = "AIza-a-key-that-nobody-may-see"
TUNED = "tunedModels/mine"
ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
PROXIES = ("grpc_proxy", "https_proxy", "http_proxy", "all_proxy", "no_grpc_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing is wrong."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("CURL_CA_BUNDLE", "SSL_CERT_FILE", ROOTS):
        monkeypatch.delenv(name, raising=False)
    for name in check_environment._OPENAI:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GEMINI_API_KEY", KEY)


def look(name: str, model: str | None = None) -> Outcome:
    """What one check finds."""
    checks = [check for check in doctor.CHECKS if check.name == name]
    report = doctor.examine(model, checks=checks)
    (outcome,) = report.outcomes
    assert KEY not in json.dumps(report.model_dump())
    return outcome


def found(name: str, model: str | None = None) -> str:
    """The problems that one check finds, as one text; "" is health."""
    return "\n".join(finding.problem for finding in look(name, model).problems)


def login(folder: Path, **more: str) -> Path:
    """An end user's ADC file, as gcloud writes it."""
    content = {"type": "authorized_user", "client_id": "the-client", "client_secret": "GOCSPX-x",
               "refresh_token": "1//0nobody-may-see-this", **more}  # fmt: skip
    path = folder / "application_default_credentials.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_a_healthy_machine() -> None:
    """Nothing is found."""
    report = doctor.examine()
    assert report.problems == ()
    assert report.model_dump()["ok"] is True
    assert [one.name for one in report.outcomes] == [c.name for c in doctor.CHECKS if not c.online]


class TestPackages:
    def test_versions_that_go_together(self) -> None:
        """Those that these tests run with."""
        assert any(fact.startswith("google-generativeai 0.8") for fact in look("versions").facts)

    @pytest.mark.parametrize(
        ("lines", "problem"),
        [
            (["google-auth>=999"], "genai-config needs google-auth>=999, and "),
            (["no-such-package>=1"], "genai-config needs no-such-package>=1, which is not"),
            (['openai>=999; extra == "openai"'], "genai-config needs openai>=999, and "),
            (['no-such-package>=1; extra == "openai"'], ""),
            (['google-auth>=999; python_version < "3"'], ""),
            (["google-auth", "google_auth"], ""),
        ],
    )
    def test_versions_that_do_not(
        self, lines: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Too old, not there, and of an extra that nobody asked for."""
        requires = importlib.metadata.requires
        monkeypatch.setattr(
            importlib.metadata,
            "requires",
            lambda name: lines if name == "genai-config" else requires(name),
        )
        assert problem in found("versions")
        assert bool(problem) == bool(found("versions"))

    def test_a_source_tree(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where nothing is installed as a package, nothing is declared."""

        def missing(name: str) -> list[str]:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", missing)
        assert found("versions") == ""


class TestSettings:
    def test_the_errors_of_the_routing(self) -> None:
        """A request that no configuration lets through."""
        assert found("settings", TUNED) == ""
        safe_configure(backend="vertex", project="my-project")
        assert "location" in found("settings", "models/x")
        safe_configure(location="us-central1", auth="api_key")
        assert 'auth="api_key" rules them out' in found("settings", "models/x")

    def test_a_variable_that_cannot_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is named, and so is what does away with it."""
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "evil.com/")
        assert "GOOGLE_CLOUD_LOCATION" in found("settings")
        assert look("settings").findings[0].command == "unset GOOGLE_CLOUD_LOCATION"

    def test_a_bad_key_hides_nothing_else(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The key has a check of its own; the others go on without it."""
        safe_configure(auth="oauth")
        monkeypatch.setenv("GEMINI_API_KEY", f"'{KEY}'")
        monkeypatch.setenv("GOOGLE_CLOUD_LOCATION", "evil.com/")
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "my-project")
        safe = look("settings")
        assert [finding.command for finding in safe.problems] == ["unset GOOGLE_CLOUD_LOCATION"]
        assert "quotation mark" in found("key_values")
        assert "is set" in found("keys_and_oauth")

    def test_what_a_raw_configure_had_set_and_cannot_be(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing of it is in force, and it is said."""
        monkeypatch.setattr(client, "_client_manager", client._ClientManager())
        genai.configure(transport="carrier-pigeon")
        assert "carrier-pigeon" in found("settings")

    def test_a_raw_configure_that_overwrote(self) -> None:
        """The place of the call is told."""
        safe_configure(api_key=KEY)
        assert found("raw_configure") == ""
        with pytest.warns(UserWarning, match="dropped"):
            genai.configure(transport="rest")
        assert __file__ in found("raw_configure")
        assert "transport" in found("raw_configure")

    def test_a_raw_configure_that_merged_is_a_note(self) -> None:
        """Nothing was lost."""
        safe_configure(raw_configure="merge")
        genai.configure(transport="rest")
        assert found("raw_configure") == ""
        assert look("raw_configure").findings[0].note


class TestKeys:
    def test_two_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The same twice is one."""
        monkeypatch.setenv("GOOGLE_API_KEY", KEY)
        assert found("two_keys") == ""
        monkeypatch.setenv("GOOGLE_API_KEY", "AIza-another")
        assert "GEMINI_API_KEY and GOOGLE_API_KEY hold different keys" in found("two_keys")
        monkeypatch.delenv("GEMINI_API_KEY")
        assert look("two_keys").facts == ("the key of GOOGLE_API_KEY",)
        monkeypatch.delenv("GOOGLE_API_KEY")
        assert look("two_keys").facts == ("not set",)

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (KEY, ""),
            ("", "is set, and empty"),
            (" \t", "is set, and empty"),
            (f"{KEY}\n", "a line break"),
            (f"{KEY}\r", "a line break"),
            (f'"{KEY}"', "quotation mark"),
            (f"'{KEY}'", "quotation mark"),
            (f"{KEY[:9]} {KEY[9:]}", "white space"),
        ],
    )
    def test_the_form_of_a_key(
        self, value: str, problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What somebody pasted."""
        monkeypatch.setenv("GEMINI_API_KEY", value)
        assert problem in found("key_values")
        assert bool(problem) == bool(found("key_values"))

    @pytest.mark.parametrize("value", [f"{KEY}\n", f"'{KEY}'", f'"{KEY}"'])
    def test_the_command_mends_the_key(self, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is run in a shell."""
        monkeypatch.setenv("GEMINI_API_KEY", value)
        command = look("key_values").findings[0].command
        script = f'{command}; printf %s "$GEMINI_API_KEY"'
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)  # noqa: S603, S607 -- our own
        assert done.stdout == KEY

    def test_a_key_where_oauth_is_wanted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With auth="oauth" it is wrong; beside a tuned model it is worth knowing."""
        assert look("keys_and_oauth").findings == ()
        assert look("keys_and_oauth", TUNED).findings[0].note
        safe_configure(auth="oauth")
        assert "GEMINI_API_KEY is set" in found("keys_and_oauth")
        monkeypatch.delenv("GEMINI_API_KEY")
        assert look("keys_and_oauth").findings == ()


class TestTheWayOut:
    @pytest.mark.parametrize(
        ("variables", "problem"),
        [
            ({}, ""),
            ({"HTTPS_PROXY": "http://p:1"}, "lower-case names"),
            ({"ALL_PROXY": "http://p:1"}, "lower-case names"),
            ({"https_proxy": "http://p:1"}, ""),
            ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, ""),
            ({"grpc_proxy": "http://p:1"}, "REST and token requests bypass it"),
            ({"http_proxy": "http://p:1"}, "REST and token requests bypass it"),
            ({"grpc_proxy": "http://p:1", "https_proxy": ""}, "REST and token requests bypass it"),
            ({"grpc_proxy": "http://p:1", "HTTPS_PROXY": "http://q:1"}, "through another"),
            ({"https_proxy": "https://p:1"}, "does not begin with http://"),
            ({"https_proxy": "p:1"}, "does not begin with http://"),
            ({"https_proxy": "http://p:1", "no_proxy": "a"}, ""),
            ({"https_proxy": "http://p:1", "NO_PROXY": "a"}, "for the hosts of no variable"),
            ({"https_proxy": "http://p:1", "no_grpc_proxy": "a"}, "those of no variable"),
            ({"https_proxy": "http://p:1", "no_grpc_proxy": "a", "no_proxy": "b"}, "they differ"),
            ({"NO_PROXY": "a"}, ""),
        ],
    )
    def test_proxies(
        self, variables: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The variables of gRPC are not those of requests, whose names are others."""
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert problem in found("proxies")
        assert bool(problem) == bool(found("proxies"))
        safe_configure(proxy="http://user:password@mine:1")
        assert look("proxies").findings == ()

    @pytest.mark.parametrize(
        ("present", "problem"),
        [
            ((), ""),
            (("REQUESTS_CA_BUNDLE",), "gRPC does not read"),
            (("REQUESTS_CA_BUNDLE", ROOTS), ""),
            (("CURL_CA_BUNDLE", ROOTS), ""),
            ((ROOTS,), "REST and token requests do not read"),
            (("SSL_CERT_FILE",), "gRPC does not read"),
            (("SSL_CERT_FILE", ROOTS), "REST and token requests do not read"),
        ],
    )
    def test_authorities(
        self, present: tuple[str, ...], problem: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each transport has a variable of its own."""
        for name in present:
            monkeypatch.setenv(name, __file__)
        assert problem in found("authorities")
        assert bool(problem) == bool(found("authorities"))

    def test_authorities_that_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The variable is named."""
        for name in ("REQUESTS_CA_BUNDLE", ROOTS):
            monkeypatch.setenv(name, "/no/such/file.pem")
        assert found("authorities").count("does not exist") == 2
        monkeypatch.setenv(ROOTS, __file__)
        assert any(finding.note for finding in look("authorities").findings)

    def test_authorities_of_our_own_need_no_variables(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`ca_certs` goes before them."""
        import certifi

        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such/file.pem")
        safe_configure(ca_certs=certifi.where())
        assert look("authorities").findings == ()

    @pytest.mark.parametrize(
        "name",
        ["OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS"],
    )
    def test_variables_of_openai(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its clients take them without a word."""
        assert found("openai_variables") == ""
        monkeypatch.setenv(name, KEY)
        assert name in found("openai_variables")
        monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
        assert found("openai_variables") == ""

    def test_a_proxy_of_this_machine_is_a_note(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Such as our own, whose address was exported on purpose."""
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
        (finding,) = look("openai_variables").findings
        assert finding.note
        monkeypatch.setenv("OPENAI_BASE_URL", "https://127.0.0.1.example.com/v1")
        (finding,) = look("openai_variables").findings
        assert not finding.note

    def test_the_key_of_openai_is_a_note(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Who uses OpenAI has one."""
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        (finding,) = look("openai_variables").findings
        assert finding.note


class TestCredentials:
    @pytest.mark.usefixtures("adc")
    def test_a_service_account(self) -> None:
        """Which, and where it came from, is a fact."""
        facts = look("credentials", TUNED).facts
        assert facts[0] == "service account sa-1@project.iam.gserviceaccount.com"
        assert "GOOGLE_APPLICATION_CREDENTIALS" in facts[1]
        assert found("adc_variable") == ""
        assert look("scopes", TUNED).findings == ()

    def test_none_where_none_is_needed(self) -> None:
        """A key, and base models."""
        assert look("credentials").facts == ("this request does not need OAuth",)
        assert look("credentials").skipped
        assert "No OAuth credentials were found" in found("credentials", TUNED)
        assert not look("credentials", TUNED).skipped

    def test_a_variable_that_leads_nowhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Said once."""
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/no/such/key.json")
        assert "names a file that does not exist" in found("adc_variable")
        assert found("credentials") == ""

    @pytest.mark.parametrize("content", ["{}", "junk", '{"type": "authorized_user"}'])
    def test_a_file_that_cannot_be_used(
        self, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever needs it or not: somebody has put it there."""
        path = tmp_path / "adc.json"
        path.write_text(content, encoding="utf-8")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
        assert "(named by GOOGLE_APPLICATION_CREDENTIALS)" in found("credentials")

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_a_file_that_others_may_read(self, tmp_path: Path) -> None:
        """Of gcloud, or given."""
        assert look("adc_mode").skipped
        path = login(tmp_path)
        assert look("adc_mode").facts == (f"{path} has mode 600",)
        path.chmod(0o644)
        assert "(mode 644)" in found("adc_mode")
        other = tmp_path / "given.json"
        other.touch(mode=0o600)
        other.write_bytes(path.read_bytes())
        with override(credentials=other):
            assert found("adc_mode") == ""

    def test_an_end_user_without_a_quota_project(self, tmp_path: Path) -> None:
        """The command that gives one is told."""
        login(tmp_path)
        (finding,) = look("quota_project").problems
        assert finding.command == "gcloud auth application-default set-quota-project PROJECT"
        assert look("scopes").facts == ("not known: only the service tells (--online)",)
        login(tmp_path, quota_project_id="my-project")
        assert found("quota_project") == ""
        assert look("quota_project").facts == ("my-project, from the credentials themselves",)

    def test_scopes_that_are_missing(self, adc: Path) -> None:
        """As far as it is known who has them."""
        safe_configure(credentials=adc, scopes=[CLOUD_PLATFORM])
        assert found("scopes") == ""
        safe_configure(scopes=[RETRIEVER])
        assert "insufficient authentication scopes" in found("scopes")

    def test_a_metadata_server_that_is_named_and_forbidden(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One of the two is not meant."""
        assert found("metadata_server") == ""
        monkeypatch.setenv("GCE_METADATA_HOST", "localhost:1")
        assert "NO_GCE_CHECK forbids" in found("metadata_server")

    def test_where_only_the_metadata_server_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On a machine of Google's it is there, elsewhere something is missing."""
        monkeypatch.delenv("NO_GCE_CHECK")
        product = tmp_path / "product_name"
        monkeypatch.setattr(provenance, "_PRODUCT", product)
        assert "no key file" in found("metadata_server", TUNED)
        product.write_text("Google Compute Engine\n", encoding="utf-8")
        assert found("metadata_server", TUNED) == ""
        assert look("metadata_server", TUNED).findings[0].note

    def test_what_is_not_a_file_has_no_mode(self) -> None:
        """Credentials given as an object."""
        safe_configure(credentials=AnonymousCredentials())
        assert found("credentials") == ""
        assert look("adc_mode").skipped


class TestTheDoctor:
    def test_a_crash_is_a_finding_and_no_more(self) -> None:
        """The other checks run, and nothing of the error's message is shown."""

        def crash(_case: Case) -> Iterator[Finding | str]:
            yield "a fact"
            raise RuntimeError(KEY)

        checks = [Check("crashing", "", crash), Check("fine", "", lambda _: ["fact"])]
        crashed, fine = doctor.examine(checks=checks).outcomes
        assert "crashing failed: RuntimeError at test_doctor.py:" in (crashed.problems[0].problem)
        assert KEY not in str(crashed)
        assert (fine.findings, fine.facts) == ((), ("fact",))

    def test_a_check_that_hangs_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The bound ends the wait."""
        monkeypatch.setattr(doctor, "BOUND", 0.01)
        release = threading.Event()
        hanging = Check("hanging", "", lambda _: [str(release.wait(60))])
        (outcome,) = doctor.examine(checks=[hanging]).outcomes
        release.set()
        assert "within 0.01 s" in outcome.problems[0].problem

    def test_the_scopes_in_force_are_seen(self) -> None:
        """Checks run in threads of their own, with the caller's scopes."""
        check = Check("look", "", lambda case: [case.config.auth])
        with override(auth="oauth"):
            (outcome,) = doctor.examine(checks=[check]).outcomes
        assert outcome.facts == ("oauth",)

    def test_what_looks_secret_is_no_part_of_a_finding(self) -> None:
        """Nor of a line to type."""
        bad = Finding(KEY, f"first\n{KEY}", f"export X={KEY}")
        report = doctor.examine(checks=[Check("bad", "", lambda _: [bad, KEY])])
        assert KEY not in str(report)
        assert report.problems[0].remedy.startswith("first\n")

    @pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
    def test_fixing_takes_away_rights_and_nothing_else(self, tmp_path: Path) -> None:
        """The rest is a line to type; how to go back is told."""
        path = login(tmp_path)
        path.chmod(0o644)
        report = doctor.examine()
        fixed = list(doctor.fix(report).values())
        assert path.stat().st_mode & 0o777 == 0o600
        assert fixed[0] == doctor.Fixed(
            done=True, text=f"{path}: mode 644 is now 600; back: chmod 644"
        )
        assert not fixed[1].done
        assert fixed[1].text.startswith("gcloud auth application-default set-quota-project")

    def test_what_cannot_be_fixed_is_told(self, tmp_path: Path) -> None:
        """The file is gone since; a finding without a command has nothing to be done."""
        gone = Finding("others may read it", "chmod", readable=str(tmp_path / "gone"))
        checks = [Check("gone", "", lambda _: [gone, Finding("a", "b")])]
        fixed = doctor.fix(doctor.examine(checks=checks))
        assert list(fixed) == [gone]
        assert not fixed[gone].done
        assert "No such file" in fixed[gone].text


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_six_faults_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None hides another."""
    login(tmp_path).chmod(0o644)
    monkeypatch.setenv("GEMINI_API_KEY", f"'{KEY}'")
    monkeypatch.setenv("GOOGLE_API_KEY", "AIza-another")
    monkeypatch.setenv("HTTPS_PROXY", "http://user:nobody-may-see@p:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", __file__)
    monkeypatch.setenv("OPENAI_ORG_ID", "org")
    report = doctor.examine(TUNED)
    assert {outcome.name for outcome in report.outcomes if outcome.problems} == {
        "model",
        "two_keys",
        "key_values",
        "proxies",
        "authorities",
        "openai_variables",
        "adc_mode",
        "quota_project",
    }
    shown = json.dumps(report.model_dump())
    assert [s for s in (KEY, "AIza", "nobody-may-see", "GOCSPX", "1//0") if s in shown] == []


def skipped() -> dict[str, tuple[str, ...]]:
    """The checks that could not tell, and why."""
    return {one.name: one.facts for one in doctor.examine().outcomes if one.skipped}


def test_nothing_is_said_to_be_well_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither with nothing set, nor where another check has failed."""
    monkeypatch.delenv("GEMINI_API_KEY")
    monkeypatch.delenv("NO_GCE_CHECK")
    nothing = skipped()
    assert nothing["two_keys"] == nothing["adc_variable"] == ("not set",)
    assert nothing["credentials"] == nothing["scopes"] == ("no credentials to check",)
    path = tmp_path / "junk.json"
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    absent = skipped()
    assert absent["credentials"] == ("see adc_variable",)
    assert absent["scopes"] == absent["metadata_server"] == ("see credentials",)
    assert "adc_mode" in absent
    path.write_text("junk", encoding="utf-8")
    junk = skipped()
    assert junk["scopes"] == junk["metadata_server"] == ("see credentials",)
