"""What a test asserts about the requests that a server has recorded, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genai_config.testing._service.recording import RecordedRequest
    from genai_config.testing.server import GeminiServer

_COLUMNS = ("method", "resource", "transport", "auth", "identity", "status")


def assert_requests(
    recorded: GeminiServer | Iterable[RecordedRequest],
    count: int | None = None,
    **expected: Any,
) -> None:
    """Asserts that there are requests, and that each is as expected.

    Args:
        recorded: The server, or some of its requests.
        count: How many there are; None: at least one.
        **expected: Fields of `RecordedRequest` and the value that each request has there:
            ``auth="oauth"``, ``transport="grpc"``, ``identity="mine"`` …; of ``scopes``, those
            that the token must have among its own.

    Raises:
        AssertionError: They are not; the message shows all of them.
        TypeError: There is no such field.
    """
    holder: Any = recorded
    requests: list[RecordedRequest] = list(getattr(holder, "requests", holder))
    wanted = ", ".join(f"{name}={value!r}" for name, value in expected.items())
    if count is None:
        assert requests, f"No request was recorded; expected some with {wanted}."  # noqa: S101 -- its purpose
    else:
        assert len(requests) == count, (  # noqa: S101 -- its purpose
            f"{len(requests)} requests were recorded, not {count}:\n{_table(requests)}"
        )
    wrong = [r for r in requests if not all(_matches(r, *field) for field in expected.items())]
    assert not wrong, (  # noqa: S101 -- its purpose
        f"{len(wrong)} of {len(requests)} requests are not {wanted}:\n{_table(wrong)}"
    )


def assert_auth(
    recorded: GeminiServer | Iterable[RecordedRequest], auth: str, **expected: Any
) -> None:
    """Asserts which kind of credentials each request carried.

    Args:
        recorded: The server, or some of its requests.
        auth: "api_key", "oauth" or "none".
        **expected: As for `assert_requests`, ``count`` too.
    """
    assert_requests(recorded, auth=auth, **expected)


def _matches(request: RecordedRequest, name: str, wanted: Any) -> bool:
    try:
        found = getattr(request, name)
    except AttributeError:
        fields = ", ".join(type(request).__dataclass_fields__)
        raise TypeError(f"A request has no field {name!r}; it has {fields}.") from None
    return frozenset(wanted) <= found if name == "scopes" else bool(found == wanted)


def _table(requests: list[RecordedRequest]) -> str:
    rows = [_COLUMNS, *(tuple(str(getattr(r, name)) for name in _COLUMNS) for r in requests)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
