"""The tests pass wherever the checkout is: what they print contains its path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WIDTH_SENSITIVE = ["tests/diagnosis/test_explain.py", "tests/cli/test_diagnosis.py"]


def test_the_checkouts_path_may_be_long(tmp_path: Path) -> None:
    """Those that count columns, in a copy of this checkout below a folder with a long name."""
    place = tmp_path / ("a-folder-with-a-long-name-" * 5)
    for part in ("genai_config", "tests"):
        shutil.copytree(ROOT / part, place / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", place)
    chosen = "columns or as_a_program or fits"
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", chosen]
    done = subprocess.run(  # noqa: S603 -- our own
        [sys.executable, "-m", "pytest", *options, *WIDTH_SENSITIVE],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout
