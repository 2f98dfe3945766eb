"""The page about moving: its transcript is what a reader sees, on the program that it names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")
pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.skipif(not shutil.which("bash"), reason="the page shows a shell")
@pytest.mark.timeout(400)
def test_three_commands_move_the_program(tmp_path: Path) -> None:
    """Adopted, compared with its moved copy without a difference, and moved: nothing is left."""
    page = (DOCS / "google-genai.md").read_text(encoding="utf-8")
    _, transcript = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    lines = transcript.splitlines()
    commands = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    shutil.copy(DOCS / "examples" / "assistant.py", tmp_path)
    ours = f'"{sys.executable}" -W ignore'
    prelude = f'genai-config() {{ {ours} -m genai_config "$@"; }}; set -e'
    again = "genai-config migrate --to google-genai --check assistant.py"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(  # noqa: S603 -- our own
        ["bash", "-c", "\n".join([prelude, *commands, again])],  # noqa: S607 -- the reader's
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    expected = [line for line in lines if not line.startswith("$ ")]
    assert done.stdout.splitlines()[:-1] == expected, done.stderr
    assert done.returncode == 0
    moved = (tmp_path / "assistant.py").read_text(encoding="utf-8")
    assert "generativeai" not in moved.partition('"""')[2].partition('"""')[2]
