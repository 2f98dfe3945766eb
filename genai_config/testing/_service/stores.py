"""What the service keeps: every resource that can be created, listed, changed and deleted.

One store serves all of them, since Google's services name these methods and fields by one
rule (https://google.aip.dev/131 to 135): Create, Get, List, Update, Delete.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm
from google.protobuf import timestamp_pb2

from genai_config.testing import _schemas
from genai_config.testing._service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing._service.methods import Method

# The name of the message, and the collection in its resource name.
COLLECTIONS = {
    "CachedContent": "cachedContents",
    "Chunk": "chunks",
    "Corpus": "corpora",
    "Document": "documents",
    "File": "files",
    "Permission": "permissions",
    "TunedModel": "tunedModels",
}
_PLURALS = {"Corpora": "Corpus"}
_DEFAULT_PAGE = 10
_CACHE_LIFETIME = 3600
_FILE_LIFETIME = 48 * 3600


class Store:
    """All resources, by name.

    Attributes:
        items: The resources in the order in which they were created.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._count = 0
        self.items: dict[str, Any] = {}

    def handler(self, method: Method) -> Callable[[Any], Any] | None:
        """What answers a method, or None if it is not one of the five on a known resource."""
        match = re.fullmatch(r"(Create|Get|List|Update|Delete)(\w+)", method.name.partition(".")[2])
        if match is None:
            return None
        verb, noun = match.groups()
        if verb == "List":
            noun = _PLURALS.get(noun, noun.removesuffix("s"))
        if noun not in COLLECTIONS:
            return None
        answer = getattr(self, "_" + verb.lower())
        return lambda request: answer(method, noun, request)

    def add(self, noun: str, resource: Any, *, parent: str = "", identifier: str = "") -> Any:
        """Keeps a copy of a new resource under its name, which is made up if it has none.

        Raises:
            ServiceError: The name is taken.
        """
        kept = _newest(noun, resource)
        with self._lock:
            self._count += 1
            if not kept.name:
                # The SDK takes no dash in a permission's name.
                dash = "" if noun == "Permission" else "-"
                identifier = identifier or f"{noun.lower()}{dash}{self._count}"
                kept.name = _join(parent, COLLECTIONS[noun], identifier)
            if kept.name in self.items:
                raise ServiceError("ALREADY_EXISTS", f"{kept.name} already exists.")
            for field in ("create_time", "update_time"):
                if field in kept.DESCRIPTOR.fields_by_name:
                    getattr(kept, field).CopyFrom(self._now())
            self._settle(noun, kept)
            self.items[kept.name] = kept
        return kept

    def find(self, name: str) -> Any:
        """A resource.

        Raises:
            ServiceError: There is none.
        """
        try:
            return self.items[name]
        except KeyError:
            raise ServiceError("NOT_FOUND", f"{name} does not exist.") from None

    def replace(self, name: str, **fields: Any) -> Any:
        """Puts a changed copy in the place of a resource: others may still send the old one.

        Raises:
            ServiceError: There is none.
        """
        with self._lock:
            kept = _copy(self.find(name))
            for field, value in fields.items():
                setattr(kept, field, value)
            self.items[name] = kept
        return kept

    def update(self, changed: Any, mask: Any) -> Any:
        """Changes the fields of a resource that a mask names, or those that are set.

        Raises:
            ServiceError: There is none.
        """
        with self._lock:
            kept = _copy(self.find(changed.name))
            if mask.paths:
                if not mask.IsValidForDescriptor(kept.DESCRIPTOR):
                    raise ServiceError("INVALID_ARGUMENT", f"Invalid update mask: {mask.paths}.")
                mask.MergeMessage(changed, kept, True, True)
            else:
                kept.MergeFrom(changed)
            if "update_time" in kept.DESCRIPTOR.fields_by_name:
                kept.update_time.CopyFrom(self._now())
            self._settle(kept.DESCRIPTOR.name, kept)
            self.items[changed.name] = kept
        return kept

    def delete(self, name: str) -> None:
        """Takes a resource away, and what is in it.

        Raises:
            ServiceError: There is none.
        """
        with self._lock:
            self.find(name)
            for other in list(self.items):
                if other == name or other.startswith(name + "/"):
                    del self.items[other]

    def snapshot(self, prefix: str) -> list[tuple[str, Any]]:
        """The resources whose names start like this."""
        with self._lock:
            return [(name, item) for name, item in self.items.items() if name.startswith(prefix)]

    def page(self, request: Any, items: list[Any], response: Any) -> Any:
        """Fills the part of a list that a request asks for into its response.

        Raises:
            ServiceError: The page token is not one of ours.
        """
        token = request.page_token or "0"
        if not token.isdecimal():
            raise ServiceError("INVALID_ARGUMENT", "Invalid page token.")
        start = int(token)
        end = start + (request.page_size or _DEFAULT_PAGE)
        repeated = next(f for f in response.DESCRIPTOR.fields if f.message_type is not None)
        getattr(response, repeated.name).extend(items[start:end])
        if end < len(items):
            response.next_page_token = str(end)
        return response

    def _create(self, method: Method, noun: str, request: Any) -> Any:
        resource = getattr(request, _field(noun))
        kept = self.add(noun, resource, parent=getattr(request, "parent", ""))
        response = method.response()
        holder = getattr(response, _field(noun), response)
        holder.CopyFrom(kept)
        return response

    def _get(self, _method: Method, _noun: str, request: Any) -> Any:
        return self.find(request.name)

    def _list(self, method: Method, noun: str, request: Any) -> Any:
        prefix = _join(getattr(request, "parent", ""), COLLECTIONS[noun]) + "/"
        found = self.snapshot(prefix)
        items = [item for name, item in found if "/" not in name[len(prefix) :]]
        return self.page(request, items, method.response())

    def _update(self, _method: Method, noun: str, request: Any) -> Any:
        return self.update(getattr(request, _field(noun)), request.update_mask)

    def _delete(self, method: Method, _noun: str, request: Any) -> Any:
        self.delete(request.name)
        return method.response()

    def _settle(self, noun: str, kept: Any) -> None:
        """Fills in what the service itself says of a resource."""
        if noun == "CachedContent":
            if kept.WhichOneof("expiration") != "expire_time":
                lifetime = kept.ttl.ToSeconds() or _CACHE_LIFETIME
                kept.expire_time.FromSeconds(int(self._clock()) + lifetime)
            texts = [part.text for content in kept.contents for part in content.parts]
            if texts:
                kept.usage_metadata.total_token_count = sum(len(text.split()) for text in texts)
                # Only the service reads them.
                kept.ClearField("contents")
        elif noun == "Chunk":
            kept.state = int(glm.Chunk.State.STATE_ACTIVE)
        elif noun == "File":
            kept.state = int(glm.File.State.ACTIVE)
            kept.expiration_time.FromSeconds(int(self._clock()) + _FILE_LIFETIME)

    def _now(self) -> Any:
        stamp = timestamp_pb2.Timestamp()
        stamp.FromMicroseconds(int(self._clock() * 1_000_000))
        return stamp


def _newest(noun: str, resource: Any) -> Any:
    """A copy of a resource; of the SDK's class if the server has no newer one."""
    newer = _schemas.find("gemini", noun)
    if newer is None or not resource.DESCRIPTOR.full_name.startswith("google.ai."):
        return _copy(resource)
    return newer.FromString(resource.SerializeToString())


def _copy(message: Any) -> Any:
    copied = type(message)()
    copied.CopyFrom(message)
    return copied


def _join(*parts: str) -> str:
    return "/".join(filter(None, parts))


def _field(noun: str) -> str:
    """The field that holds a resource: "CachedContent" is in ``cached_content``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", noun).lower()
