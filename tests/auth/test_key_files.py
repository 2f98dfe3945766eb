"""Key files: what is read, how much of it, and what is never shown."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import GenAIConfig, explain, get_config, safe_configure
from genai_config._auth import credentials, key_files
from genai_config._auth import headers as _headers
from genai_config._masking import shown_path
from genai_config._routing.decision import TUNED_SCOPES
from genai_config._settings.secrets import SecretMapping
from genai_config.exceptions import ConfigurationError, GenAIConfigError, InvalidCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing import GeminiServer

LOGIN: dict[str, Any] = {
    "type": "authorized_user",
    "client_id": "id",
    "client_secret": "GOCSPX-nobody-may-see",
    "refresh_token": "1//0a-refresh-token-that-nobody-may-see",
}

# How the content of a key file gets to where its path belongs.
WRAPPINGS: dict[str, Callable[[str], str]] = {
    "bare": lambda text: text,
    "indented": lambda text: json.dumps(json.loads(text), indent=2),
    "white space": lambda text: f" \n{text}\n",
    "double quotes": lambda text: f'"{text}"',
    "single quotes": lambda text: f"'{text}'",
    "dumped twice": json.dumps,
    "byte order mark": lambda text: f"\ufeff{text}",
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of indented": lambda text: base64.b64encode(
        json.dumps(json.loads(text), indent=2).encode()
    ).decode(),
    "url-safe base64": lambda text: base64.urlsafe_b64encode(text.encode()).decode(),
    "prefixed base64": lambda text: f"base64:{base64.b64encode(text.encode()).decode()}",
    "base64 of a byte order mark": lambda text: base64.b64encode(text.encode("utf-8-sig")).decode(),
    "base64 twice": lambda text: base64.b64encode(base64.b64encode(text.encode())).decode(),
    "quoted base64": lambda text: f'"{base64.b64encode(text.encode()).decode()}"',
    "data URL": lambda text: (
        f"data:application/json;base64,{base64.b64encode(text.encode()).decode()}"
    ),
}


@pytest.fixture(params=["service account", "login", "private key"])
def secret(request: pytest.FixtureRequest, server: GeminiServer) -> tuple[str, list[str]]:
    """The content of a key file, and the words in it that nobody may see."""
    if request.param == "login":
        return json.dumps(LOGIN), [LOGIN["client_secret"], LOGIN["refresh_token"]]
    info = server.service_account_info()
    lines = [line for line in info["private_key"].splitlines() if len(line) > 20]
    if request.param == "private key":
        return json.dumps(info["private_key"]), lines
    return json.dumps(info), [*lines, info["private_key_id"]]


def hidden(secret: tuple[str, list[str]], wrapped: str) -> list[str]:
    """What must not be shown of a wrapped secret: its words, and any part of the wrapping."""
    parts = [wrapped[i : i + 24] for i in range(40, len(wrapped) - 24, 24)]
    return [*secret[1], *parts]


@pytest.mark.parametrize("wrapping", WRAPPINGS)
class TestContentWhereAPathBelongs:
    def test_as_a_path(self, wrapping: str, secret: tuple[str, list[str]]) -> None:
        """Nothing that is no plausible path is shown as one."""
        wrapped = WRAPPINGS[wrapping](secret[0])
        shown = shown_path(wrapped)
        assert "content where a path belongs" in shown
        assert not [word for word in hidden(secret, wrapped) if word in shown]

    def test_as_credentials(
        self,
        wrapping: str,
        secret: tuple[str, list[str]],
    ) -> None:
        """Given as `credentials`, it is refused, shown nowhere, and changes nothing."""
        wrapped = WRAPPINGS[wrapping](secret[0])
        before = get_config()
        for give in (
            lambda value: key_files.read(Path(value)),
            lambda value: credentials.find(Path(value), TUNED_SCOPES),
        ):
            with pytest.raises(GenAIConfigError) as caught:
                give(wrapped)
            shown = f"{caught.value} {caught.value!r}"
            assert not [word for word in hidden(secret, wrapped) if word in shown]
        assert get_config() == before

    def test_in_the_variable(
        self,
        wrapping: str,
        secret: tuple[str, list[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """So it is in GOOGLE_APPLICATION_CREDENTIALS, `explain` included."""
        wrapped = WRAPPINGS[wrapping](secret[0])
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", wrapped)
        with pytest.raises(GenAIConfigError) as caught:
            credentials.find(None, TUNED_SCOPES)
        told = explain("tunedModels/mine")
        shown = f"{caught.value} {caught.value!r} {told} {told.model_dump_json()}"
        assert not [word for word in hidden(secret, wrapped) if word in shown]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/keys/my-key.json",
        "relative/key.json",
        "~/client_secret_123.apps.googleusercontent.com.json",
        "C:\\Users\\me\\AppData\\Roaming\\gcloud\\application_default_credentials.json",
        "/home/jürgen/Schlüssel.json",
        "/run/secrets/private_key",
        "a b/c.json",
    ],
)
def test_a_path_is_shown(path: str) -> None:
    """Who made a typing error wants to see it."""
    assert shown_path(path) == path


@pytest.mark.parametrize("path", ["/dev/full", "/dev/zero", "/dev/stdin", "fifo", "directory"])
def test_what_is_no_file(path: str, tmp_path: Path) -> None:
    """A device or a pipe, which may be read without end or wait for ever, is not read."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "directory").mkdir()
    for setting in ("credentials", "ca_certs"):
        with pytest.raises((InvalidCredentialsError, ConfigurationError)) as caught:
            safe_configure(**{setting: tmp_path / path})  # type: ignore[arg-type] # one of the two
        assert "not a file" in caught.value.problem or "directory" in caught.value.problem


