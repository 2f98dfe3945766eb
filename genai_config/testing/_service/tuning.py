"""Tuning: operations that advance with each look at them, and end in a tuned model."""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any

from google.ai import generativelanguage_v1beta as glm
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2
from google.rpc import code_pb2

from genai_config.testing._service.errors import ServiceError
from genai_config.testing._service.models import not_found

if TYPE_CHECKING:
    from collections.abc import Callable

    from genai_config.testing._service.models import Models
    from genai_config.testing._service.stores import Store

_STEPS = 100


class Tuning:
    """The running and finished operations.

    Args:
        store: Where the tuned models are kept.
        polls: How often an operation must be looked at until it is done.
        models: Whether there is any tuning.
    """

    def __init__(self, store: Store, polls: int, models: Models) -> None:
        self._store = store
        self._models = models
        self._polls = polls
        self._lock = threading.Lock()
        self._looks: dict[str, int] = {}
        self._cancelled: set[str] = set()

    @property
    def handlers(self) -> dict[str, Callable[[Any], Any]]:
        """What answers which method."""
        return {
            "ModelService.CreateTunedModel": self._create,
            "Operations.GetOperation": self._get,
            "Operations.WaitOperation": self._wait,
            "Operations.ListOperations": self._list,
            "Operations.CancelOperation": self._cancel,
            "Operations.DeleteOperation": self._delete,
        }

    def _create(self, request: Any) -> Any:
        if self._models.tuning == "ended":
            raise not_found(request.tuned_model.base_model, "createTunedModel")
        wanted = type(request.tuned_model)()
        wanted.CopyFrom(request.tuned_model)
        wanted.state = int(glm.TunedModel.State.CREATING)
        # The training data is input only: the service never shows it again.
        wanted.tuning_task.ClearField("training_data")
        label = re.sub(r"[^a-z0-9]+", "-", wanted.display_name.lower()).strip("-")
        taken = f"tunedModels/{label}" in self._store.items
        model = self._store.add(
            "TunedModel",
            wanted,
            identifier=getattr(request, "tuned_model_id", "") or ("" if taken else label),
        )
        name = f"{model.name}/operations/create"
        with self._lock:
            self._looks[name] = 0
        return self._operation(name, 0)

    def _get(self, request: Any) -> Any:
        with self._lock:
            looks = self._looks.get(request.name)
            if looks is None:
                raise _missing(request.name)
            self._looks[request.name] = looks = min(looks + 1, self._polls)
        return self._operation(request.name, looks)

    def _wait(self, request: Any) -> Any:
        with self._lock:
            if request.name in self._looks:
                self._looks[request.name] = self._polls
        return self._get(request)

    def _list(self, request: Any) -> Any:
        with self._lock:
            looks = [(n, k) for n, k in self._looks.items() if n.startswith(request.name)]
        items = [self._operation(name, count) for name, count in looks]
        return self._store.page(request, items, operations_pb2.ListOperationsResponse())

    def _cancel(self, request: Any) -> Any:
        with self._lock:
            looks = self._looks.get(request.name)
            if looks is None:
                raise _missing(request.name)
            if looks < self._polls:
                self._cancelled.add(request.name)
        if request.name in self._cancelled:
            failed = int(glm.TunedModel.State.FAILED)
            with contextlib.suppress(ServiceError):  # it may have been deleted
                self._store.replace(_model_of(request.name), state=failed)
        return empty_pb2.Empty()

    def _delete(self, request: Any) -> Any:
        self._get(request)
        with self._lock:
            del self._looks[request.name]
        return empty_pb2.Empty()

    def _operation(self, name: str, looks: int) -> Any:
        model_name = _model_of(name)
        done = looks >= self._polls
        steps = _STEPS * looks // self._polls if self._polls else _STEPS
        operation = operations_pb2.Operation(name=name, done=done or name in self._cancelled)
        operation.metadata.Pack(
            glm.CreateTunedModelMetadata.pb(
                glm.CreateTunedModelMetadata(
                    tuned_model=model_name,
                    total_steps=_STEPS,
                    completed_steps=steps,
                    completed_percent=100.0 * steps / _STEPS,
                    snapshots=[glm.TuningSnapshot(step=steps, epoch=1, mean_loss=1 / (1 + steps))],
                )
            )
        )
        if name in self._cancelled:
            operation.error.code = 1
            operation.error.message = "The operation was cancelled."
        elif done:
            active = int(glm.TunedModel.State.ACTIVE)
            try:
                operation.response.Pack(self._store.replace(model_name, state=active))
            except ServiceError as error:
                # An operation outlives its model.
                operation.error.code = code_pb2.Code.Value(error.status)
                operation.error.message = error.message
        return operation


def _model_of(operation: str) -> str:
    return operation.partition("/operations/")[0]


def _missing(name: str) -> ServiceError:
    return ServiceError("NOT_FOUND", f"{name} does not exist.")
