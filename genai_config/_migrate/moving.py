"""The second step: migrates calls of google-generativeai to google-genai."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.calls import Tools
from genai_config._migrate.errors import move_errors
from genai_config._migrate.follow import Follower
from genai_config._migrate.functions import Functions
from genai_config._migrate.imports import with_imports, without_unused
from genai_config._migrate.models import Model
from genai_config._migrate.report import Site
from genai_config._migrate.source import Source
from genai_config._migrate.unit import BlockedError, Unit, dependent
from genai_config._migrate.values import Values
from genai_config._migrate.variables import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

_OLD_PACKAGES = ("google.generativeai", "google.ai.generativelanguage")

_FROM = {
    "google_genai": ("genai_config", "google_genai"),
    "types": ("google.genai", "types"),
    "errors": ("google.genai", "errors"),
    "os": ("os", ""),
}

_TUNED = (
    "the Gemini API has had no tuned models since May 2025",
    "tune the model on Vertex AI, then use model='projects/…/endpoints/…'.",
)
_RETRIEVAL = (
    "corpora, permissions and semantic retrieval have no equivalent in google-genai",
    "keep this code on google-generativeai with genai_config, or use File Search.",
)
_PALM = (
    "the SDK no longer has the PaLM functions",
    "use a Gemini model with GenerativeModel, then run the command again.",
)
_LEFT = {
    "chat": _PALM, "generate_text": _PALM, "generate_embeddings": _PALM,
    "count_message_tokens": _PALM, "count_text_tokens": _PALM,
    "create_tuned_model": _TUNED, "get_tuned_model": _TUNED, "list_tuned_models": _TUNED,
    "update_tuned_model": _TUNED, "delete_tuned_model": _TUNED, "get_operation": _TUNED,
    "list_operations": _TUNED, "get_base_model": _TUNED,
    "retriever": _RETRIEVAL, "answer": _RETRIEVAL, "permission": _RETRIEVAL,
    "types.permission_types": _RETRIEVAL, "types.retriever_types": _RETRIEVAL,
    "types.BlockedPromptException": (
        "google-genai raises no error for a blocked prompt",
        "check response.prompt_feedback and response.candidates[0].finish_reason.",
    ),
    "types.StopCandidateException": (
        "google-genai raises no error for a response that was stopped",
        "check response.candidates[0].finish_reason.",
    ),
    "configure": ("the adopt step replaces it", "run genai-config migrate without --to."),
}  # fmt: skip
_UNKNOWN = (
    "it is used where it cannot be followed",
    "see Moving to google-genai in the documentation.",
)


def move(text: str, shared: frozenset[str] = frozenset()) -> tuple[str, list[Site]]:
    """Migrates a module to google-genai as far as possible; returns its text and the sites found.

    Args:
        text: The module.
        shared: Names that other modules import, possibly from this one.

    Raises:
        libcst.ParserSyntaxError: LibCST cannot parse the text.
    """
    if not any(package in text for package in _OLD_PACKAGES):
        return text, []
    source = Source(text, shared)
    aliases = {name: _alias(source, name) for name in _FROM}
    mover = Follower(source, aliases)
    tools = Tools(Values(source, aliases))
    _models(mover, tools)
    functions = Functions(mover, tools)
    for call in source.nodes(cst.Call):
        name = source.old(call.func)
        if name in functions.known:
            functions.move(call, name)
    mover.drain()
    mover.check_given(tools.values.given)
    _construct(mover)
    mover.check_variables()
    tools.values.check_variables()
    tools.values.check_unknown(mover.is_followed)
    _check_keys(source, mover)
    move_errors(mover, aliases["errors"])
    sites: list[Site] = []
    needed: set[str] = set()
    for unit in mover.units:
        if unit.root is unit:
            found, imports = unit.commit(source)
            sites += found
            needed |= imports
    sites += _left(mover, sites)
    if not len(source.edits):
        return text, sorted(sites)
    wanted = [
        (*_FROM[name], "" if aliases[name] == (_FROM[name][1] or name) else aliases[name])
        for name in sorted(needed)
    ]
    return without_unused(with_imports(source.result(), wanted), source), sorted(sites)


def _alias(source: Source, name: str) -> str:
    """The name of an import we add: its own, unless that already means something else."""
    package, own = _FROM[name]
    full = f"{package}.{own}" if own else package
    own = own or package
    meanings = set(map(source.name, source.variables.get(own, ())))
    meanings |= {imported for bound, imported in _imported(source) if bound == own}
    if meanings <= {full}:
        return own
    return "_os" if name == "os" else f"genai_{own.removeprefix('google_')}"


def _imported(source: Source) -> Iterator[tuple[str, str]]:
    """The names that the module's imports bind, each with the full name it stands for."""
    for node in source.nodes(cst.Import, cst.ImportFrom):
        if isinstance(node.names, cst.ImportStar):
            continue
        package = ""
        if isinstance(node, cst.ImportFrom):
            package = f"{source.text(node.module)}." if node.module and not node.relative else "."
        for alias in node.names:
            name = alias.evaluated_name
            bound = alias.evaluated_alias or (name if package else name.partition(".")[0])
            whole = name if package or alias.asname else bound
            yield bound, f"{package}{whole}"


