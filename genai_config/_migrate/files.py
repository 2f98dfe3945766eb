"""Finds, reads and writes Python files, and runs a step over them; the only I/O of this room."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import libcst as cst

from genai_config._masking import described
from genai_config._migrate.adopt import adopt
from genai_config._migrate.masked_code import masked_code
from genai_config._migrate.moving import move
from genai_config._migrate.report import FileReport, Site

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Step = Literal["adopt", "google-genai"]

_SKIPPED = frozenset(("__pycache__", "node_modules", "site-packages", "venv", "env", "build"))
_SIGNS = ("google.generativeai", "google.ai", "generativeai")


def found_files(paths: Iterable[Path]) -> Iterator[Path]:
    """The given files, and the Python files in the given folders; not hidden ones or environments.

    Raises:
        FileNotFoundError: There is no such file or folder.
    """
    for path in paths:
        if path.is_dir():
            for found in sorted(path.rglob("*.py")):
                inner = found.relative_to(path).parts
                if not any(part.startswith(".") or part in _SKIPPED for part in inner):
                    yield found
        elif path.exists():
            yield path
        else:
            raise FileNotFoundError(str(path))


def run(paths: Iterable[Path], step: Step) -> list[FileReport]:
    """Runs a step over the files that use the old SDK, and reports the results; writes nothing.

    Raises:
        FileNotFoundError: There is no such file or folder.
    """
    texts: dict[Path, str] = {}
    reports: list[FileReport] = []
    for path in dict.fromkeys(found_files(paths)):
        text, problem = _read(path)
        if problem:
            reports.append(FileReport(str(path), problem=problem))
        else:
            texts[path] = text
    imported = frozenset(name for text in texts.values() for name in _imported(text))
    for path, text in texts.items():
        if any(sign in text for sign in _SIGNS):
            report = _moved(str(path), text, step, imported)
            if report.sites or report.problem:
                reports.append(report)
    return sorted(reports, key=lambda report: report.path)


def _moved(path: str, text: str, step: Step, imported: frozenset[str]) -> FileReport:
    try:
        after, sites = adopt(text)
        if step == "google-genai":
            adopted = after
            after, more = move(adopted, imported)
            lines = _lines(adopted, text)
            told = {(site.line, site.what) for site in sites}
            new = [site for site in (_renumbered(one, lines) for one in more)
                   if (site.line, site.what) not in told]  # fmt: skip
            sites = sorted([*sites, *new])
    except cst.ParserSyntaxError as error:
        return FileReport(path, text, text, problem=f"line {error.raw_line}: cannot be parsed")
    except Exception as error:  # noqa: BLE001 -- one file must not end the run
        # Without its message, which may quote the code.
        problem = f"cannot be analyzed ({type(error).__name__}): migrate it by hand"
        return FileReport(path, text, text, problem=problem)
    return FileReport(path, text, after, list(map(_masked, sites)))


def _lines(new: str, old: str) -> dict[int, int]:
    """Maps each line of the new text to the line of the old text that it is, or follows."""
    ours, theirs = new.splitlines(), old.splitlines()
    found: dict[int, int] = {}
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for _, start, end, first, last in matcher.get_opcodes():
        for number in range(start, end):
            found[number + 1] = min(first + number - start, max(last - 1, first)) + 1
    return found


def _renumbered(site: Site, lines: dict[int, int]) -> Site:
    """A site with line numbers of the old text, also in its reason."""

    def old(match: re.Match[str]) -> str:
        return f"line {lines.get(int(match[1]), int(match[1]))}"

    reason = re.sub(r"\bline (\d+)", old, site.reason)
    at, on = (lines.get(line, line) for line in (site.line, site.depends_on))
    return dataclasses.replace(site, line=at, reason=reason, depends_on=on)


def _masked(site: Site) -> Site:
    """A site without the secrets in the code that it quotes."""
    return dataclasses.replace(site, what=masked_code(site.what), reason=masked_code(site.reason))


def write(report: FileReport) -> None:
    """Writes a changed file in its original encoding.

    Raises:
        OSError: It cannot be written.
        UnicodeError: Its encoding is one way.
    """
    path = Path(report.path)
    encoding, _ = tokenize.detect_encoding(io.BytesIO(path.read_bytes()).readline)
    path.write_bytes(report.after.encode(encoding))


def _read(path: Path) -> tuple[str, str]:
    """The text of a file, and why it cannot be read; one of the two is empty."""
    if path.suffix != ".py":
        todo = "copy its code to a .py file"
        if path.suffix == ".ipynb":
            todo = "export its code with jupyter nbconvert --to script"
        return "", f"not read: only .py files are; {todo}"
    try:
        data = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return data.decode(encoding), ""
    except (OSError, SyntaxError, UnicodeError, LookupError) as error:
        return "", f"cannot be read: {described(error)}"


def _imported(text: str) -> Iterator[str]:
    """The names that a module imports from others: variables with these names are shared."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("google"):
            yield from (alias.name for alias in node.names)
