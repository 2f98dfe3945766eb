"""What all tests share: no configuration, variable or credential of the machine is seen."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

import genai_config
from genai_config._settings import environment
from genai_config.testing import GeminiServer
from genai_config.testing._wire.certificates import certificate

# The bare SDK takes gRPC's own roots, which gRPC reads once per process: the servers' CA is put
# there before anything is sent. This library needs none of it, it has `ca_certs`.
with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as _roots:
    _roots.write(certificate().ca)
atexit.register(os.unlink, _roots.name)
os.environ["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = _roots.name

# The workers of pytest-xdist are measured, the programs that tests start in them are not.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# Started in the background of a shell, a process ignores SIGINT, and so do those it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

HEAVY = bool(os.environ.get("GENAI_CONFIG_HEAVY"))

# A busy machine is no counterexample. What a change is judged by takes the same examples each time;
# `nox -s heavy` looks for new ones.
settings.register_profile("patient", deadline=None, derandomize=not HEAVY)
settings.load_profile("patient")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from genai_config import GenAIConfig


TESTS = Path(__file__).parent

pytest_plugins = ["pytester"]


def pytest_collection_finish() -> None:
    """What is loaded by now stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a third of the tests' time is spent waiting."""
    cores = os.cpu_count() or 1
    return cores + cores // 2


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable and no ADC file of the machine, and nothing left for the next test."""
    for variable in environment.VARIABLES:
        if variable.name != "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH":
            monkeypatch.delenv(variable.name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", os.fspath(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    genai_config.reset()
    yield
    genai_config.reset()
    genai_config.uninstall()


@pytest.fixture(scope="session")
def patience() -> int:
    """By how much `nox -s heavy` multiplies what a test does over and over."""
    return 10 if HEAVY else 1


def _report(error: BaseException) -> str:
    """What an error tracker shows of an error: texts and notes, and the variables of each frame.

    It goes along all causes and contexts, suppressed ones too. The frames of the tests themselves
    are left out: they may hold what they like.
    """
    shown: list[str] = []
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        seen.add(id(one))
        shown += [str(one), repr(one), repr(vars(one)), *traceback.format_exception_only(one)]
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if Path(frame.f_code.co_filename).parent.parent != TESTS:
                shown.append(f"{frame.f_code.co_name}:")
                shown += [f"  {name} = {value!r}" for name, value in frame.f_locals.items()]
        others = (one.__cause__, one.__context__)
        waiting += [other for other in others if other is not None and id(other) not in seen]
    return "\n".join(shown)


@pytest.fixture
def report() -> Callable[[BaseException], str]:
    """What an error tracker with local variables shows of an error."""
    return _report


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    """A local Gemini server of this test's own."""
    with GeminiServer() as running:
        yield running


@pytest.fixture
def adc(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Application Default Credentials: a service account that the server knows."""
    path = Path(server.service_account_file())
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", os.fspath(path))
    return path


@pytest.fixture
def configured(server: GeminiServer) -> GenAIConfig:
    """A configuration with a key of the server, over gRPC."""
    return genai_config.safe_configure(
        api_key=server.api_key(),
        ca_certs=server.ca_file,
        client_options={"api_endpoint": server.grpc_endpoint},
    )
