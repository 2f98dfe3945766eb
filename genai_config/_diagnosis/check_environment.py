"""What can be wrong with the packages, the settings and the variables; no network calls."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from typing import TYPE_CHECKING

from genai_config._auth import headers as _headers
from genai_config._diagnosis import models
from genai_config._diagnosis.checks import Case, Check, Finding, Skipped
from genai_config._settings import environment, googles_endpoint, keys, validation
from genai_config._settings.patch import environment_value
from genai_config.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_KEYS = tuple(v.name for v in environment.VARIABLES if v.setting == "api_key")
_DISTRIBUTION = "genai-config"


def _versions(_case: Case) -> Iterator[Finding | str]:
    """Each package that this one needs, directly or not, against the ranges that are declared."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    looked_at = {_DISTRIBUTION}
    waiting = [_DISTRIBUTION]
    while waiting:
        name = waiting.pop()
        extras = ("", "openai", "testing", "cli") if name == _DISTRIBUTION else ("",)
        for line in _requirements(name):
            wanted = Requirement(line)
            needed = not wanted.marker or wanted.marker.evaluate({"extra": ""})
            if not needed and not any(wanted.marker.evaluate({"extra": e}) for e in extras):  # type: ignore[union-attr] # what is not needed has a marker
                continue
            found = _version(wanted.name)
            if found is None:
                if needed:
                    yield Finding(
                        f"{name} needs {wanted.name}{wanted.specifier}, which is not installed.",
                        "install it.",
                        f"pip install '{wanted.name}{wanted.specifier}'",
                    )
                continue
            if not wanted.specifier.contains(found, prereleases=True):
                yield Finding(
                    f"{name} needs {wanted.name}{wanted.specifier}, and {found} is installed.",
                    "install a version of that range.",
                    f"pip install '{wanted.name}{wanted.specifier}'",
                )
            if canonicalize_name(wanted.name) not in looked_at:
                looked_at.add(canonicalize_name(wanted.name))
                waiting.append(wanted.name)
    for name in ("google-generativeai", "google-auth", "grpcio", "pydantic"):
        yield f"{name} {_version(name) or 'is not installed'}"


def _requirements(name: str) -> list[str]:
    try:
        return importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []  # used from a source tree


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _settings(case: Case) -> Iterator[Finding | str]:
    for problem in case.explanation.problems:
        # What is wrong with credentials and keys, their own checks tell.
        if problem.kind in (
            "APIKeyRequiredError", "OAuthRequiredError", "ConfigurationError",
            "UnsupportedRequestError",
        ):  # fmt: skip
            # A key's variable is told of once more, by its check.
            of_a_key = problem == case.refused and problem.problem.startswith("The environment")
            yield Finding(problem.problem, problem.remedy, note=of_a_key)
    for setting, found in environment.read(case.environ).items():
        if setting != "api_key":
            for variable, text in found:
                yield from _variable(setting, variable, text)
    for layer in case.layers:
        if layer.origin.kind == "profile":
            yield f"profile: {layer.origin.place}"
    decision = case.explanation.decision
    if decision is not None:
        yield " ".join(decision.reasons)


def _variable(setting: str, variable: str, text: str) -> Iterator[Finding]:
    try:
        environment_value(setting, variable, text)
    except ConfigurationError as error:
        yield Finding(error.problem, error.remedy, f"unset {variable}")


def _two_keys(case: Case) -> Iterator[Finding | str]:
    found = environment.read(case.environ).get("api_key", [])
    if len({value for _, value in found}) > 1:
        first, *others = [variable for variable, _ in found]
        names = " and ".join([first, *others])
        yield Finding(
            f"{names} hold different keys. This library and google-generativeai take {first}, "
            f"google-genai takes GOOGLE_API_KEY.",
            "unset the wrong one.",
            f"unset {' '.join(others)}",
        )
    elif found:
        yield f"the key of {found[0].variable}"
    else:
        yield Skipped("not set")


