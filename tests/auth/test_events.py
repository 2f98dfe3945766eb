"""Events for those who watch tokens: what they hear, when, and that they harm nobody."""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from genai_config import TokenEvent, reset, watch_tokens
from genai_config._auth import credentials, events
from genai_config._auth import headers as _headers
from genai_config._auth.token_source import TokenSource
from genai_config._settings.model import GenAIConfig
from genai_config.exceptions import (
    ConfigurationError,
    CredentialsNotFoundError,
    TokenRefreshError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config._auth.credentials import Found


class Clock:
    """A time that passes when it is told to."""

    now = 2e9

    def __call__(self) -> float:
        return self.now


class Watched:
    """A source whose tokens come from a function, and what those who watch hear of it."""

    def __init__(self) -> None:
        self.clock, self.steady = Clock(), Clock()
        self.answer: Any = None
        self.heard: queue.Queue[TokenEvent] = queue.Queue()
        self.source = TokenSource(self.find, lambda: None, 30, self.clock, self.steady)

    def give(self) -> Any:
        """Takes a second and a half for each token, of an hour, or raises the answer."""
        self.steady.now += 1.5
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, self.clock.now + 3600

    def find(self) -> Found:
        """The credentials."""
        return credentials.find(self.give, ())

    def hear(self) -> TokenEvent:
        """The next event."""
        return self.heard.get(timeout=10)


@pytest.fixture
def watched() -> Iterator[Watched]:
    """A source that is watched."""
    it = Watched()
    stop = watch_tokens(on_refresh=it.heard.put, on_failure=it.heard.put)
    yield it
    stop()
    assert it.heard.empty()


DESCRIPTION = f"{__name__}.Watched.give, given as credentials="


def test_a_new_token(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """Whose it is, how long it took and how long it lives: to those who watch, and to the log."""
    caplog.set_level(logging.DEBUG, "genai_config.tokens")
    watched.answer = "ya29.secret"
    assert watched.source.token() == watched.source.token() == "ya29.secret"
    assert watched.hear() == TokenEvent(DESCRIPTION, 1.5, 3600.0, None, serves_on=False)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("genai_config.tokens", "DEBUG")
    assert record.getMessage() == f"A new access token for 3600 s, in 1.5 s, of {DESCRIPTION}."


def test_a_token_without_a_known_end(caplog: pytest.LogCaptureFixture) -> None:
    """Its lifetime is None."""
    caplog.set_level(logging.DEBUG, "genai_config.tokens")
    heard: queue.Queue[TokenEvent] = queue.Queue()
    stop = watch_tokens(on_refresh=heard.put)
    _headers.source_for(GenAIConfig(credentials=lambda: "ya29.secret"), ()).token()
    assert heard.get(timeout=10).lifetime is None
    assert "A new access token without a known end, in " in caplog.text
    stop()


def test_a_failure(watched: Watched) -> None:
    """Those who watch hear what the caller hears, as an error of their own."""
    watched.answer = ValueError("no")
    with pytest.raises(TokenRefreshError) as caught:
        watched.source.token()
    event = watched.hear()
    assert event == TokenEvent(DESCRIPTION, 1.5, None, event.error, serves_on=False)
    assert isinstance(event.error, TokenRefreshError)
    assert event.error is not caught.value
    assert event.error.args == caught.value.args
    assert event.error.__traceback__ is None


def test_a_failure_in_the_background(watched: Watched) -> None:
    """Nobody else gets this error: the token from before serves on."""
    watched.answer = "ya29.secret"
    watched.source.token()
    assert watched.hear().error is None
    watched.answer = ValueError("no")
    watched.clock.now += 3600 - 170
    assert watched.source.token() == "ya29.secret"
    event = watched.hear()
    assert (event.description, event.seconds, event.lifetime) == (DESCRIPTION, 1.5, None)
    assert isinstance(event.error, TokenRefreshError)
    assert event.serves_on


def test_it_is_told_once(watched: Watched) -> None:
    """A flight that only finds credentials, and lands meanwhile, does not tell it as well."""
    watched.answer = "ya29.secret"
    watched.source.token()
    watched.hear()
    watched.answer = ValueError("no")
    watched.clock.now += 3600 - 170

    def find_meanwhile(_: logging.LogRecord) -> bool:
        return watched.source._join(watched.source._locate).landing.result(10)[1] is None

    log = logging.getLogger("genai_config.tokens")
    log.addFilter(find_meanwhile)
    watched.source.token()
    assert watched.hear().serves_on
    log.removeFilter(find_meanwhile)


def test_a_failure_to_find(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without credentials there is no description."""

    def find(*_: object) -> Found:
        raise CredentialsNotFoundError("Nowhere.")

    monkeypatch.setattr(credentials, "find", find)
    with pytest.raises(CredentialsNotFoundError):
        watched.source.token()
    event = watched.hear()
    assert event.description is None
    assert isinstance(event.error, CredentialsNotFoundError)


def test_what_is_no_news(watched: Watched) -> None:
    """Finding credentials, and coming late for a token that another flight has brought."""
    watched.answer = "ya29.secret"
    watched.source.found()
    watched.source.token()
    watched.hear()
    assert watched.source._join(watched.source._renew).landing.result(10)[0].value == "ya29.secret"


def test_nobody_waits_for_those_who_watch() -> None:
    """A callback that hangs holds up no caller, neither for this token nor for the next."""
    inside, done = threading.Event(), threading.Event()

    def hang(_: TokenEvent) -> None:
        inside.set()
        done.wait(10)

    stop = watch_tokens(on_refresh=hang)
    it = Watched()
    it.answer = "ya29.first"
    assert it.source.token() == "ya29.first"
    assert inside.wait(10)
    it.source.invalidate("ya29.first")
    it.answer = "ya29.second"
    assert it.source.token() == "ya29.second"
    assert not done.is_set()
    done.set()
    stop()


def test_a_callback_that_raises(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged with its name, and the others are called all the same."""

    def fail(event: TokenEvent) -> None:
        raise ZeroDivisionError(event.description)

    stops = [watch_tokens(on_refresh=fail), watch_tokens(on_refresh=watched.heard.put)]
    watched.answer = "ya29.secret"
    watched.source.token()
    assert watched.hear() == watched.hear()
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("genai_config.tokens", "ERROR")
    assert "fail, which watches tokens, failed." in record.getMessage()
    assert "ZeroDivisionError" in caplog.text
    assert "ya29" not in caplog.text
    for stop in stops:
        stop()


def test_each_hears_what_it_asked_for(watched: Watched) -> None:
    """One function without the other is enough."""
    refreshed: list[TokenEvent] = []
    failed: list[TokenEvent] = []
    stops = [watch_tokens(on_failure=failed.append), watch_tokens(on_refresh=refreshed.append)]
    last: queue.Queue[TokenEvent] = queue.Queue()
    stops.append(watch_tokens(on_refresh=last.put, on_failure=last.put))
    for answer in (ValueError("no"), "ya29.secret"):
        watched.answer = answer
        watched.source._join(watched.source._renew).landing.result(10)
        last.get(timeout=10)
        watched.hear()
    assert [event.error is None for event in failed] == [False]
    assert [event.error is None for event in refreshed] == [True]
    for stop in stops:
        stop()


def test_the_end_of_watching() -> None:
    """After it nothing is heard; it may be ended twice."""
    heard: list[TokenEvent] = []
    stop = watch_tokens(on_refresh=heard.append)
    stop()
    stop()
    last: queue.Queue[TokenEvent] = queue.Queue()
    stop_last = watch_tokens(on_refresh=last.put)
    it = Watched()
    it.answer = "ya29.secret"
    it.source.token()
    last.get(timeout=10)
    stop_last()
    assert not heard


async def a_coroutine_function(event: TokenEvent) -> None:
    """What cannot be a callback."""
    del event


@pytest.mark.parametrize("name", ["on_refresh", "on_failure"])
@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (1, "must be a function, not int"),
        (lambda: None, r"cannot be called as .*[(]event[)]"),
        (a_coroutine_function, "a_coroutine_function is a coroutine function"),
    ],
)
async def test_a_callback_that_cannot_be_one(
    name: str, callback: Callable[..., Any], message: str
) -> None:
    """It is refused where it is given."""
    with pytest.raises(ConfigurationError, match=f"{name}.*{message}"):
        watch_tokens(**{name: callback})
    await a_coroutine_function(TokenEvent("", 0))


def test_reset_leaves_those_who_watch(watched: Watched) -> None:
    """They belong to the program, not to the configuration."""
    reset()
    watched.answer = "ya29.secret"
    watched.source.token()
    assert watched.hear().error is None


def test_a_watch_is_a_context_manager() -> None:
    """Leaving it ends the watching; calling it does, too."""
    heard: list[TokenEvent] = []
    event = TokenEvent("x", 1.0, 2.0)
    with watch_tokens(on_refresh=heard.append) as watch:
        events.tell(event)
    events.tell(event)
    watch()
    assert heard == [event]
