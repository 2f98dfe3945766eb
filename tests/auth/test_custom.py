"""Credentials of a user's own making: functions that give tokens, objects that set headers."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import json
import pickle
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.auth import jwt
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request
from google.oauth2.credentials import Credentials as EndUser

from genai_config import GenAIConfig, get_config, override, safe_configure
from genai_config._auth import credentials as _credentials
from genai_config._auth import headers as _headers
from genai_config._auth.custom import FunctionCredentials
from genai_config._auth.flights import Flight
from genai_config._auth.token_source import TokenSource
from genai_config._routing.decision import TUNED_SCOPES
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsTimeoutError,
    SecretPicklingError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing import GeminiServer

TUNED = "tunedModels/mine"
HERE = __name__


def source_for(credentials: Any, **settings: Any) -> TokenSource:
    """The source of tokens of a configuration with these credentials."""
    return _headers.source_for(GenAIConfig(credentials=credentials, **settings), TUNED_SCOPES)


def gives(answer: Any) -> Callable[[], Any]:
    """A function that always gives the same."""

    def give() -> Any:
        return answer

    return give


def utc(timestamp: float) -> dt.datetime:
    """A time, aware."""
    return dt.datetime.fromtimestamp(timestamp, dt.timezone.utc)


class TestFunctions:
    def test_every_new_token_is_a_call(self, server: GeminiServer) -> None:
        """It is called for the first request, and again when the service refuses its token."""
        user, given = server.user_credentials(), []

        def give() -> str:
            # For the tests' own server only; a user's function asks whom it likes.
            user.refresh(Request())
            given.append(user.token)
            return f"{user.token}\n"

        safe_configure(
            credentials=give,
            ca_certs=server.ca_file,
            quota_project="my-project",
            client_options={"api_endpoint": server.grpc_endpoint},
        )
        model = genai.GenerativeModel(TUNED)
        for _ in range(2):
            model.generate_content("hi")
        server.expire_tokens()
        model.generate_content("hi")
        assert len(given) == len(set(given)) == 2
        statuses = [request.status for request in server.requests]
        assert statuses == ["OK", "OK", "UNAUTHENTICATED", "OK"]

    @pytest.mark.parametrize("scope", [override, GenAIConfig])
    def test_wherever_credentials_are_taken(self, scope: Callable[..., Any]) -> None:
        """Scopes and configurations take it, and keep the function itself."""
        give = gives("ya29.given")
        taken = scope(credentials=give)
        if isinstance(taken, GenAIConfig):
            assert taken.credentials is give
        else:
            with taken:
                assert get_config().credentials is give

    @pytest.mark.parametrize(
        "expiry",
        [
            lambda end: end,
            int,
            utc,
            lambda end: utc(end).replace(tzinfo=None),
            lambda end: utc(end).astimezone(dt.timezone(dt.timedelta(hours=9))),
        ],
        ids=["seconds", "whole seconds", "aware", "naive", "elsewhere"],
    )
    def test_a_token_with_an_end(self, expiry: Callable[[float], Any]) -> None:
        """However the end is given, it is the same."""
        found = _credentials.find(gives(("ya29.given", expiry(time.time() + 3600))), TUNED_SCOPES)
        token = TokenSource(lambda: found, lambda: None, 30)._renew(Flight(0))
        assert token.value == "ya29.given"
        assert token.lifetime is not None
        assert 3590 < token.lifetime <= 3600

    @pytest.mark.parametrize("answer", ["ya29.given", ("ya29.given", None)])
    def test_a_token_without_an_end(self, answer: Any) -> None:
        """It is used until the service refuses it."""
        source = source_for(gives(answer))
        assert source._renew(Flight(0)).lifetime is None
        assert source.token() == "ya29.given"

    @pytest.mark.parametrize(
        ("answer", "problem"),
        [
            (None, "it gave NoneType, not a str or (str, expiry)"),
            (b"ya29.given", "it gave bytes"),
            (("ya29.given", 1, 2), "it gave tuple"),
            ((None, 1), "it gave NoneType"),
            ("", "the token it gave is empty"),
            (" \n", "the token it gave is empty"),
            ("Bearer ya29.given", "the token it gave holds white space"),
            ("ya29.givén", "or what is not ASCII"),
            (("ya29.given", "soon"), "the expiry it gave is str"),
            (("ya29.given", True), "the expiry it gave is bool"),
            (("ya29.given", 3599), "time.time()"),
            (("ya29.given", 1.8e12), "in milliseconds?"),
            (("ya29.given", float("nan")), "too far ahead"),
            (("ya29.given", float("inf")), "too far ahead"),
        ],
    )
    def test_an_odd_answer(self, answer: Any, problem: str) -> None:
        """The error names the function and what is odd, and shows nothing of the answer."""
        give = gives(answer)
        with pytest.raises(TokenRefreshError) as caught:
            source_for(give).token()
        error = caught.value
        assert error.problem.startswith(
            f"No access token from {HERE}.gives.<locals>.give, given as credentials=: "
        )
        assert problem in error.problem
        assert error.remedy == "call it by itself to see the error."
        assert "ya29" not in "".join(traceback.format_exception(error))

    def test_a_coroutine_among_the_answers(self) -> None:
        """It is refused like all else, and leaves no warning that nobody has awaited it."""

        async def later() -> str:
            return "ya29.given"

        with pytest.raises(TokenRefreshError, match="it gave coroutine"):
            source_for(lambda *_: later()).token()
        assert asyncio.run(later()) == "ya29.given"

    @pytest.mark.parametrize(
        "error", [ValueError, TimeoutError, CredentialsTimeoutError, SystemExit]
    )
    def test_what_it_raises(self, error: type[BaseException]) -> None:
        """It is the caller's error at once, without what looks secret; the next call tries anew."""
        errors = [error("failed with access_token=hunter2")]

        def give() -> str:
            if errors:
                raise errors.pop()
            return "ya29.given"

        source = source_for(give)
        with pytest.raises(TokenRefreshError) as caught:
            source.token()
        assert type(caught.value) is TokenRefreshError
        assert f"give, given as credentials=: {error.__name__}: failed" in caught.value.problem
        assert "hunter2" not in "".join(traceback.format_exception(caught.value))
        assert source.token() == "ya29.given"

    def test_one_that_takes_too_long(self) -> None:
        """After `auth_timeout` the caller hears which function it is."""
        asked, release = threading.Event(), threading.Event()

        def give() -> str:
            asked.set()
            release.wait(10)
            return "ya29.given"

        source = source_for(give, auth_timeout=0.05)
        with pytest.raises(CredentialsTimeoutError) as caught:
            source.token()
        release.set()
        assert asked.is_set()
        assert caught.value.problem.startswith("No access token came from ")
        assert "give, given as credentials= within auth_timeout=0.05 s" in caught.value.problem
        assert "find out what delays it" in caught.value.remedy

    @pytest.mark.parametrize("give", [safe_configure, override, GenAIConfig().merge])
    def test_a_coroutine_function_is_refused_where_it_is_given(
        self, give: Callable[..., object]
    ) -> None:
        """With everything else of the call, and with the remedy."""

        async def later() -> str:
            return "ya29.given"

        before = get_config()
        with pytest.raises(ConfigurationError, match=r"later is a coroutine function") as caught:
            give(credentials=later, transport="rest")
        assert "it is called off the event loop" in caught.value.remedy
        assert get_config() == before
        assert asyncio.run(later()) == "ya29.given"

    def test_a_class_is_no_function(self) -> None:
        """Neither is that of credentials: what was meant is an object."""
        for value in (EndUser, Given):
            with pytest.raises(ConfigurationError, match="credentials must be google"):
                safe_configure(credentials=value)  # type: ignore[arg-type] # that is the point

    def test_credentials_that_can_be_called_are_credentials(self) -> None:
        """What has before_request() and refresh() is refreshed, not called."""
        both = type("Both", (EndUser,), {"__call__": gives("ya29.called")})("ya29.token")
        assert callable(both)
        assert source_for(both).token() == "ya29.token"

    def test_one_object_is_one_source(self) -> None:
        """Equal functions share their tokens, even those whose object cannot be hashed."""
        vault = Vault("ya29.vault")
        assert source_for(vault) is source_for(vault)
        assert source_for(vault) is not source_for(Vault("ya29.vault"))
        assert source_for(vault).token() == "ya29.vault"
        assert hash(GenAIConfig(credentials=vault)) == hash(GenAIConfig(credentials=vault))

    def test_nothing_of_it_is_shown(self) -> None:
        """A configuration shows its name alone, and is not pickled."""
        function: Any = functools.partial(gives, "ya29.secret")
        config = GenAIConfig(credentials=function)
        for text in (repr(config), json.dumps(config.redacted())):
            assert f"<{HERE}.gives>" in text
            assert "ya29" not in text
        with pytest.raises(SecretPicklingError, match="holds a function that gives tokens"):
            pickle.dumps(config)


@dataclasses.dataclass
class Vault:
    """A function with a memory; Python makes no hash for it."""

    token: str

    def __call__(self) -> str:
        return self.token


class Given(Credentials):
    """Credentials that set a header, and have no refresh()."""

    def __init__(self, *values: str, header: str = "authorization") -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth's own
        self.values = iter(values)
        self.header = header
        self.asked: list[tuple[str, str]] = []

    def refresh(self, request: Any) -> None:
        """As google-auth's base class."""
        raise NotImplementedError(request)  # google-auth's own answer where nothing is fetched

    def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
        """Sets the header."""
        del request
        self.asked.append((method, url))
        headers[self.header] = next(self.values)


class Renewing(Given):
    """Credentials that set a header, and have to be renewed for another."""

    def refresh(self, request: Any) -> None:
        """Brings a token that is not sent."""
        del request
        self.token = "ya29.fetched"


class TestHeaders:
    @pytest.mark.parametrize("header", ["authorization", "Authorization"])
    def test_the_token_is_taken_out_of_the_header(self, header: str) -> None:
        """Credentials that only set headers work; another is asked for when one was refused."""
        given = Given("Bearer ya29.one", "bearer ya29.two", header=header)
        source = source_for(given, client_options={"api_endpoint": "example.com:8443"})
        assert source.token() == source.token() == "ya29.one"
        source.invalidate("ya29.one")
        assert source.token() == "ya29.two"
        assert given.asked == [("POST", "https://example.com:8443/")] * 2
        assert source.found().description.startswith(f"{HERE}.Given from ")

    def test_the_header_goes_before_the_token(self) -> None:
        """Who sets a header of his own means it."""
        given = Renewing("Bearer ya29.sent")
        assert source_for(given).token() == "ya29.sent"

    def test_another_header_is_none(self) -> None:
        """Then the token counts, if refresh() has brought one."""
        assert source_for(Renewing("x", header="x-other")).token() == "ya29.fetched"
        assert source_for(Renewing("Basic x")).token() == "ya29.fetched"
        with pytest.raises(TokenRefreshError, match="no token in the answer"):
            source_for(Given("Basic x")).token()

    def test_a_token_that_came_with_them(self) -> None:
        """It is used first, as with all credentials."""
        given = Given("Bearer ya29.next")
        given.token = "ya29.first"
        source = source_for(given)
        assert source.token() == "ya29.first"
        source.invalidate("ya29.first")
        assert source.token() == "ya29.next"

    def test_what_they_raise(self) -> None:
        """It is told as the failure of any refresh."""
        with pytest.raises(TokenRefreshError, match="StopIteration"):
            source_for(Given()).token()

    def test_a_key_that_signs_for_each_address(self, server: GeminiServer) -> None:
        """google.auth.jwt.OnDemandCredentials are of this kind: they can only set headers."""
        key = jwt.OnDemandCredentials.from_service_account_info(server.service_account_info("me"))
        safe_configure(
            credentials=key,
            ca_certs=server.ca_file,
            client_options={
                "api_endpoint": server.grpc_endpoint,
                "api_audience": "https://generativelanguage.googleapis.com/",
            },
        )
        genai.GenerativeModel(TUNED).generate_content("hi")
        (request,) = server.requests
        assert request.identity == "me@project.iam.gserviceaccount.com"


def test_function_credentials_are_google_auths() -> None:
    """So all that takes credentials takes them."""
    assert isinstance(_credentials.find(gives("x"), TUNED_SCOPES).credentials, FunctionCredentials)
