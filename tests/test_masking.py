"""Secrets in texts are masked: by shape, by value, and in the exceptions of others."""

from __future__ import annotations

import base64
import gc
import json
import time
from typing import Any
from urllib.parse import quote

import pytest

from genai_config import _masking, override
from genai_config._auth.credentials import Found
from genai_config._auth.token_source import TokenSource
from genai_config._masking import (
    MASK,
    copied,
    described,
    is_plausible_path,
    looks_secret,
    mask_exception,
    scrub,
    shown_url,
    without_secrets,
)
from genai_config._migrate.masked_code import masked_code
from genai_config._settings.secrets import Secret, SecretBytes, SecretMapping, SecretText
from genai_config.exceptions import GenAIConfigError, GenAIConfigWarning, TokenRefreshError

KEY = "AIzaSyMadeUpAndLongEnough0123456789"
BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEA"
PEM = f"-----BEGIN PRIVATE KEY-----\n{BODY}\nabcd+/==\n-----END PRIVATE KEY-----\n"
KEY_FILE = json.dumps(
    {"type": "service_account", "private_key_id": "1f2e3d4c5b", "private_key": PEM}
)


def encoded(text: str) -> str:
    """In base64."""
    return base64.b64encode(text.encode()).decode()


SHAPES = {
    "standard key": (KEY, KEY),
    "auth key": ("AQ.Ab8RN6Ld-made_up", "Ab8RN6Ld-made_up"),
    "suspended": ("Consumer 'api_key:AQ.Ab8RN6Ld' has been suspended", "Ab8RN6Ld"),
    "ephemeral token": ("auth_tokens/made-up-1234", "made-up-1234"),
    "access token": ("ya29.a0Made-Up_token.rest", "a0Made-Up_token"),
    "refresh token": ("1//0made-up-refresh", "0made-up-refresh"),
    "refresh token in a path": ("1/0made-up-refresh/x.json", "0made-up-refresh"),
    "client secret": ("GOCSPX-made_up", "made_up"),
    "another vendor's key": ("sk-proj-made-up-1234567890", "made-up-1234567890"),
    "OpenAI's key of old": ("sk-" + "Ab" * 24, "AbAb"),
    "Anthropic's key": ("sk-ant-api03-made-up-made-up-ma", "made-up"),
    "key in hexadecimal": ("sk-or-v1-" + "0123456789abcdef" * 4, "0123456789ab"),
    "key with a UUID": ("sk-lf-3f2504e0-4f89-41d3-9a0c-0305e82c3301", "0305e82c3301"),
    "AWS key": ("AKIAABCDEFGHIJKLMNOP", "ABCDEFGHIJKLMNOP"),
    "JWT": ("eyJhbGciOi.eyJpc3MiOi.c2ln", "eyJpc3MiOi"),
    "PEM": (PEM, BODY),
    "PEM, escaped": (json.dumps(PEM), BODY),
    "PEM, escaped twice": (json.dumps(json.dumps(PEM)), BODY),
    "PEM in a URL": (quote(PEM), BODY),
    "PEM without its end": (f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{BODY}', BODY),
    "PEM without its header": (BODY, BODY[20:]),
    "key file": (KEY_FILE, BODY),
    "key file, id": (KEY_FILE, "1f2e3d4c5b"),
    "key file, dumped twice": (json.dumps(KEY_FILE), "1f2e3d4c5b"),
    "key file in base64": (encoded(KEY_FILE), encoded(KEY_FILE)[60:90]),
    "key file in base64 twice": (encoded(encoded(KEY_FILE)), encoded(encoded(KEY_FILE))[60:90]),
    "bearer": ("Authorization: Bearer made-up-bearer", "made-up-bearer"),
    "basic": ("Proxy-Authorization: Basic bWU6aHVudGVyMg==", "bWU6aHVudGVyMg"),
    "key in a URL": ("GET https://host/v1?key=made-up-key&alt=json", "made-up-key"),
    "signature in a URL": ("https://host/token?sv=1&sig=made%2Fup&x=1", "made%2Fup"),
    "password in a URL": ("http://me:hunter2@host:3128/", "hunter2"),
    "password in a path made of a URL": ("http:/me:hunter2@host/x", "hunter2"),
    "JSON": ('{"refresh_token": "made-up-refresh", "a": 1}', "made-up-refresh"),
    "JSON, quoted quotation marks": ('{"client_secret": "made\\"up"}', "up"),
    "form": ("client_secret=made-up-secret", "made-up-secret"),
    "dict": ("{'private_key': 'made-up-private'}", "made-up-private"),
    "assertion": ("assertion=made-up.assertion", "made-up.assertion"),
    "password": ("password: made-up-password", "made-up-password"),
    "one long word": ("A1" * 50, "A1A1"),
}


@pytest.mark.parametrize("case", SHAPES)
def test_by_shape(case: str) -> None:
    """What looks secret is masked wherever it stands, and masking twice changes nothing."""
    text, secret = SHAPES[case]
    for context in (text, f"before {text} after", f"[{text}]", f"x={text}"):
        masked = without_secrets(context)
        assert secret not in masked
        assert MASK in masked
        assert without_secrets(masked) == masked
        assert secret not in scrub(context)


@pytest.mark.parametrize(
    "text",
    [
        'give api_key="…", or export GEMINI_API_KEY=… (and not auth="oauth")',
        "give it once, as api_key= or in client_options.",
        "Read the FAQ.md, section AQ. See https://ai.google.dev/gemini-api/docs/oauth",
        "gcloud auth application-default login --scopes='https://www.googleapis.com/auth/cloud'",
        "projects/my-project/locations/us-central1/publishers/google/models/gemini-3.6-flash",
        "/home/somebody/.config/gcloud/application_default_credentials.json (does not exist)",
        "robot@project.iam.gserviceaccount.com:generateAccessToken",
        "Invalid JWT Signature. Corrupted thought signature: start the conversation anew",
        "-" * 100 + "=" * 100,
        "pass credentials= to it; a bearer token; the secret manager",
        "the project sk-telecom-gemini-prod1, the file /secrets/sk-production-service.json",
    ],
)
def test_what_is_left(text: str) -> None:
    """Remedies, addresses, paths and names are to be read."""
    assert without_secrets(text) == text
    assert not looks_secret(text)


class TestByValue:
    """No shape gives these away: they are known because somebody holds them."""

    def test_while_a_secret_is_held(self) -> None:
        """In each form a text may quote it; and no longer than it is held."""
        secret = Secret('hunter"2/with spaces')
        for form in (
            'hunter"2/with spaces', "hunter%222%2Fwith%20spaces", 'hunter\\"2/with spaces'
        ):  # fmt: skip
            assert without_secrets(f"<{form}>") == f"<{MASK}>"
        del secret
        gc.collect()
        assert without_secrets('<hunter"2/with spaces>') == '<hunter"2/with spaces>'

    def test_equal_ones(self) -> None:
        """Who lets go of one of two equal secrets does not uncover the other."""
        one, other = Secret("hunter2-and-more"), Secret("hunter2-and-more")
        del one
        gc.collect()
        assert MASK in without_secrets("hunter2-and-more")
        del other

    def test_longest_first(self) -> None:
        """A secret that begins like another is masked whole."""
        both = Secret("hunter2"), Secret("hunter2-and-more")
        assert without_secrets("<hunter2-and-more>") == f"<{MASK}>"
        del both

    def test_short_ones(self) -> None:
        """Three letters may be part of any word."""
        secret = Secret("key")
        assert without_secrets("monkey") == "monkey"
        del secret

    def test_what_is_in_force(self) -> None:
        """A key in a scope, a proxy's password, a key file's fields."""
        with override(
            api_key="hunter2-of-a-tenant",
            proxy="http://me:pass%2Fword@host:1",
            default_metadata=[("x-api-token", "hunter2-in-a-header")],
        ):
            shown = without_secrets("hunter2-of-a-tenant pass%2Fword pass/word")
        assert "hunter2" not in shown
        assert "word" not in shown
        file = SecretMapping({"type": "x", "private_key": "hunter2-key", "client_id": "visible"})
        assert without_secrets("hunter2-key visible") == f"{MASK} visible"
        del file

    @pytest.mark.parametrize(
        "variable", ["GEMINI_API_KEY", "GOOGLE_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"]
    )
    def test_in_the_environment(self, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Variables whose names tell; those that hold paths are none."""
        monkeypatch.setenv(variable, "hunter2-of-the-machine")
        monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2-of-the-proxy@host:1")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/etc/visible.json")
        shown = without_secrets("hunter2-of-the-machine hunter2-of-the-proxy /etc/visible.json")
        assert "hunter2" not in shown
        assert "/etc/visible.json" in shown

    def test_a_token_that_was_fetched(self) -> None:
        """The token of a source, and what its credentials hold, while the source lives."""

        class Held:
            token, refresh_token, client_secret, expiry = (
                "hunter2-token",
                "hunter2-refresh",
                7,
                None,
            )

            def refresh(self, _: object) -> None:
                """Is not called: the token has no end."""

        found = Found(Held(), "these", None, None)
        source = TokenSource(lambda: found, lambda: None, 30)
        assert without_secrets("hunter2-token") == "hunter2-token"
        assert source.token() == "hunter2-token"
        assert "hunter2" not in without_secrets("hunter2-token hunter2-refresh")

    def test_an_owner_that_fails(self) -> None:
        """A text is masked whatever an object of somebody's does when it is asked."""

        class Broken:
            def secret_values(self) -> list[str]:
                raise RuntimeError("no")

        broken, secret = Broken(), Secret("hunter2-and-more")
        _masking.register(broken)
        assert without_secrets("hunter2-and-more") == MASK
        del broken, secret


def test_control_characters_are_not_printed() -> None:
    """Terminal escapes, bidirectional marks and surrogates of somebody else's message."""
    shown = without_secrets("a\x1b[2Jb\u202ec\ud800d\ne\tf")
    assert shown == "a\ufffd[2Jb\ufffdc\ufffdd\ne\tf"
    shown.encode()


def test_one_line_of_bounded_length() -> None:
    """A whole HTML page makes one line of a log, in no time."""
    assert scrub("invalid_grant:\n  Bad   Request") == "invalid_grant: Bad Request"
    assert scrub("word " * 60) == ("word " * 60).strip()
    assert len(scrub("word " * 100)) == 300
    begun = time.monotonic()
    for text in ("x" * 10_000_000, 'key="' * 2_000_000, "-----BEGIN " * 1_000_000, "A1" * 9_000):
        assert len(scrub(text)) <= 300
    assert time.monotonic() - begun < 10


# What stands before a unit that is repeated, and the unit.
HOSTILE = (
    (":/", ":"), ("://", "a:"), ("://", "x@"), ("", ":/"), ("", '\\"key='), ("", "secret: '"),
    ("-----BEGIN ", "-----END"), ("sk-", "a1-"), ("eyJ", "a."), ("MII", "\\"), ("", "A1="),
    ("?", "?a="), ("ya29.", "1//"),
)  # fmt: skip


@pytest.mark.parametrize(("before", "unit"), HOSTILE)
def test_the_time_grows_no_faster_than_the_text(before: str, unit: str) -> None:
    """Whatever a service says: eight times the text takes far less than 64 times as long."""

    def seconds(length: int) -> float:
        text = before + unit * (length // len(unit))
        begun = time.thread_time()
        without_secrets(text)
        looks_secret(text)
        return time.thread_time() - begun

    seconds(10)
    short = min(seconds(10_000) for _ in range(3))
    assert min(seconds(80_000) for _ in range(3)) < 30 * max(short, 0.002)


def test_a_secret_that_is_cut_in_two() -> None:
    """At the bound of what is read, no half of a secret is left."""
    secret = Secret("hunter2-and-more-of-it")
    for length in range(19_980, 20_001):
        assert "hunter" not in scrub("ya29." + "a" * (length - 6) + " hunter2-and-more-of-it")
    del secret


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:hunter2@host:1/token?sig=hunter2#hunter2", "https://host:1/token"),
        ("https://[broken/token", MASK),
        ("https://host/\x1b[2J", "https://host/\ufffd[2J"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    """Neither user, query nor fragment is shown."""
    assert shown_url(url) == shown


def test_queries_of_others() -> None:
    """What a library says of an address is shown without its query, which may be a signature."""
    said = "Max retries exceeded with url: /token?sv=1&code=hunter2 (Caused by X('https://h/?a=b'))"
    assert scrub(said) == (
        f"Max retries exceeded with url: /token?{MASK} (Caused by X('https://h/?{MASK}'))"
    )


class TestErrors:
    def test_one_that_cannot_be_printed(self) -> None:
        """Its type is told."""

        class OddError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        assert described(OddError()) == "OddError"
        assert described(ValueError(f"no {KEY}")) == f"ValueError: no {MASK}"

    def test_ours_mask_themselves(self) -> None:
        """Whoever writes an error or a warning need not think of it."""
        error = GenAIConfigError(f"problem {KEY}", f"remedy {KEY}")
        for shown in (str(error), repr(error), error.problem, error.remedy):
            assert KEY not in shown
        assert KEY not in repr(GenAIConfigWarning(f"warning {KEY}"))

    def test_those_of_others(self) -> None:
        """Arguments, attributes and notes, of causes and contexts, once each."""

        class TheirError(Exception):
            def __init__(self, message: str) -> None:
                super().__init__(message, 7)
                self.message, self.code = message, 7

        cause, error = TheirError(f"cause {KEY}"), TheirError(f"error {KEY}")
        cause.__context__, error.__cause__ = error, cause
        error.__notes__ = [f"note {KEY}"]
        mask_exception(error)
        for one in (error, cause):
            assert KEY not in f"{one} {one!r} {vars(one)}"
            assert (one.code, one.args[1]) == (7, 7)
        assert error.__notes__ == [f"note {MASK}"]
        untouched: Any = KeyError(5)
        mask_exception(untouched)
        assert untouched.args == (5,)

    def test_a_copy(self) -> None:
        """It is equal in all but frames, causes and notes."""
        with pytest.raises(TokenRefreshError) as caught:
            raise TokenRefreshError("problem", "remedy") from ValueError("cause")
        caught.value.__notes__ = ["note"]
        copy = copied(caught.value)
        assert (copy.problem, copy.remedy, copy.args) == ("problem", "remedy", caught.value.args)
        assert [copy.__traceback__, copy.__cause__, copy.__context__] == [None] * 3
        assert not hasattr(copy, "__notes__")


def test_headers_show_nothing_in_a_repr() -> None:
    """To whoever sends them they are what they are."""
    text, binary = SecretText("hunter2"), SecretBytes(b"hunter2")
    assert (text, binary, f"{text}", text.encode()) == (
        "hunter2",
        b"hunter2",
        "hunter2",
        b"hunter2",
    )
    assert "hunter2" not in f"{[text, binary]}{binary}{(text,)!r}"
    assert text.secret_values() == ("hunter2",)


@pytest.mark.parametrize(
    "path",
    [
        "/srv/MyKeyAgent/credentials.json",
        "/home/me/MonkeyJar/credentials.json",
        "/srv/firewood-project/key-2.json",
        "/srv/gemini-server-9zz6lewo/external-262.json",
        "C:\\Users\\me\\HoneyApp\\application_default_credentials.json",
        "1/keys.json",
    ],
)
def test_paths_are_no_secrets(path: str) -> None:
    """What a secret begins with may stand in the middle of a word."""
    assert is_plausible_path(path)
    assert without_secrets(path) == path


def test_a_long_name_of_a_file_is_no_secret() -> None:
    """One long word is, where it stands for a path alone."""
    word = "Secret-1-of-" + "a" * 80
    assert is_plausible_path(f"/run/{word}/key.json")
    assert is_plausible_path(f"{word}.json")
    assert not is_plausible_path(word)
    assert looks_secret(word)


CODE = {
    'configure(api_key="AIzaSyA1234567890")': 'configure(api_key="*")',
    "key: str | None = 'my secret'  # mine": "key: str | None = '*'  # mine",
    r'f(api_key="my \"own\" secret", b="b")': 'f(api_key="*", b="b")',
    'api_key, model = "a", "b"; c = "d"': 'api_key, model = "*", "*"; c = "d"',
    'os.environ["API_KEY"] = "secret"': 'os.environ["API_KEY"] = "*"',
    '{"token": "secret", "a": "b"}': '{"token": "*", "a": "b"}',
    'password = """my\nsecret"""': 'password = """*\n*"""',
    'x = f(api_key="my secre': 'x = f(api_key="*',
    'headers("Bearer abc12345678")': 'headers("Bearer *")',
    "-----BEGIN PRIVATE KEY-----\nabc\x0c\r\n-----END PRIVATE KEY-----.":
        "*\n*\x0c\r\n*.",
    "is_pem = '-----BEGIN' in text": "is_pem = '*' in text",
    'proxy = "http://me:word@host"': 'proxy = "http://*@host"',
    "value of the variable": "*",
    'api_key = "AI" + "za"\nb = "c"': 'api_key = "*" + "*"\nb = "c"',
    'api_key = (\r\n  "AI"\r\n  "za"\r\n)': 'api_key = (\r\n  "*"\r\n  "*"\r\n)',
    'api_key = "a"\rb = "c"\r': 'api_key = "*"\rb = "c"\r',
    'f(api_key="".join(["AI", "za"]), b="c")': 'f(api_key="".join(["*", "*"]), b="c")',
    'f(api_key=str("a"), b="c")': 'f(api_key=str("*"), b="c")',
    'f(api_key=os.getenv(X) or "a", b="c")': 'f(api_key=os.getenv(X) or "*", b="c")',
    'f(os.getenv("API_KEY") or "a", "c")': 'f(os.getenv("API_KEY") or "*", "c")',
    'f(key or "a")': 'f(key or "*")',
    'f(api_key="a" if b else "c")': 'f(api_key="*" if b else "*")',
    'f((api_key := "a"), "c")': 'f((api_key := "*"), "c")',
    'f(api_key=lambda x, y: "a", b="c")': 'f(api_key=lambda x, y: "*", b="c")',
    'os.environ.get("API_KEY", "a")': 'os.environ.get("API_KEY", "*")',
    'f(api_key=os.getenv("API_KEY", "a"))': 'f(api_key=os.getenv("API_KEY", "*"))',
    'd.setdefault("API_KEY", "a")': 'd.setdefault("API_KEY", "*")',
    '[("x-goog-api-key", "a"), ("cookie", b"c"), ("b", "c")]':
        '[("x-goog-api-key", "*"), ("cookie", b"*"), ("b", "c")]',
    'x = "api_key", "a"': 'x = "api_key", "*"',
    '{"private_key_id": "a", "type": "b"}': '{"private_key_id": "*", "type": "b"}',
    'KEYS = {"a": "b"}': 'KEYS = {"*": "*"}',
    'API_KEY_2 += "a"': 'API_KEY_2 += "*"',
    'self.keys["a"].append("b")': 'self.keys["a"].append("*")',
    'os.environ["API_KEY"].x("b")': 'os.environ["API_KEY"].x("*")',
    'for key in ["a"]: print("b")': 'for key in ["*"]: print("b")',
    'api_key = f"a{b}c", 1': 'api_key = f"*", 1',
    'print(f"{f(api_key=1)} b", "c")': 'print(f"{f(api_key=1)} b", "c")',
    "# api_key = 'abcd'": "# api_key = '*'",
    ")] api_key = 'abcd'": ")] api_key = '*'",
    "def f(api_key='a'):\n    g('b')\n  h(key='abcd')":
        "def f(api_key='*'):\n    g('b')\n  h(key='*')",
}  # fmt: skip
READABLE = (
    'configure(api_key=os.environ["GEMINI_API_KEY"])', "sorted(rows, key=len)", 'f(key="", b="d")',
    "# a basic function of a bearer credential", 'keyword="abcdef"', 'key == "abcdef"',
    'key = ""\nother = "abcdef"', 'a = """b"""', "if key: a = 'b'", "f(key, 'a')", "1 in 'a'",
)  # fmt: skip


@pytest.mark.parametrize("code", [*CODE, *READABLE])
def test_code_is_shown_without_its_secrets(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Literals are masked, by shape, value and name; names are not, and no line is lost."""
    monkeypatch.setenv("SOME_TOKEN", "value of the variable")
    shown = masked_code(code)
    assert shown == CODE.get(code, code).replace("*", MASK)
    assert len(shown.splitlines()) == len(code.splitlines())
