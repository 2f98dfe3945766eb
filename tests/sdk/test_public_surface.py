"""Every public function of the SDK that makes a request, against the local server.

The table says what each one is called with and which request it is to end in. `test_complete`
walks the SDK and fails if a function is neither in the table nor known to stay at home.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import gc
import inspect
import types
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import google.generativeai as genai
import httplib2
import pytest
from google.ai import generativelanguage_v1beta as glm
from google.api_core.exceptions import NotFound
from google.api_core.future import polling
from google.generativeai import answer, caching, models, operations, permission, protos, retriever
from google.generativeai import client as client_lib
from google.generativeai.types import file_types, permission_types, retriever_types
from google.oauth2 import service_account

import genai_config
from genai_config.testing._service import rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from genai_config.testing import GeminiServer

BASE, EMBEDDER = "gemini-3.6-flash", "gemini-embedding-2"
CORPUS, DOCUMENT, CHUNK = (
    "corpora/c0",
    "corpora/c0/documents/d0",
    "corpora/c0/documents/d0/chunks/k0",
)
TUNED, CACHED, FILE = "tunedModels/t0", "cachedContents/x0", "files/f0"
ON_CORPUS, ON_TUNED = f"{CORPUS}/permissions/p0", f"{TUNED}/permissions/p0"
NOW = dt.datetime.now(dt.timezone.utc)
AT_ONCE = polling.DEFAULT_POLLING.with_delay(0.001, 0.001)
USER = "me@example.com"

WALKED = {
    "genai": genai,
    "models": models,
    "operations": operations,
    "retriever": retriever,
    "permission": permission,
    "answer": answer,
    "GenerativeModel": genai.GenerativeModel,
    "ChatSession": genai.ChatSession,
    "CachedContent": caching.CachedContent,
    "CreateTunedModelOperation": operations.CreateTunedModelOperation,
    "Corpus": retriever_types.Corpus,
    "Document": retriever_types.Document,
    "Chunk": retriever_types.Chunk,
    "Permission": permission_types.Permission,
    "Permissions": permission_types.Permissions,
    "File": file_types.File,
}

AT_HOME = {
    "genai.configure",
    "answer.to_answer_style",
    "operations.from_gapic",
    "GenerativeModel.start_chat",
    "ChatSession.rewind",
    "CreateTunedModelOperation.from_core_operation",
    "CreateTunedModelOperation.from_proto",
    "CreateTunedModelOperation.set_result",
    *(f"{name}.to_dict" for name in ("Corpus", "Document", "Chunk", "Permission", "File")),
    "File.to_proto",
}
"""What makes no request."""


class Case(NamedTuple):
    """What a function is called with.

    Attributes:
        method: The last request that it makes.
        call: Calls it; what comes back is awaited, or read to its end.
        fails: The SDK's own failure, whatever the server says.
        rest_fails: Its failure over REST.
    """

    method: str
    call: Callable[[], Any]
    fails: type[Exception] | None = None
    rest_fails: type[Exception] | None = None


def corpus() -> Any:
    """The corpus, as the SDK knows it."""
    return retriever_types.Corpus(CORPUS, "c", NOW, NOW)


def document() -> Any:
    """The document."""
    return retriever_types.Document(DOCUMENT, "d", [], NOW, NOW)


def chunk() -> Any:
    """The chunk."""
    return retriever_types.Chunk(CHUNK, "blue sky", [], retriever_types.to_state(2))


def granted(name: str = ON_TUNED) -> Any:
    """A permission."""
    return permission_types.Permission(name, "READER", "USER", USER)


def grants(parent: str = TUNED) -> Any:
    """The permissions on something."""
    return permission_types.Permissions(parent)


def cached() -> Any:
    """The cached content."""
    return caching.CachedContent._from_obj({"name": CACHED, "model": f"models/{BASE}"})


def tuning() -> Any:
    """A tuning that has just begun."""
    return genai.create_tuned_model(f"models/{BASE}", [("a", "b")], display_name="new")


def model() -> Any:
    """A model."""
    return genai.GenerativeModel(BASE)


def change(number: int = 0) -> Any:
    """A change of the chunk."""
    data = {"name": CHUNK, "data": {"string_value": f"changed {number}"}}
    return protos.UpdateChunkRequest(chunk=data, update_mask={"paths": ["data.string_value"]})


def changes() -> Any:
    """The same in a batch."""
    return protos.BatchUpdateChunksRequest(parent=DOCUMENT, requests=[change()])


def passages(source: str) -> Any:
    """What to search for an answer, and where."""
    return {"contents": "sky?", "semantic_retriever": {"source": source, "query": "sky"}}


GENERATE, STREAM = "GenerativeService.GenerateContent", "GenerativeService.StreamGenerateContent"
ANSWER = "GenerativeService.GenerateAnswer"
UPLOADS = ("Discovery.GetRest", "FileService.CreateFile", "FileService.UploadMedia")
ROLE = {"role": "WRITER"}
NAMED = {"display_name": "new"}
SAID = {"data.string_value": "new"}

CASES = {
    "genai.embed_content": [
        Case("GenerativeService.EmbedContent",
             lambda: genai.embed_content(f"models/{EMBEDDER}", "hi")),
        Case("GenerativeService.BatchEmbedContents",
             lambda: genai.embed_content(f"models/{EMBEDDER}", ["hi", "there"])),
    ],
    "genai.embed_content_async": [
        Case("GenerativeService.EmbedContent",
             lambda: genai.embed_content_async(f"models/{EMBEDDER}", "hi")),
        Case("GenerativeService.BatchEmbedContents",
             lambda: genai.embed_content_async(f"models/{EMBEDDER}", ["hi", "there"])),
    ],
    "genai.upload_file": [Case("FileService.GetFile", lambda: genai.upload_file(__file__))],
    "genai.get_file": [Case("FileService.GetFile", lambda: genai.get_file(FILE))],
    "genai.list_files": [Case("FileService.ListFiles", genai.list_files)],
    "genai.delete_file": [Case("FileService.DeleteFile", lambda: genai.delete_file(FILE))],
    "File.delete": [
        Case("FileService.DeleteFile", lambda: file_types.File({"name": FILE}).delete()),
    ],
    "genai.list_models": [Case("ModelService.ListModels", genai.list_models)],
    "genai.list_tuned_models": [Case("ModelService.ListTunedModels", genai.list_tuned_models)],
    "genai.get_model": [
        Case("ModelService.GetModel", lambda: genai.get_model(f"models/{BASE}")),
        Case("ModelService.GetTunedModel", lambda: genai.get_model(TUNED)),
    ],
    "genai.get_base_model": [
        Case("ModelService.GetModel", lambda: genai.get_base_model(f"models/{BASE}")),
    ],
    "genai.get_tuned_model": [
        Case("ModelService.GetTunedModel", lambda: genai.get_tuned_model(TUNED)),
    ],
    "models.get_base_model_name": [
        Case("ModelService.GetTunedModel", lambda: models.get_base_model_name(TUNED)),
    ],
    "genai.create_tuned_model": [
        Case("ModelService.CreateTunedModel", tuning),
        Case("Operations.GetOperation", lambda: tuning().result(polling=AT_ONCE)),
    ],
    "genai.update_tuned_model": [
        Case("ModelService.UpdateTunedModel",
             lambda: genai.update_tuned_model(TUNED, {"description": "new"})),
        Case("ModelService.UpdateTunedModel",
             lambda: genai.update_tuned_model(protos.TunedModel(name=TUNED, description="new"))),
    ],
    "genai.delete_tuned_model": [
        Case("ModelService.DeleteTunedModel", lambda: genai.delete_tuned_model(TUNED)),
    ],
    "genai.list_operations": [
        # It asks for the operations of "", for which the SDK's REST transport has no URL.
        Case("Operations.ListOperations", genai.list_operations, rest_fails=ValueError),
    ],
    "genai.get_operation": [
        Case("Operations.GetOperation", lambda: genai.get_operation(tuning().name)),
    ],
    "operations.delete_operation": [
        # The service's REST interface has no such method.
        Case("Operations.DeleteOperation",
             lambda: operations.delete_operation(tuning().name), rest_fails=NotFound),
    ],
    "CreateTunedModelOperation.update": [
        Case("Operations.GetOperation", lambda: tuning().update()),
    ],
    "CreateTunedModelOperation.wait_bar": [
        Case("Operations.GetOperation", lambda: tuning().wait_bar(disable=True)),
    ],
    "GenerativeModel.generate_content": [
        Case(GENERATE, lambda: model().generate_content("hi")),
        Case(STREAM, lambda: model().generate_content("hi", stream=True)),
    ],
    "GenerativeModel.generate_content_async": [
        Case(GENERATE, lambda: model().generate_content_async("hi")),
        Case(STREAM, lambda: model().generate_content_async("hi", stream=True)),
    ],
    "GenerativeModel.count_tokens": [
        Case("GenerativeService.CountTokens", lambda: model().count_tokens("hi")),
    ],
    "GenerativeModel.count_tokens_async": [
        Case("GenerativeService.CountTokens", lambda: model().count_tokens_async("hi")),
    ],
    "GenerativeModel.from_cached_content": [
        Case("CacheService.GetCachedContent",
             lambda: genai.GenerativeModel.from_cached_content(CACHED)),
        Case(GENERATE,
             lambda: genai.GenerativeModel.from_cached_content(cached()).generate_content("hi")),
    ],
    "ChatSession.send_message": [
        Case(GENERATE, lambda: model().start_chat().send_message("hi")),
        Case(STREAM, lambda: model().start_chat().send_message("hi", stream=True)),
    ],
    "ChatSession.send_message_async": [
        Case(GENERATE, lambda: model().start_chat().send_message_async("hi")),
        Case(STREAM, lambda: model().start_chat().send_message_async("hi", stream=True)),
    ],
    "CachedContent.create": [
        Case("CacheService.CreateCachedContent",
             lambda: caching.CachedContent.create(BASE, contents="a b", ttl=60)),
    ],
    "CachedContent.get": [
        Case("CacheService.GetCachedContent", lambda: caching.CachedContent.get("x0")),
        Case("CacheService.GetCachedContent", lambda: caching.CachedContent("x0")),
    ],
    "CachedContent.list": [Case("CacheService.ListCachedContents", caching.CachedContent.list)],
    "CachedContent.update": [
        Case("CacheService.UpdateCachedContent", lambda: cached().update(ttl=60)),
    ],
    "CachedContent.delete": [Case("CacheService.DeleteCachedContent", lambda: cached().delete())],
    "answer.generate_answer": [
        Case(ANSWER, lambda: answer.generate_answer(contents="sky?", inline_passages=["blue"])),
        Case(ANSWER, lambda: answer.generate_answer(**passages(CORPUS))),
        # The SDK looks for a query in a dict that it has just made without one.
        Case(ANSWER, lambda: answer.generate_answer(contents="x", semantic_retriever=corpus()),
             fails=KeyError),
    ],
    "answer.generate_answer_async": [
        Case(ANSWER,
             lambda: answer.generate_answer_async(contents="sky?", inline_passages=["blue"])),
        Case(ANSWER, lambda: answer.generate_answer_async(**passages(DOCUMENT))),
    ],
    "Chunk.update": [Case("RetrieverService.UpdateChunk", lambda: chunk().update(SAID))],
    "Chunk.update_async": [
        Case("RetrieverService.UpdateChunk", lambda: chunk().update_async(SAID)),
    ],
    "Permission.delete": [
        Case("PermissionService.DeletePermission", lambda: granted(ON_CORPUS).delete()),
    ],
    "Permission.delete_async": [
        Case("PermissionService.DeletePermission", lambda: granted().delete_async()),
    ],
    "Permission.update": [
        Case("PermissionService.UpdatePermission", lambda: granted(ON_CORPUS).update(ROLE)),
    ],
    "Permission.update_async": [
        Case("PermissionService.UpdatePermission", lambda: granted().update_async(ROLE)),
    ],
    "Permissions.transfer_ownership": [
        Case("PermissionService.TransferOwnership", lambda: grants().transfer_ownership(USER)),
        # The SDK itself knows no transfer of a corpus.
        Case(
            "",
            lambda: grants(CORPUS).transfer_ownership(USER),
            fails=NotImplementedError,  # the SDK's own answer
        ),
    ],
    "Permissions.transfer_ownership_async": [
        Case("PermissionService.TransferOwnership",
             lambda: grants().transfer_ownership_async("other@example.com")),
    ],
}  # fmt: skip


def both(name: str, request: str, owner: Callable[[], Any], *arguments: Any) -> None:
    """Adds a function and its async twin, which take the same.

    Args:
        name: The name of the function.
        request: The request that it makes.
        owner: Makes the object, or finds the module, that it belongs to.
        arguments: What it is called with.
    """
    for twin in (name, f"{name}_async"):
        call = functools.partial(_call, owner, twin.partition(".")[2], *arguments)
        CASES.setdefault(twin, []).append(Case(request, call))


def _call(owner: Callable[[], Any], name: str, *arguments: Any) -> Any:
    return getattr(owner(), name)(*arguments)


both("retriever.create_corpus", "RetrieverService.CreateCorpus", lambda: retriever, "c1")
both("retriever.get_corpus", "RetrieverService.GetCorpus", lambda: retriever, "c0")
both("retriever.delete_corpus", "RetrieverService.DeleteCorpus", lambda: retriever, "c0", True)
CASES["retriever.list_corpora"] = [Case("RetrieverService.ListCorpora", retriever.list_corpora)]
CASES["retriever.list_corpora_async"] = [
    Case("RetrieverService.ListCorpora", retriever.list_corpora_async)
]
both("Corpus.create_document", "RetrieverService.CreateDocument", corpus, "d1")
both("Corpus.get_document", "RetrieverService.GetDocument", corpus, "d0")
both("Corpus.delete_document", "RetrieverService.DeleteDocument", corpus, "d0", True)
both("Corpus.list_documents", "RetrieverService.ListDocuments", corpus)
both("Corpus.update", "RetrieverService.UpdateCorpus", corpus, NAMED)
both("Corpus.query", "RetrieverService.QueryCorpus", corpus, "blue")
both("Corpus.create_permission", "PermissionService.CreatePermission", corpus, "READER", "EVERYONE")
both("Corpus.list_permissions", "PermissionService.ListPermissions", corpus)
both("Document.create_chunk", "RetrieverService.CreateChunk", document, "text", "k1")
both("Document.get_chunk", "RetrieverService.GetChunk", document, "k0")
both("Document.list_chunks", "RetrieverService.ListChunks", document)
both("Document.delete_chunk", "RetrieverService.DeleteChunk", document, "k0")
both("Document.update", "RetrieverService.UpdateDocument", document, NAMED)
both("Document.query", "RetrieverService.QueryDocument", document, "sky")
both("Document.batch_create_chunks", "RetrieverService.BatchCreateChunks", document, ["a", "b"])
both("Document.batch_delete_chunks", "RetrieverService.BatchDeleteChunks", document, [CHUNK])
both("Document.batch_update_chunks", "RetrieverService.BatchUpdateChunks", document, {"k0": SAID})
both("Document.batch_update_chunks", "RetrieverService.BatchUpdateChunks", document, [change()])
both("Document.batch_update_chunks", "RetrieverService.BatchUpdateChunks", document, changes())
# The SDK forgets to await the request.
CASES["Document.batch_update_chunks_async"][-1] = CASES["Document.batch_update_chunks_async"][
    -1
]._replace(fails=AttributeError)
both("permission.get_permission", "PermissionService.GetPermission", lambda: permission, ON_TUNED)
both("Permission.get", "PermissionService.GetPermission", granted, ON_CORPUS)
both("Permissions.get", "PermissionService.GetPermission", grants, ON_TUNED)
both("Permissions.list", "PermissionService.ListPermissions", grants)
both("Permissions.create", "PermissionService.CreatePermission", grants, "READER", "USER", USER)

EACH = [
    pytest.param(name, case, id=f"{name}-{number}")
    for name, cases in CASES.items()
    for number, case in enumerate(cases)
]
SYNC = [one for one in EACH if not str(one.values[0]).endswith("_async")]


@pytest.fixture(autouse=True)
def stocked(server: GeminiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one of each resource, and the SDK's upload finds the server."""
    monkeypatch.setattr(client_lib, "GENAI_API_DISCOVERY_URL", server.discovery_url)
    monkeypatch.setattr(httplib2, "CA_CERTS", str(server.ca_file))
    for resource in (
        glm.Corpus(name=CORPUS),
        glm.Document(name=DOCUMENT),
        glm.Chunk(name=CHUNK, data={"string_value": "blue sky"}),
        glm.TunedModel(name=TUNED, base_model=f"models/{BASE}"),
        glm.CachedContent(name=CACHED, model=f"models/{BASE}"),
        glm.File(name=FILE),
        glm.Permission(name=ON_CORPUS, role="READER"),
        glm.Permission(name=ON_TUNED, role="OWNER", email_address=USER),
    ):
        kind = type(resource)
        server._service.behaviour.store.add(kind.__name__, kind.pb(resource))


async def finish_async(call: Callable[[], Any]) -> None:
    """Calls in an event loop, awaits what comes back, and reads it to its end."""
    result = call()
    if inspect.isawaitable(result):
        result = await result
    if hasattr(result, "__aiter__"):
        async for _ in result:
            pass


def finish(name: str, call: Callable[[], Any]) -> None:
    """Calls, and waits for all that comes back."""
    if name.endswith("_async"):
        asyncio.run(finish_async(call))
        return
    result = call()
    if isinstance(result, types.GeneratorType | genai.types.GenerateContentResponse):
        for _ in result:
            pass


def exercise(server: GeminiServer, name: str, case: Case, *, rest: bool) -> None:
    """Makes the call and looks at what the server saw of it."""
    fails = case.fails or (case.rest_fails if rest else None)
    with warnings.catch_warnings():
        # Of what is deprecated in the SDK, and of what the SDK uses of others' deprecated parts.
        warnings.simplefilter("ignore", DeprecationWarning)
        if fails is not None:
            # Of the coroutine that the SDK does not await.
            warnings.simplefilter("ignore", RuntimeWarning)
            with pytest.raises(fails):
                finish(name, case.call)
            gc.collect()
            return
        finish(name, case.call)
    last = server.requests[-1]
    assert (last.method, last.status) == (case.method, "OK")
    # Uploads have a way of their own.
    transports = {one.transport for one in server.requests if one.method not in UPLOADS}
    assert transports == {"rest" if rest else "grpc"}


def public_functions() -> Iterator[str]:
    """The SDK's public functions and methods, each once, as the table calls them."""
    seen: set[int] = set()
    for place, holder in WALKED.items():
        for name, value in vars(holder).items():
            function = getattr(value, "__func__", value)
            if name.startswith("_") or not inspect.isfunction(function) or id(function) in seen:
                continue
            imported = (
                isinstance(holder, types.ModuleType) and function.__module__ != holder.__name__
            )
            if holder is genai or not imported:
                seen.add(id(function))
                yield f"{place}.{name}"


def test_complete() -> None:
    """Every public function is in the table or makes no request, and there are no others."""
    found = set(public_functions())
    assert found == CASES.keys() | AT_HOME
    assert not CASES.keys() & AT_HOME


@pytest.mark.usefixtures("configured", "adc")
@pytest.mark.parametrize(("name", "case"), EACH)
def test_configured_over_grpc(server: GeminiServer, name: str, case: Case) -> None:
    """With this library's configuration: a key, and OAuth where it is needed."""
    exercise(server, name, case, rest=False)


@pytest.mark.usefixtures("configured", "adc")
@pytest.mark.parametrize(("name", "case"), EACH)
def test_configured_over_rest(server: GeminiServer, name: str, case: Case) -> None:
    """The same over REST, of which the bare SDK's async functions are not capable."""
    genai_config.safe_configure(
        transport="rest",
        tuned_transport="rest",
        client_options={"api_endpoint": server.rest_endpoint},
    )
    exercise(server, name, case, rest=True)


def configure_bare(options: dict[str, Any], name: str, key: str, path: Path) -> None:
    """The bare SDK with what the function needs, one thing for all: a key for uploads, or OAuth."""
    if name == "genai.upload_file":
        genai.configure(api_key=key, **options)
        return
    scopes = [rules.CLOUD_PLATFORM, rules.TUNING, rules.RETRIEVER]
    credentials = service_account.Credentials.from_service_account_file(path, scopes=scopes)
    genai.configure(credentials=credentials, **options)


@pytest.mark.parametrize(("name", "case"), EACH)
def test_bare_over_grpc(
    server: GeminiServer, bare: Callable[..., Any], name: str, case: Case
) -> None:
    """The bare SDK, with the right credentials."""
    configure_bare(bare(), name, server.api_key(), server.service_account_file())
    exercise(server, name, case, rest=False)


@pytest.mark.parametrize(("name", "case"), SYNC)
def test_bare_over_rest(
    server: GeminiServer, bare: Callable[..., Any], name: str, case: Case
) -> None:
    """The same over REST."""
    configure_bare(bare(transport="rest"), name, server.api_key(), server.service_account_file())
    exercise(server, name, case, rest=True)
