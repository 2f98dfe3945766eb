"""What comes back: answers, streams, embeddings, files, caches, models' descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.follow import Follower, Thing
from genai_config._migrate.parts import (
    Content,
    Feedback,
    Sequence,
    candidates,
    check_handlers,
    parts,
)
from genai_config._migrate.source import expression, string
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = frozenset(("name", "uri", "mime_type", "display_name", "size_bytes", "state",
                   "create_time", "update_time", "expiration_time"))  # fmt: skip
_CACHE = frozenset(("name", "model", "display_name", "create_time", "update_time", "expire_time",
                    "usage_metadata"))  # fmt: skip
_MODEL = frozenset(("name", "display_name", "description", "input_token_limit", "version",
                    "output_token_limit", "temperature", "top_p", "top_k"))  # fmt: skip
_BY_HAND = "migrate it together with the code that uses it."


class Awaitable(Thing):
    """The result of an asynchronous call before it is awaited."""

    kind = "coroutine"
    todo = (
        "await it where it is made: async def ask(q): return (await "
        "model.generate_content_async(q)).text; give ask(q) to asyncio.gather() or to a task."
    )

    def __init__(self, unit: Unit, inner: Callable[[], Thing]) -> None:
        super().__init__(unit)
        self._inner = inner

    def awaited(self) -> Thing:
        """The result itself."""
        return self._inner()

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """It may be given to ``asyncio.run()`` if the result is not used."""
        del node
        return mover.source.name(call.func) == "asyncio.run" and isinstance(
            mover.source.parent(call), cst.Expr
        )


class Answer(Thing):
    """A response, or a chunk of one.

    Args:
        unit: The unit it belongs to.
        in_stream: Whether it is a chunk of a stream.
    """

    kind = "response"
    names = frozenset(("text", "candidates", "parts", "prompt_feedback", "usage_metadata"))

    def __init__(self, unit: Unit, *, in_stream: bool = False) -> None:
        super().__init__(unit)
        self._in_stream = in_stream

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Most attributes of a response have the same name in both SDKs."""
        match node.attr.value:
            case "text":
                check_handlers(mover, node, "ValueError")
                return None
            case "parts":
                check_handlers(mover, node, "ValueError")
                return parts(self.unit)
            case "candidates":
                return candidates(self.unit, in_stream=self._in_stream)
            case "prompt_feedback":
                return Feedback(self.unit)
            case "usage_metadata":
                return None
        return super().attribute(mover, node)

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """A whole response is its own only chunk."""
        if is_async or self._in_stream:
            return super().element(node, is_async=is_async)
        self.unit.edit(node, lambda updated: cst.List([cst.Element(updated)]))
        return Answer(self.unit)


class Stream(Thing):
    """A response in chunks, which ``resolve()`` completes."""

    kind = "stream"

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit)
        self._whole: list[tuple[int, int]] = []

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """A chunk."""
        del node
        if is_async:
            raise BlockedError("a synchronous stream is iterated over with `async for`", _BY_HAND)
        return Answer(self.unit, in_stream=True)

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """``resolve()`` waits for all chunks: the stream becomes a list."""
        statement = mover.source.parent(node)
        if method.attr.value != "resolve" or not isinstance(statement, cst.Expr):
            return super().call(mover, node, method)
        self._whole.append(mover.source.end(node))
        self.unit.edit(statement, lambda updated: cst.Assign(
            [cst.AssignTarget(updated.value.func.value)],
            expression("list(stream)", stream=updated.value.func.value)))  # fmt: skip
        return None

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """The text, after ``resolve()``."""
        if node.attr.value != "text" or not any(
            end <= mover.source.start(node) for end in self._whole
        ):
            return super().attribute(mover, node)
        check_handlers(mover, node, "ValueError")
        self.unit.edit(node, lambda updated: expression(
            '"".join(chunk.text or "" for chunk in stream)', stream=updated.value))  # fmt: skip
        return None


class AsyncStream(Thing):
    """A response in chunks, from an asynchronous call."""

    kind = "stream"

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """A chunk."""
        del node
        if not is_async:
            raise BlockedError("an asynchronous stream is iterated over with `for`", _BY_HAND)
        return Answer(self.unit, in_stream=True)


