"""Where a request came in, and whose it is."""

from __future__ import annotations

from typing import NamedTuple

from genai_config.testing._service.errors import SERVICE, VERTEX


class Origin(NamedTuple):
    """A service, a place in it, and a caller.

    Attributes:
        service: The service's host name.
        place: "projects/P/locations/L" on Vertex AI; empty on the Gemini API, and for express keys.
        identity: The name of the key or account.
    """

    service: str = SERVICE
    place: str = ""
    identity: str | None = None

    @property
    def on_vertex(self) -> bool:
        """Whether it is Vertex AI."""
        return self.service == VERTEX
