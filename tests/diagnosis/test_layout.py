"""How texts are laid out: in columns, with every command in one piece."""

from __future__ import annotations

import pytest

from genai_config._auth.credentials import login_command
from genai_config._diagnosis.layout import wrapped


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (f"log in with the scopes: {login_command()} (a key needs none).", login_command()),
        ("gcloud projects add-iam-policy-binding p --member='user:YOU or NAME' --role=r; try it.",
         "gcloud projects add-iam-policy-binding p --member='user:YOU or NAME' --role=r"),
        ("first of all export KEY=\"$(printf %s \"$KEY\" | tr -d '[:space:]')\"",
         "export KEY=\"$(printf %s \"$KEY\" | tr -d '[:space:]')\""),
        ("see them all with genai-config doctor --online --model tunedModels/mine. Then think.",
         "genai-config doctor --online --model tunedModels/mine"),
        ('use safe_configure(transport="rest", tuned_transport="rest"), or an exception in it.',
         'safe_configure(transport="rest", tuned_transport="rest")'),
    ],
)  # fmt: skip
@pytest.mark.parametrize("width", [20, 40, 53])
def test_a_command_is_never_wrapped(text: str, command: str, width: int) -> None:
    """Pasted, its first line alone would run something else."""
    lines = wrapped(text, width)
    assert any(command in line for line in lines)
    assert " ".join(lines) == text
    assert all(len(line) <= width or command.partition(" ")[0] in line for line in lines)
