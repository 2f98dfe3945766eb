"""The demo's story and its stage: what is told is what happens, and nothing is left behind."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import google.generativeai as genai
import pytest
from google.generativeai import client as client_lib

import genai_config
from genai_config._cli import demo
from genai_config._cli.demo import BASE, KEY, STORY, TUNED, Scene, Seen, Step
from genai_config._settings import environment

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS, BARE = Scene("ours", ()), Scene("bare", (), bare=True)
CALL = 'genai.GenerativeModel("gemini-3.6-flash").generate_content("hi")'
BY_KEY = Seen(BASE, "api_key", KEY)
BY_OAUTH = Seen(BASE, "oauth", demo.ACCOUNT)
STEPS = [step for scene in STORY for step in scene.steps]


@pytest.fixture
def stage() -> Iterator[demo.Stage]:
    """A stage with the curtain up."""
    with demo.stage() as running:
        yield running


def play(stage: demo.Stage, code: str, *expected: Seen, error: str = "") -> demo.Result:
    """Plays a step made for a test."""
    return stage.play(Step("a step", code, expected, error))


def test_every_step_behaves_as_expected(stage: demo.Stage) -> None:
    """The server sees of every step what the step says."""
    for scene in STORY:
        stage.enter(scene)
        for step in scene.steps:
            result = stage.play(step)
            assert (result.seen, result.error) == (step.expected, step.error), step.title
            assert result.as_expected
            assert result.connections


def test_what_the_story_tells() -> None:
    """Both services, credentials and transports occur, and two refusals of the bare SDK."""
    calls = [call for step in STEPS for call in step.expected]
    vertex = {demo.ENDPOINT, f"publishers/google/models/{BASE}"}
    assert {call.model for call in calls} == {BASE, TUNED, *vertex}
    assert {call.auth for call in calls} == {"api_key", "oauth"}
    assert {call.transport for call in calls} == {"grpc", "rest"}
    assert [scene.bare for scene in STORY] == [True, *[False] * 5]
    assert [step.error for step in STEPS if step.error] == ["NotFound", "BadRequest"]
    assert len(STEPS) == 11


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_steps_are_short_and_plain(step: Step) -> None:
    """A step is a few lines that fit on a small terminal of any encoding."""
    lines = step.code.splitlines()
    assert len(lines) <= 5
    assert max(map(len, [step.title, *lines])) <= 75
    assert (step.title + step.code).isascii()


def test_a_step_that_raises(stage: demo.Stage) -> None:
    """An exception is part of the result, unless it is the one that is told."""
    stage.enter(OURS)
    result = play(stage, "1 / 0")
    assert (result.error, result.message, result.as_expected) == (
        "ZeroDivisionError",
        "division by zero",
        False,
    )
    assert play(stage, "1 / 0", error="ZeroDivisionError").as_expected
    assert play(stage, "no python").error == "SyntaxError"
    assert not play(stage, "pass", error="ZeroDivisionError").as_expected


def test_other_calls_than_told(stage: demo.Stage) -> None:
    """A call by other credentials, one too few and one too many are unexpected."""
    stage.enter(OURS)
    code = f"safe_configure(api_key=KEY)\n{CALL}"
    assert play(stage, code, BY_KEY).as_expected
    for expected in ([], [BY_OAUTH], [BY_KEY, BY_KEY]):
        assert not play(stage, code, *expected).as_expected


def test_messages_hide_secrets(stage: demo.Stage) -> None:
    """A key in the message of an exception is not shown."""
    result = play(stage, "raise ValueError(f'the key {KEY} is no good')")
    assert result.message.startswith("the key **")
    assert "AIza" not in repr(result)


def test_nothing_is_adopted_from_a_bare_scene(stage: demo.Stage) -> None:
    """The key of the bare SDK is unknown to the scenes after it, and the other way round."""
    stage.enter(BARE)
    assert play(stage, f"genai.configure(api_key=KEY)\n{CALL}", BY_KEY).as_expected
    stage.enter(OURS)
    assert play(stage, CALL, BY_OAUTH).as_expected
    play(stage, "safe_configure(api_key=KEY)")
    stage.enter(BARE)
    assert play(stage, f"genai.configure()\n{CALL}", BY_OAUTH).as_expected


def test_scenes_go_on_with_the_configuration(stage: demo.Stage) -> None:
    """A scene has the configuration and the names of the one before it."""
    stage.enter(OURS)
    play(stage, "safe_configure(api_key=KEY)\nnumber = 1")
    stage.enter(OURS)
    assert play(stage, f"assert number\n{CALL}", BY_KEY).as_expected


def test_the_bare_sdk_gives_up_in_time(stage: demo.Stage) -> None:
    """A bare call to a server that is ill fails, and is not tried again for ten minutes."""
    stage.enter(BARE)
    stage._server.fail(count=2)
    result = play(stage, f"genai.configure(api_key=KEY)\n{CALL}")
    assert result.error == "ServiceUnavailable"
    assert [call.status for call in result.seen] == ["UNAVAILABLE"]


HOSTILE = {
    "GEMINI_API_KEY": "junk-1",
    "GOOGLE_API_KEY": "junk-2",
    "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere.json",
    "GOOGLE_CLOUD_QUOTA_PROJECT": "somebody-elses",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
    "grpc_proxy": "http://127.0.0.1:9",
    "NO_PROXY": "example.com",
    "GRPC_VERBOSITY": "NONE",
}


def test_the_environment_is_out_of_the_way_and_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside, no credentials or proxies of the machine are seen; afterwards all is as before."""
    for name, value in HOSTILE.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with pytest.raises(KeyError, match="raised inside"), demo.stage():  # noqa: PT012 -- looks around first
        kept = {name for name, value in HOSTILE.items() if os.environ.get(name) == value}
        settings = [v.name for v in environment.VARIABLES if v.setting and v.name in os.environ]
        credentials = os.environ["GOOGLE_APPLICATION_CREDENTIALS"]
        assert os.path.isfile(credentials)  # noqa: PTH113 -- a name
        raise KeyError("raised inside")
    # What somebody asks gRPC to log is their affair.
    assert kept == {"GRPC_VERBOSITY"}
    assert settings == []
    assert dict(os.environ) == before
    assert not os.path.exists(credentials)  # noqa: PTH110 -- a name


def test_grpc_keeps_quiet_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a wish, gRPC logs errors alone; the variable is gone afterwards."""
    monkeypatch.delenv("GRPC_VERBOSITY", raising=False)
    with demo.stage():
        assert os.environ["GRPC_VERBOSITY"] == "ERROR"
    assert "GRPC_VERBOSITY" not in os.environ


@pytest.mark.parametrize("scene", [BARE, OURS], ids=lambda scene: scene.title)
def test_the_sdk_is_put_back(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's manager is the one from before, untouched; so is the configuration."""
    bare: Any = client_lib._ClientManager()
    monkeypatch.setattr(client_lib, "_client_manager", bare)
    genai.configure(api_key="my-own")
    before = genai_config.safe_configure(transport="grpc")
    manager = client_lib._client_manager
    threads = set(threading.enumerate())
    with demo.stage() as stage:
        stage.enter(scene)
        play(stage, CALL)
    assert client_lib._client_manager is manager
    assert bare.client_config["client_options"].api_key == "my-own"
    assert genai_config.get_config() == before
    for thread in set(threading.enumerate()) - threads:  # pragma: no cover -- a race: grpc's own
        thread.join(5)
    assert set(threading.enumerate()) <= threads
