"""What those who look on are told of a request: a line of a log, and attributes of a span."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_config._routing.decision import Route

_log = logging.getLogger("genai_config.requests")


def tell(call: str, route: Route) -> None:
    """Logs how a request is sent, and notes it on OpenTelemetry's current span.

    Args:
        call: The service and the method, such as "generative.generate_content".
        route: How the request is sent.
    """
    _log.debug("%s: %s over %s", call, route.auth, route.transport)
    # Whoever traces has imported it; for the others it is not even looked for.
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attributes(
            {
                "genai_config.call": call,
                "genai_config.auth": route.auth,
                "genai_config.transport": route.transport,
            }
        )
