"""The reference of the command line, made from the commands themselves.

In place of a line that ends with ``<!-- made: commands -->``, a section for each command is put.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import typer

from genai_config._cli.app import app as program

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def commands() -> str:
    """A section for each command: what it does, how it is called, its options."""
    group: Any = typer.main.get_command(program)
    return "\n\n".join(section(name, one) for name, one in sorted(group.commands.items()))


def section(name: str, command: Any) -> str:
    """One command."""
    said, examples = _said(str(command.help))
    options = [one for one in command.params if one.param_type_name == "option"]
    arguments = [f"{one.name.upper()}…" for one in command.params if one not in options]
    usage = " ".join(["genai-config", name, *(["[OPTIONS]"] if options else []), *arguments])
    parts = [f"## {name}", f"```text\n{usage}\n```", *map(_marked, said)]
    if examples:
        typed = "".join(f"$ {example}\n" for example in examples)
        parts += [f"```console\n{typed}```"]
    if options:
        rows = [f"| {_names(one)} | {_cell(one)} |" for one in options if not one.hidden]
        parts.append("\n".join(["| option | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def _said(text: str) -> tuple[list[str], list[str]]:
    """A command's help, taken apart: paragraphs, and the commands after "Examples:"."""
    paragraphs: list[str] = []
    examples: list[str] = []
    among = paragraphs
    for paragraph in text.split("\n\n"):
        head, colon, rest = paragraph.partition(":")
        if colon and head in ("Example", "Examples"):
            among = examples
            examples += [one.strip() for one in rest.split("; ") if one.strip()]
        elif head == "Exit code":
            paragraphs.append(paragraph)
        else:
            among.append(paragraph)
    return paragraphs, examples


_CODE = re.compile(r"(?<![\w`$-])(--[a-z]+(?:-[a-z]+)*|[A-Z]+_[A-Z_]+)(?![\w`])")


def _marked(text: str) -> str:
    """Options and variables as code."""
    return _CODE.sub(r"`\1`", text)


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    return f"{names} …" if option.multiple else names


def _choices(annotation: Any) -> list[str]:
    """What a `Literal` allows, alone or among others."""
    parts = get_args(annotation)
    if get_origin(annotation) is Literal:
        return list(parts)
    return [choice for part in parts for choice in _choices(part)]


def _cell(option: Any) -> str:
    said = _marked(" ".join(str(option.help or "").split()).replace("|", "\\|"))
    choices = ", ".join(f"`{one}`" for one in _choices(option.type_descriptor.annotation))
    said = f"{choices}. {said}" if choices else said
    told = option.is_flag or option.default in (None, "", 0) or "Default:" in said
    return said if told else f"{said} Default: `{option.default}`."


def _put_in(app: Sphinx, docname: str, source: list[str]) -> None:
    del app, docname
    source[0] = re.sub("(?m)^.*<!-- made: commands -->$", lambda _: commands(), source[0])


def setup(app: Sphinx) -> dict[str, bool]:
    """What Sphinx calls."""
    app.connect("source-read", _put_in)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
