"""How much is tried: a busy machine is no counterexample, and a night is long."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "genai-config",
    deadline=None,
    max_examples=2_000 if os.environ.get("GENAI_CONFIG_HEAVY") else 50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("genai-config")
