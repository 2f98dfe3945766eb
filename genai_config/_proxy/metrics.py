"""What the proxy counts, in Prometheus' text form: https://prometheus.io/docs/instrumenting."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genai_config._auth.events import TokenEvent

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counts; nothing in them names a caller, a model or a secret."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.seconds = 0.0
        self.answers: Counter[int] = Counter()
        self.upstream: Counter[int] = Counter()
        self.tokens: Counter[str] = Counter()

    def token_fetched(self, event: TokenEvent) -> None:
        """Counts an access token, or a failure to get one."""
        self.tokens["ok" if event.error is None else "failed"] += 1

    def text(self) -> str:
        """All of them."""
        lines = [
            *_counter("requests_total", "Answered requests, by status.", "status", self.answers),
            *_counter(
                "upstream_responses_total",
                "Responses of the service, by status; those of refused tokens included.",
                "status",
                self.upstream,
            ),
            *_counter("token_fetches_total", "Access tokens fetched.", "result", self.tokens),
            *_metric("requests_in_flight", "gauge", "Requests under way."),
            f"genai_config_proxy_requests_in_flight {self.in_flight}",
            *_metric("request_seconds_total", "counter", "Seconds spent on answered requests."),
            f"genai_config_proxy_request_seconds_total {self.seconds:.6f}",
        ]
        return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, described: str) -> list[str]:
    name = f"genai_config_proxy_{name}"
    return [f"# HELP {name} {described}", f"# TYPE {name} {kind}"]


def _counter(
    name: str, described: str, label: str, counts: Counter[int] | Counter[str]
) -> list[str]:
    return [
        *_metric(name, "counter", described),
        *(
            f'genai_config_proxy_{name}{{{label}="{value}"}} {count}'
            for value, count in sorted(counts.items(), key=str)
        ),
    ]
