"""What comes back: answers, streams, embeddings, files, caches, models' descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import libcst as cst

from genai_config._migrate.follow import Follower, Thing
from genai_config._migrate.source import expression, string
from genai_config._migrate.unit import BlockedError, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

_ANSWER = frozenset(("text", "candidates", "parts", "prompt_feedback", "usage_metadata"))
_FILE = frozenset(("name", "uri", "mime_type", "display_name", "size_bytes", "state",
                   "create_time", "update_time", "expiration_time"))  # fmt: skip
_CACHE = frozenset(("name", "model", "display_name", "create_time", "update_time", "expire_time",
                    "usage_metadata"))  # fmt: skip
_MODEL = frozenset(("name", "display_name", "description", "input_token_limit", "version",
                    "output_token_limit", "temperature", "top_p", "top_k"))  # fmt: skip
_BY_HAND = "move it by hand, with what uses it."


class Awaitable(Thing):
    """What an asynchronous call gives before it is awaited."""

    kind = "coroutine"

    def __init__(self, unit: Unit, inner: Callable[[], Thing]) -> None:
        super().__init__(unit)
        self._inner = inner

    def awaited(self) -> Thing:
        """The thing itself."""
        return self._inner()

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """To what runs it, where the answer is not used."""
        del node
        return mover.source.name(call.func) == "asyncio.run" and isinstance(
            mover.source.parent(call), cst.Expr
        )


class Answer(Thing):
    """An answer, or a chunk of one."""

    kind = "answer"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """Most of an answer is called the same."""
        name = node.attr.value
        if name not in _ANSWER:
            return super().attribute(mover, node)
        if name == "text":
            _check_text(mover, node)
        elif name == "candidates":
            _check_reason(mover, node)
        return None


class Stream(Thing):
    """An answer in chunks."""

    kind = "stream"

    def element(self, *, is_async: bool) -> Thing:
        """A chunk."""
        if is_async:
            raise BlockedError("a stream is iterated over by async for", _BY_HAND)
        return Answer(self.unit)


class AsyncStream(Thing):
    """An answer in chunks, of an asynchronous call."""

    kind = "stream"

    def element(self, *, is_async: bool) -> Thing:
        """A chunk."""
        if not is_async:
            raise BlockedError("an asynchronous stream is iterated over by for", _BY_HAND)
        return Answer(self.unit)


class Tokens(Thing):
    """A count of tokens."""

    kind = "count"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """The total is called the same."""
        return None if node.attr.value == "total_tokens" else super().attribute(mover, node)


class Embedding(Thing):
    """A dictionary with the vector of one text, or the vectors of several."""

    kind = "embedding"

    def __init__(self, unit: Unit, *, many: bool) -> None:
        super().__init__(unit)
        self.many = many

    def merge(self, other: Thing) -> None:
        """One and several are read in different ways."""
        if isinstance(other, Embedding) and other.many != self.many:
            raise BlockedError("a variable holds one vector here, several there", "use two names.")

    def item(self, mover: Follower, node: cst.Subscript) -> Thing | None:
        """``["embedding"]``, its one key."""
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

    def element(self, *, is_async: bool) -> Thing:
        """One of them."""
        del is_async
        return Info(self.unit)


class Info(Thing):
    """The description of a model."""

    kind = "description of a model"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """One of its attributes has another name."""
        name = node.attr.value
        if name == "supported_generation_methods":
            self.unit.edit(node.attr, lambda _: cst.Name("supported_actions"))
            return None
        return None if name in _MODEL else super().attribute(mover, node)


class Files(Thing):
    """A list of files."""

    kind = "list of files"

    def element(self, *, is_async: bool) -> Thing:
        """One of them."""
        del is_async
        return File(self.unit)


class File(Thing):
    """A file of the service's."""

    kind = "file"

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """All are called the same; the state is an enum as well."""
        return None if node.attr.value in _FILE else super().attribute(mover, node)

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """To what deletes it, by its name."""
        if mover.source.old(call.func) in ("delete_file", "get_file"):
            if mover.source.old(call.func) == "delete_file":
                self.unit.edit(node, lambda updated: expression("file.name", file=updated))
                return True
            return False
        return super().may_be_given(mover, node, call)


class Caches(Thing):
    """A list of caches."""

    kind = "list of caches"

    def element(self, *, is_async: bool) -> Thing:
        """One of them."""
        del is_async
        return Cache(self.unit, "")


class Cache(Thing):
    """A cached content.

    Args:
        unit: What it moves with.
        client: The expression of the client; "": it is known where the cache is used.
    """

    kind = "cache"

    def __init__(self, unit: Unit, client: str) -> None:
        super().__init__(unit)
        self.client = client

    def attribute(self, mover: Follower, node: cst.Attribute) -> Thing | None:
        """All are called the same."""
        return None if node.attr.value in _CACHE else super().attribute(mover, node)

    def call(self, mover: Follower, node: cst.Call, method: cst.Attribute) -> Thing | None:
        """It is deleted by its name."""
        if method.attr.value != "delete" or node.args or not self.client:
            raise BlockedError(f".{method.attr.value}() of a cache", "client.caches has it.")
        mover.source.line(node)
        self.unit.site(mover.source.line(node), "CachedContent.delete")
        client = self.client
        self.unit.edit(node, lambda updated: expression(
            f"{client}.caches.delete(name=cache.name)", cache=updated.func.value))  # fmt: skip
        return None

    def may_be_given(self, mover: Follower, node: cst.CSTNode, call: cst.Call) -> bool:
        """To the model that answers with it."""
        name = mover.source.old(call.func)
        return name == "GenerativeModel.from_cached_content" or super().may_be_given(
            mover, node, call
        )


def _check_text(mover: Follower, node: cst.Attribute) -> None:
    """The old SDK raises ValueError for an answer without text; google-genai gives None.

    Raises:
        BlockedError: The program goes by that error.
    """
    inner: Any = node
    while (handled := mover.source.above(inner, cst.Try)) is not None:
        in_body = any(one is node for one in mover.source.within(handled.body, cst.Attribute))
        for handler in handled.handlers if in_body else ():
            if handler.type is not None and "ValueError" in mover.source.text(handler.type):
                raise BlockedError(
                    "except ValueError around .text: google-genai's is None where there is none",
                    "test for None, and run this again.",
                )
        inner = handled


def _check_reason(mover: Follower, node: cst.Attribute) -> None:
    """Reasons are numbers in the old SDK.

    Raises:
        BlockedError: One is compared to a number.
    """
    at: Any = node
    while isinstance(above := mover.source.parent(at), cst.Attribute | cst.Subscript):
        at = above
    names = {one.attr.value for one in mover.source.within(at, cst.Attribute)}
    for name in names & {"to_dict", "citation_metadata", "grounding_metadata"}:
        raise BlockedError(f".{name} is another in google-genai", _BY_HAND)
    comparison = mover.source.above(at, cst.Comparison)
    if isinstance(at, cst.Attribute) and at.attr.value == "finish_reason" and comparison:
        raise BlockedError(
            "finish_reason is compared, and is a number in the old SDK alone",
            "compare with types.FinishReason, or finish_reason.name.",
        )