def _key_values(case: Case) -> Iterator[Finding | str]:
    for name in _KEYS:
        value = case.environ.get(name)
        if value is None:
            continue
        if not value.strip():
            yield Finding(f"{name} is set, and empty.", "unset it.", f"unset {name}")
            continue
        if value != value.strip():
            yield Finding(
                f"{name} begins or ends with white space or a line break: this library trims it, "
                "but other programs send it unchanged and get an error.",
                "export it without them.",
                f'export {name}="$(printf %s "${name}" | tr -d \'[:space:]\')"',
            )
        try:
            validation.api_key(value)
        except ConfigurationError as error:
            quoted = "quotation" in error.problem
            yield Finding(
                f"{name}: {error.problem}",
                error.remedy,
                f'export {name}="$(printf %s "${name}" | tr -d "\\"\'")"' if quoted else "",
            )
            continue
        looks = keys.suspicion(value.strip())
        if looks and googles_endpoint.in_force(case.config):
            yield Finding(
                f"{name} looks like {looks}, which Google's service will refuse.",
                f"make a key: {keys.AI_STUDIO}",
            )
        else:
            yield f"{name} holds a{_article(keys.kind(value.strip()))}"


def _article(noun: str) -> str:
    return f"n {noun}" if noun[0] in "aeiouxAO" else f" {noun}"


def _model(case: Case) -> Iterator[Finding | str]:
    if not case.model:
        yield Skipped("no --model is given")
        return
    known = models.problem(case.config, case.model, _headers.clock())
    if known:
        yield Finding(known.means, known.remedy)
    elif case.on_vertex:
        yield f"{case.model} is served on Vertex AI"
    else:
        yield f"no problem is known with {case.model}"


def _keys_and_oauth(case: Case) -> Iterator[Finding | str]:
    present = [name for name in _KEYS if case.environ.get(name, "").strip()]
    if not present or not (case.tuned or case.config.auth == "oauth"):
        return
    where = 'auth="oauth" is set' if case.config.auth == "oauth" else f"{case.model} takes OAuth"
    yield Finding(
        f"{where}, and {' and '.join(present)} is set. This library leaves the key out; the bare "
        "SDK and google-genai would send it.",
        "unset it, unless it is there for base models.",
        f"unset {' '.join(present)}",
        # With auth="auto" both kinds side by side are what this library is for.
        note=case.config.auth != "oauth",
    )


def _proxies(case: Case) -> Iterator[Finding | str]:
    environ = case.environ
    if case.config.proxy is not None:
        yield "proxy= is set, and takes precedence over the variables"
        return
    rest, grpc = rest_proxy(environ), grpc_proxy(environ)
    if rest and not grpc:
        yield Finding(
            f"REST and token requests go through the proxy of {rest}; gRPC reads only the "
            "lower-case names, and bypasses it.",
            "set https_proxy as well, or safe_configure(proxy=…).",
            f'export https_proxy="${rest}"',
        )
    elif grpc and not rest:
        yield Finding(
            f"gRPC goes through the proxy of {grpc}; REST and token requests bypass it.",
            "set HTTPS_PROXY as well, or safe_configure(proxy=…).",
            f'export HTTPS_PROXY="${grpc}"',
        )
    elif rest and grpc and environ[rest] != environ[grpc]:
        yield Finding(
            f"gRPC goes through the proxy of {grpc}, REST and token requests through another, "
            f"that of {rest}.",
            "set both to the same value, or safe_configure(proxy=…).",
            f'export grpc_proxy="${rest}"',
        )
    if grpc and not environ[grpc].startswith("http://"):
        yield Finding(
            f"{grpc} does not begin with http://, and gRPC supports no other proxy URL.",
            f"export {grpc}=http://host:port, or "
            'safe_configure(transport="rest", tuned_transport="rest").',
        )
    if rest or grpc:
        yield from _exceptions(environ)


def _exceptions(environ: Mapping[str, str]) -> Iterator[Finding | str]:
    rest = _either(environ, "no_proxy")
    grpc = next((n for n in ("no_grpc_proxy", "no_proxy") if environ.get(n)), None)
    if (rest and environ[rest]) != (grpc and environ[grpc]):
        yield Finding(
            f"gRPC bypasses the proxy for the hosts of {grpc or 'no variable (it reads no_proxy)'}"
            f", REST for those of {rest or 'no variable'}: they differ.",
            "set both to the same value.",
            f'export no_proxy="${rest}"' if rest else f'export NO_PROXY="${grpc}"',
        )


def _either(environ: Mapping[str, str], name: str) -> str | None:
    """The variable that requests and Python read: in lower case first, also where it is empty."""
    found = name if name in environ else name.upper()
    return found if environ.get(found) else None


def rest_proxy(environ: Mapping[str, str]) -> str | None:
    """The variable whose proxy https requests take."""
    return _either(environ, "https_proxy") or _either(environ, "all_proxy")