_CONFIGURES = ("genai_config.safe_configure", "google.generativeai.configure")
_MODELS = {"GenerativeModel": False, "GenerativeModel.from_cached_content": True}


def _models(mover: Follower, tools: Tools) -> None:
    source = mover.source
    for call in source.nodes(cst.Call):
        name = source.old(call.func)
        if name not in _MODELS:
            continue
        line = source.line(call)
        unit = mover.start(line, "GenerativeModel")
        mover.made.append((call, unit))
        model = Model(tools, unit, call, cached=_MODELS[name])
        model.inline = isinstance(source.parent(call), cst.Attribute)
        try:
            model.read_arguments(mover)
        except BlockedError as error:
            unit.block(line, "GenerativeModel", error)
            continue
        mover.models.append(model)
        mover.follow(call, model)
    mover.drain()


def _construct(mover: Follower) -> None:
    for model in mover.models:
        _construct_one(mover, model)


def _construct_one(mover: Follower, model: Model) -> None:
    try:
        model.construct(mover)
    except BlockedError as error:
        model.unit.block(mover.source.line(model.made_by), "GenerativeModel", error)


def _check_keys(source: Source, mover: Follower) -> None:
    """Blocks models in variables if the file configures more than one key."""
    calls = [
        call
        for call in source.nodes(cst.Call)
        if source.name(call.func) in _CONFIGURES
        and any(arg.star or (arg.keyword and arg.keyword.value in ("api_key", "credentials"))
                for arg in call.args)
    ]  # fmt: skip
    if len(calls) < 2:  # noqa: PLR2004 -- a change takes two
        return
    for model in mover.models:
        if not model.inline:
            model.unit.block(
                source.line(model.made_by), "GenerativeModel",
                BlockedError(
                    "the file configures several keys, and a model keeps that of its first request",
                    "create a client for each key: google_genai.client(api_key=…).",
                ),
            )  # fmt: skip


def _left(mover: Follower, sites: list[Site]) -> Iterator[Site]:
    """The remaining uses of the old SDK that no unit has reported."""
    source, owners = mover.source, dict([*mover.made, *mover.sent])
    told = {site.line for site in sites}
    for node in source.nodes(cst.Name, cst.Attribute):
        name = source.old(node)
        parent = source.parent(node)
        if not name or source.above(node, cst.Import, cst.ImportFrom):
            continue
        if isinstance(parent, cst.Attribute) and source.old(parent):
            continue
        line = source.line(node)
        if line in told or _is_changed(source, node):
            continue
        told.add(line)
        said = next((said for start, said in _LEFT.items() if name.startswith(start)), None)
        cause = None if said else _cause(source, node, owners)
        if cause:
            yield dependent(line, name, *cause)
        else:
            yield Site(line, name, "unchanged", *(said or _UNKNOWN))


def _cause(
    source: Source, node: cst.CSTNode, owners: dict[cst.CSTNode, Unit]
) -> tuple[int, BlockedError] | None:
    """Why the calls stay that a value is for, directly or through variables; None if none does."""
    waiting, seen = [node], set[cst.CSTNode]()
    while waiting:
        at: Any = waiting.pop()
        while at is not source.module and at not in owners and at not in seen:
            seen.add(at)
            if isinstance(at, cst.Assign | cst.AnnAssign):
                targets = at.targets if isinstance(at, cst.Assign) else [at]
                found = [variable(source, one.target) for one in targets]
                waiting += [read for one in found if one for read in one.reads]
                break
            at = source.parent(at)
        unit = owners.get(at)
        if unit is not None and unit.cause is not None:
            return unit.cause
    return None


def _is_changed(source: Source, node: cst.CSTNode) -> bool:
    """Whether an edit replaces a name, or an expression or call that starts with it."""
    at: Any = node
    while isinstance(at, cst.Name | cst.Attribute | cst.Call):
        if at in source.edits:
            return True
        at = source.parent(at)
    return False