class History(Sequence):
    """The contents of a chat."""

    is_content = True

    def __init__(self, unit: Unit) -> None:
        super().__init__(unit, "history", lambda: Content(unit))

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """It may be given to ``len()``, ``print()`` and ``list()``."""
        del node
        return mover.source.text(call.func) in ("len", "print", "list")

    def or_empty(self, node: Any) -> None:
        """It is never None."""


class Tokens(Thing):
    """A count of tokens."""

    kind = "token count"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """The total has the same name in both SDKs."""
        return None if node.attr.value == "total_tokens" else super().attribute(mover, node)


class Embedding(Thing):
    """A dictionary with the vector of one text or the vectors of several texts."""

    kind = "embedding"

    def __init__(self, unit: Unit, *, many: bool) -> None:
        super().__init__(unit)
        self.many = many

    def merge(self, other: Any) -> None:
        """One vector and several are read differently."""
        if other.many != self.many:
            raise BlockedError(
                "a variable holds both one vector and a list of vectors", "use two variables."
            )

    def item(self, mover: Follower, node: cst.Subscript) -> Thing | None:
        """``["embedding"]`` is its only key."""
        index = node.slice[0].slice
        if len(node.slice) != 1 or not isinstance(index, cst.Index) or (
            string(index.value) != "embedding"
        ):  # fmt: skip
            return super().item(mover, node)
        many = self.many

        def change(updated: cst.Subscript) -> Any:
            if many:
                return expression("[one.values for one in found.embeddings]", found=updated.value)
            return expression("found.embeddings[0].values", found=updated.value)

        self.unit.edit(node, change)
        return None


class Infos(Thing):
    """The descriptions of models."""

    kind = "list of models"

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """One of them."""
        del node, is_async
        return Info(self.unit)


class Info(Thing):
    """The description of a model."""

    kind = "model description"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """One attribute has a different name in google-genai."""
        name = node.attr.value
        if name == "supported_generation_methods":
            self.unit.edit(node.attr, lambda _: cst.Name("supported_actions"))
            return None
        return None if name in _MODEL else super().attribute(mover, node)


class Files(Thing):
    """A list of files."""

    kind = "list of files"

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """One of them."""
        del node, is_async
        return File(self.unit)


class File(Thing):
    """An uploaded file."""

    kind = "file"
    is_content = True

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """google-genai deletes it by name."""
        if method.attr.value != "delete" or node.args:
            return super().call(mover, node, method)
        self.unit.site(mover.source.line(node), "File.delete")
        client = f"{mover.aliases['google_genai']}.shared_client()"
        self.unit.edit(node, lambda updated: expression(
            f"{client}.files.delete(name=file.name)", file=updated.func.value))  # fmt: skip
        return None

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """All attributes have the same names; the state is an enum in both SDKs."""
        return None if node.attr.value in _FILE else super().attribute(mover, node)

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """It may be given to ``delete_file()``, which then gets its name."""
        if mover.source.old(call.func) == "delete_file":
            self.unit.edit(node, lambda updated: expression("file.name", file=updated))
            return True
        return super().may_be_given(mover, node, call)


class Caches(Thing):
    """A list of caches."""

    kind = "list of caches"

    def element(self, node: Any, *, is_async: bool) -> Thing:
        """One of them."""
        del node, is_async
        return Cache(self.unit)


class Cache(Thing):
    """A cached content."""

    kind = "cache"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """All attributes have the same names in both SDKs."""
        return None if node.attr.value in _CACHE else super().attribute(mover, node)

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """google-genai deletes it by name."""
        if method.attr.value != "delete" or node.args:
            raise BlockedError(
                f".{method.attr.value}() of a cache cannot be migrated", "use client.caches."
            )
        self.unit.site(mover.source.line(node), "CachedContent.delete")
        client = f"{mover.aliases['google_genai']}.shared_client()"
        self.unit.edit(node, lambda updated: expression(
            f"{client}.caches.delete(name=cache.name)", cache=updated.func.value))  # fmt: skip
        return None

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """It may be given to ``GenerativeModel.from_cached_content()``."""
        name = mover.source.old(call.func)
        return name == "GenerativeModel.from_cached_content" or super().may_be_given(
            mover, node, call
        )