def grpc_proxy(environ: Mapping[str, str]) -> str | None:
    """The variable whose proxy gRPC takes: lower case alone.

    https://grpc.github.io/grpc/core/md_doc_core_default_http_proxy_mapper.html
    """
    names = ("grpc_proxy", "https_proxy", "http_proxy")
    return next((name for name in names if environ.get(name)), None)


_GRPC_ROOTS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"


def _authorities(case: Case) -> Iterator[Finding | str]:
    environ = case.environ
    if case.config.ca_certs is not None:
        yield f"ca_certs={str(case.config.ca_certs)!r}, which takes precedence over the variables"
        return
    names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", _GRPC_ROOTS)
    present = [name for name in names if environ.get(name)]
    for name in present:
        if not os.path.exists(environ[name]):  # noqa: PTH110 -- Path's raises for odd names
            yield Finding(
                f"{name} names a file that does not exist.",
                "give the path of a PEM file, or unset it.",
                f"unset {name}",
            )
    rest = [name for name in present if name in names[:2]]
    others = [name for name in present if name != _GRPC_ROOTS]
    if others and _GRPC_ROOTS not in present:
        yield Finding(
            f"{others[0]} names certificate authorities, but gRPC does not read it: it uses its "
            "own.",
            f"set {_GRPC_ROOTS} as well, or safe_configure(ca_certs=…).",
            f'export {_GRPC_ROOTS}="${others[0]}"',
        )
    if present and not rest:
        yield Finding(
            f"{present[0]} names certificate authorities, but REST and token requests do not "
            "read it: they use their own.",
            "set REQUESTS_CA_BUNDLE as well, or safe_configure(ca_certs=…).",
            f'export REQUESTS_CA_BUNDLE="${present[0]}"',
        )
    if rest and _GRPC_ROOTS in present and environ[rest[0]] != environ[_GRPC_ROOTS]:
        yield Finding(
            f"{rest[0]} and {_GRPC_ROOTS} name different files.",
            "make sure that both hold the authorities that are needed.",
            note=True,
        )


_OPENAI = ("OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS",
           "OPENAI_API_KEY")  # fmt: skip


def _openai(case: Case) -> Iterator[Finding | str]:
    if importlib.util.find_spec("openai") is None:
        yield Skipped("the openai package is not installed")
        return
    for name in _OPENAI:
        if not case.environ.get(name):
            continue
        # Clients need a key of their own anyhow; the others are taken without a word.
        is_key = name == "OPENAI_API_KEY"
        where = "its requests there" if name == "OPENAI_BASE_URL" else "it to Google too"
        yield Finding(
            f"{name} is set: a plain openai.OpenAI() sends {where} (genai_config.openai ignores "
            "it).",
            "unset it where such clients run, or give the client its own.",
            f"unset {name}",
            note=is_key or _is_of_this_machine(name, case.environ[name]),
        )


def _is_of_this_machine(name: str, value: str) -> bool:
    """Whether a variable leads OpenAI's clients to a server of this machine, such as our proxy."""
    loopback = re.match(r"https?://(localhost|127\.0\.0\.1|\[::1\])[:/]", value)
    return name == "OPENAI_BASE_URL" and loopback is not None


def _raw_configure(case: Case) -> Iterator[Finding | str]:
    for layer in case.layers:
        kind, place = layer.origin
        # What was configured before this library was in is adopted: nothing was lost by it.
        if kind == "genai.configure" and re.search(r":\d+$", place):
            merged = case.config.raw_configure == "merge"
            yield Finding(
                f"genai.configure() was called at {place}, and has "
                f"{'set' if merged else 'replaced the configuration, setting'} "
                f"{', '.join(layer.patch.values)}.",
                'call safe_configure() there; raw_configure="error" finds such calls.',
                note=merged,
            )


CHECKS = (
    Check("versions", "the installed packages are compatible", _versions),
    Check("settings", "the settings are valid and consistent", _settings),
    Check("two_keys", "one API key in the environment", _two_keys),
    Check("model", "the model is served", _model),
    Check("key_values", "API keys without quotation marks and line breaks", _key_values),
    Check("keys_and_oauth", "no API key where OAuth is wanted", _keys_and_oauth),
    Check("proxies", "gRPC and REST take the same proxy", _proxies),
    Check("authorities", "gRPC and REST trust the same authorities", _authorities),
    Check("openai_variables", "no variable that OpenAI clients would send to Google", _openai),
    Check("raw_configure", "no genai.configure() that overwrote settings", _raw_configure),
)