def test_a_large_file(tmp_path: Path) -> None:
    """What is too large to be a key file is not read, nor is one that grows meanwhile."""
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InvalidCredentialsError, match="more than 1 MiB"):
        key_files.read(path)
    ca = tmp_path / "large.pem"
    with ca.open("wb") as file:
        file.truncate((16 << 20) + 1)
    with pytest.raises(ConfigurationError, match="more than 16 MiB"):
        safe_configure(ca_certs=ca)


@pytest.mark.parametrize("name", ["\ud800", "x" * 5000, "a\0b"])
def test_a_name_that_no_file_has(name: str) -> None:
    """The error is ours, and can be printed."""
    for use in (key_files.read, key_files.check_ca_certs):
        with pytest.raises((InvalidCredentialsError, ConfigurationError)) as caught:
            use(Path(name))
        str(caught.value).encode()
    assert credentials.identity(Path(name))


def test_a_byte_order_mark(server: GeminiServer, tmp_path: Path) -> None:
    """Editors on Windows put one at the start of a file; it is a key file all the same."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps(server.service_account_info()), encoding="utf-8-sig")
    assert credentials.find(path, TUNED_SCOPES).project == "project"


@pytest.mark.parametrize(
    "field", ["quota_project_id", "client_id", "universe_domain", "token_uri", "account"]
)
@pytest.mark.parametrize(
    "value", [{"file": "hunter2"}, ["hunter2"], "hunter2\x1b[2J", "GOCSPX-hunter2", 7]
)
def test_a_field_that_would_be_shown(field: str, value: object, tmp_path: Path) -> None:
    """Each is a short text, or the file is refused without the value; others are not looked at."""
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**LOGIN, field: value}), encoding="utf-8")
    if field == "account":
        key_files.load(key_files.read(path), "this", TUNED_SCOPES)
        return
    for given in (path, SecretMapping({**LOGIN, field: value})):
        with pytest.raises(InvalidCredentialsError, match=field) as caught:
            credentials.find(given, TUNED_SCOPES)
        assert "hunter2" not in f"{caught.value!r}"


def test_fields_of_the_source_count(tmp_path: Path) -> None:
    """Impersonated credentials hold a key file of their own."""
    inner = {**LOGIN, "quota_project_id": {"file": "hunter2"}}
    path = tmp_path / "key.json"
    path.write_text(
        json.dumps({"type": "impersonated_service_account", "source_credentials": inner}),
        encoding="utf-8",
    )
    with pytest.raises(InvalidCredentialsError, match="quota_project_id"):
        credentials.find(path, TUNED_SCOPES)


def test_a_type_that_holds_a_secret() -> None:
    """The type is quoted in the error, and masked like all that is quoted."""
    with pytest.raises(InvalidCredentialsError) as caught:
        credentials.find(SecretMapping({"type": LOGIN["client_secret"]}), TUNED_SCOPES)
    assert LOGIN["client_secret"] not in repr(caught.value)


def test_no_frame_holds_the_content(
    server: GeminiServer, tmp_path: Path, report: Callable[[BaseException], str]
) -> None:
    """A report with local variables of a key file that is refused shows nothing of it."""
    info = server.service_account_info()
    path = tmp_path / "key.json"
    path.write_text(json.dumps({**info, "token_uri": 7}), encoding="utf-8")
    with pytest.raises(InvalidCredentialsError) as caught:
        credentials.check(path)
    shown = report(caught.value)
    for line in [*info["private_key"].splitlines()[1:-1], info["private_key_id"]]:
        assert line not in shown


class Equal:
    """A token function that says it equals every other."""

    def __init__(self, token: str) -> None:
        self.token = token

    def __call__(self) -> str:
        return self.token

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __hash__(self) -> int:
        return 1


def test_what_compares_equal_shares_no_token() -> None:
    """Whose token is sent is decided by the object, not by what it says it is equal to."""
    one, other = Equal("ya29.one"), Equal("ya29.other")
    sources = [
        _headers.source_for(GenAIConfig(credentials=given), TUNED_SCOPES)
        for given in (one, other, one)
    ]
    assert [source.token() for source in sources] == ["ya29.one", "ya29.other", "ya29.one"]
    assert sources[0] is sources[2]


def test_a_file_that_is_gone_when_it_is_read(
    server: GeminiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the operating system says then is told."""

    def gone(*_: object, **__: object) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    path = server.service_account_file()
    monkeypatch.setattr(Path, "open", gone)
    with pytest.raises(InvalidCredentialsError, match="cannot be read: No such file"):
        key_files.read(path)


def test_what_was_found_shows_no_object() -> None:
    """Credentials of a user's own may show what they hold."""
    found = credentials.Found("ya29.secret", "these", None, None)
    assert repr(found) == "Found(these)"


def test_line_ends_that_were_escaped_twice(server: GeminiServer, tmp_path: Path) -> None:
    """The error says what is wrong and how to mend it, and shows nothing of the key."""
    info = json.loads(Path(server.service_account_file()).read_text(encoding="utf-8"))
    key = info["private_key"]
    info["private_key"] = key.replace("\n", "\\n")
    path = tmp_path / "key.json"
    path.write_text(json.dumps(info), encoding="utf-8")
    with pytest.raises(InvalidCredentialsError) as caught:
        key_files.load(key_files.read(path), f"{path}", TUNED_SCOPES)
    assert str(path) in caught.value.problem
    assert r'.replace("\\n", "\n")' in caught.value.remedy
    assert key.split("\n")[1] not in str(caught.value)
    info["private_key"] = info["private_key"].replace("\\n", "\n")
    assert key_files.load(info, "the mended mapping", TUNED_SCOPES).service_account_email
