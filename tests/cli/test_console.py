"""What the command line prints in place of Python."""

from __future__ import annotations

import pytest

from genai_config._cli.console import in_options


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("location='evil' is not valid.", "--location evil is not valid."),
        ("credentials= (not given); x", "--credentials (not given); x"),
        ("give base_url='https://a/b', or leave it.", "give --base-url https://a/b, or leave it."),
        ("or: safe_configure(credentials='/path/key.json')", "or: --credentials /path/key.json"),
        (
            'safe_configure(api_key="…") or export GEMINI_API_KEY=…',
            "export GEMINI_API_KEY=…",
        ),
        ("gcloud … --project=my-project", "gcloud … --project=my-project"),
        ("safe_configure(ca_certs='/x.pem')", "safe_configure(ca_certs='/x.pem')"),
    ],
)
def test_arguments_become_options(text: str, shown: str) -> None:
    """Those that the commands have; commands of others stay as they are."""
    assert in_options(text) == shown
