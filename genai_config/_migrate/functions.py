"""Migrates functions of the old SDK: embeddings, files, models, caches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate import answers
from genai_config._migrate.calls import Tools, arguments, contents
from genai_config._migrate.parts import is_pure
from genai_config._migrate.settings import joined
from genai_config._migrate.source import expression, keyword, string
from genai_config._migrate.tuned import PREFIX, may_be_tuned, over_grpc_alone
from genai_config._migrate.unit import BlockedError, Unit
from genai_config._migrate.values import is_text, is_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config._migrate.follow import Follower, Thing

_BY_HAND = "migrate it together with the code that uses it."
_TASKS = frozenset(
    ("RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION",
     "CLUSTERING", "QUESTION_ANSWERING", "FACT_VERIFICATION")
)  # fmt: skip
_SHORT_TASKS = {
    "query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
}  # fmt: skip
_UNITS = {"days": 86400, "hours": 3600, "minutes": 60, "seconds": 1, "weeks": 604800}


class Functions:
    """Migrates calls of the old SDK's functions.

    Args:
        mover: Follows their results.
        tools: What all migrations share.
    """

    def __init__(self, mover: Follower, tools: Tools) -> None:
        self._mover = mover
        self._tools = tools
        self.known: dict[str, Callable[[cst.Call, Unit], Thing | None]] = {
            "embed_content": self._embed,
            "embed_content_async": self._embed,
            "upload_file": self._upload,
            "get_file": self._get_file,
            "delete_file": self._delete_file,
            "list_files": self._list_files,
            "list_models": self._list_models,
            "get_model": self._get_model,
            "caching.CachedContent.create": self._create_cache,
            "caching.CachedContent.get": self._get_cache,
            "caching.CachedContent.list": self._list_caches,
        }

    def move(self, call: cst.Call, name: str) -> None:
        """Migrates a call, and follows its result."""
        line = self._mover.source.line(call)
        unit = self._mover.start(line, name)
        unit.need("google_genai")
        self._mover.sent.append((call, unit))
        try:
            thing = self.known[name](call, unit)
        except BlockedError as error:
            unit.block(line, name, error)
            # What is done with the file stays with it.
            thing = answers.File(unit) if name in ("upload_file", "get_file") else None
        if thing is not None:
            self._mover.follow(call, thing)

    def _becomes(
        self, call: cst.Call, unit: Unit, method: str, renamed: dict[int, str],
        config: tuple[str, dict[int, Any]] | None = None,
    ) -> None:  # fmt: skip
        """Turns a call into a call of the client.

        Args:
            call: The call.
            unit: The unit it belongs to.
            method: The method of the client, such as "files.get".
            renamed: The new names of its arguments, by position.
            config: The type of the config, and the arguments that go into it, by position: a
                name, or a function from the changed value to an argument.
        """

        def change(updated: cst.Call) -> Any:
            args = [
                updated.args[index].with_changes(
                    keyword=cst.Name(name), equal=keyword(name, cst.Name(name)).equal
                )
                for index, name in renamed.items()
            ]
            if config and config[1]:
                kind, inner = config
                made = [
                    keyword(new, updated.args[index].value)
                    if isinstance(new, str)
                    else new(updated.args[index].value)
                    for index, new in inner.items()
                ]
                value = cst.Call(self._tools.values.type_name(kind), made)
                args.append(keyword("config", value))
            func = expression(f"{self._tools.client}.{method}")
            return joined(updated, args).with_changes(func=func)

        if config and config[1]:
            unit.need("types")
        unit.edit(call, change)

    def _embed(self, call: cst.Call, unit: Unit) -> Thing:
        source = self._mover.source
        at = arguments(call, "model", "content", "task_type", "title", "output_dimensionality")
        if not {"model", "content"} <= at.keys():
            raise BlockedError("the argument model or content is missing", _BY_HAND)
        if may_be_tuned(source, call.args[at["model"]].value):
            raise over_grpc_alone(source.old(call.func))
        content = call.args[at["content"]].value
        many = isinstance(content, cst.List) or is_texts(source, content)
        if not many and not is_text(source, content):
            raise BlockedError(
                f"{source.text(content)} may be one string or a list of strings",
                "annotate it as str or as list[str], then run the command again.",
            )
        self._wrap(call, content, unit)
        inner: dict[int, Any] = {}
        if "task_type" in at:
            inner[at["task_type"]] = self._task(call.args[at["task_type"]].value)
        for name in ("title", "output_dimensionality"):
            if name in at:
                inner[at[name]] = name
        is_async = source.old(call.func).endswith("_async")
        self._becomes(
            call, unit, f"{'aio.' if is_async else ''}models.embed_content",
            {at["model"]: "model", at["content"]: "contents"}, ("EmbedContentConfig", inner),
        )  # fmt: skip
        if is_async:
            return answers.Awaitable(unit, lambda: answers.Embedding(unit, many=many))
        return answers.Embedding(unit, many=many)

    def _wrap(self, call: cst.Call, content: Any, unit: Unit) -> None:
        """Wraps each text of a list: for some models, google-genai takes a list as one content."""
        source, kind = self._mover.source, self._tools.values.type_name("UserContent")
        elements = content.elements if isinstance(content, cst.List) else []
        if not all(is_text(source, element.value) for element in elements):
            raise BlockedError("the list may hold values that are not strings", _BY_HAND)
        for element in elements:
            unit.need("types")
            unit.edit(element.value, lambda updated: cst.Call(kind, [cst.Arg(updated)]))
        if is_texts(source, content):
            unit.need("types")
            unit.edit(content, lambda updated: expression(
                "[kind(text) for text in texts]", kind=kind, texts=updated))  # fmt: skip
            unit.note(
                source.line(call), source.old(call.func),
                "the old SDK sends more than 100 strings in several requests, google-genai in one",
                "split lists that may be longer: the Gemini API refuses them.",
            )  # fmt: skip

    def _task(self, value: Any) -> Any:
        text = (string(value) or "").lower().removeprefix("task_type_")
        name = _SHORT_TASKS.get(text) or _SHORT_TASKS.get(text.removeprefix("retrieval_"))
        name = name or text.removeprefix("semantic_").upper()
        name = f"SEMANTIC_{name}" if name == "SIMILARITY" else name
        if name not in _TASKS:
            raise BlockedError(
                "task_type is not a known literal", 'write a literal, such as "RETRIEVAL_QUERY".'
            )
        return lambda _: keyword("task_type", cst.SimpleString(f'"{name}"'))

    def _upload(self, call: cst.Call, unit: Unit) -> Thing:
        at = arguments(call, "path", known=("mime_type", "name", "display_name"))
        if "path" not in at:
            raise BlockedError("the argument path is missing", _BY_HAND)
        names = ("mime_type", "name", "display_name")
        inner: dict[int, Any] = {at[name]: name for name in names if name in at}
        path = call.args[at["path"]].value
        if "display_name" not in at:
            named = isinstance(path, cst.Name | cst.Attribute | cst.Subscript)
            if "mime_type" in at and named and not is_text(self._mover.source, path):
                raise BlockedError(
                    f"{self._mover.source.text(path)} may be a path or an open file",
                    "pass display_name=, then run the command again.",
                )
            inner[at["path"]] = self._display_name(path, unit)
        self._becomes(call, unit, "files.upload", {at["path"]: "file"},
                      ("UploadFileConfig", inner))  # fmt: skip
        return answers.File(unit)

    def _display_name(self, path: Any, unit: Unit) -> Any:
        """The old SDK names a file after its path; google-genai does not."""
        text = string(path.right if isinstance(path, cst.BinaryOperation) else path)
        if text is None and not self._is_path(path):
            raise BlockedError(
                "the old SDK names a file after its path; google-genai does not",
                "pass display_name=, then run the command again.",
            )
        if text is None:
            unit.need("os")
            alias = self._tools.values.aliases["os"]
            return lambda updated: keyword("display_name", expression(
                f"{alias}.path.basename(value)", value=updated))  # fmt: skip
        name = text.replace("\\", "/").rpartition("/")[2]
        return lambda _: keyword("display_name", cst.SimpleString(repr(name).replace("'", '"')))

    def _is_path(self, path: Any) -> bool:
        """Whether an expression gives the same path when it is evaluated twice."""
        match path:
            case cst.FormattedString():
                inner = (p.expression for p in path.parts
                         if isinstance(p, cst.FormattedStringExpression))  # fmt: skip
                return all(map(is_pure, inner))
            case cst.Call():
                plain = self._mover.source.name(path.func) in ("os.path.join", "pathlib.Path")
                return plain and all(map(self._is_path, (arg.value for arg in path.args)))
            case cst.BinaryOperation(operator=cst.Divide() | cst.Add()):
                return self._is_path(path.left) and self._is_path(path.right)
        return is_pure(path)

    def _get_file(self, call: cst.Call, unit: Unit) -> Thing:
        at = arguments(call, "name")
        self._file(call.args[at["name"]].value, unit)
        self._becomes(call, unit, "files.get", {at["name"]: "name"})
        return answers.File(unit)

    def _delete_file(self, call: cst.Call, unit: Unit) -> None:
        at = arguments(call, "name")
        value = call.args[at["name"]].value
        file = self._file(value, unit)
        if isinstance(value, cst.Name) and file is None:
            raise BlockedError("the argument may be a file or its name", _BY_HAND)
        self._becomes(call, unit, "files.delete", {at["name"]: "name"})

    def _file(self, value: Any, unit: Unit) -> Thing | None:
        """The file that an argument is, or is the name of; it is migrated with this call."""
        for node in (value, getattr(value, "value", value)):
            thing = self._mover.thing(node)
            if isinstance(thing, answers.File):
                unit.join(thing.unit)
                return thing
        return None

    def _list_files(self, call: cst.Call, unit: Unit) -> Thing:
        self._becomes(call, unit, "files.list", {}, self._page(call))
        return answers.Files(unit)

    def _page(self, call: cst.Call) -> tuple[str, dict[int, Any]]:
        at = arguments(call, "page_size")
        inner = {index: name for name, index in at.items()}
        kind = "ListFilesConfig" if "file" in self._mover.source.old(call.func) else (
            "ListModelsConfig"
        )  # fmt: skip
        return kind, dict(inner)

    def _list_models(self, call: cst.Call, unit: Unit) -> Thing:
        self._becomes(call, unit, "models.list", {}, self._page(call))
        return answers.Infos(unit)

    def _get_model(self, call: cst.Call, unit: Unit) -> Thing:
        at = arguments(call, "name")
        text = string(call.args[at["name"]].value)
        if text is None or text.startswith(PREFIX):
            raise BlockedError("the model may be a tuned model", _BY_HAND)
        self._becomes(call, unit, "models.get", {at["name"]: "model"})
        return answers.Info(unit)

    def _create_cache(self, call: cst.Call, unit: Unit) -> Thing:
        settings = ("display_name", "system_instruction", "contents", "tools", "tool_config",
                    "ttl", "expire_time")  # fmt: skip
        at = arguments(call, "model", known=settings)
        if at.keys() & {"tools", "tool_config"} or "model" not in at:
            raise BlockedError("the cache has tools or no model", _BY_HAND)
        inner: dict[int, Any] = {}
        for name in settings:
            if name not in at:
                continue
            index = at[name]
            inner[index] = self._ttl(call.args[index].value) if name == "ttl" else name
            if name == "contents":
                contents(self._tools, call, index, unit)
            elif name == "system_instruction":
                self._tools.values.contents(call.args[index].value, unit)
        self._becomes(call, unit, "caches.create", {at["model"]: "model"},
                      ("CreateCachedContentConfig", inner))  # fmt: skip
        return answers.Cache(unit)

    def _ttl(self, value: Any) -> Any:
        seconds = self._seconds(value)
        if seconds is None:
            raise BlockedError(
                "ttl is not a literal", 'google-genai takes a string, such as ttl="300s".'
            )
        return lambda _: keyword("ttl", cst.SimpleString(f'"{seconds}s"'))

    def _seconds(self, value: Any) -> int | None:
        if isinstance(value, cst.Integer):
            return value.evaluated_value
        if isinstance(value, cst.Call) and (
            self._mover.source.name(value.func) == "datetime.timedelta"
        ):
            total = 0
            for arg in value.args:
                factor = _UNITS.get(arg.keyword.value) if arg.keyword else None
                if factor is None or not isinstance(arg.value, cst.Integer):
                    return None
                total += factor * arg.value.evaluated_value
            return total
        return None

    def _get_cache(self, call: cst.Call, unit: Unit) -> Thing:
        at = arguments(call, "name")
        self._becomes(call, unit, "caches.get", {at["name"]: "name"})
        return answers.Cache(unit)

    def _list_caches(self, call: cst.Call, unit: Unit) -> Thing:
        arguments(call)
        self._becomes(call, unit, "caches.list", {})
        return answers.Caches(unit)
