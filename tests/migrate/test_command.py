"""`genai-config migrate` and `genai-config compare`: what they print, write, and exit with."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("libcst", reason="migrate needs LibCST")
pytest.importorskip("google.genai", reason="the SDK's successor is not installed")

from typer.testing import CliRunner

from genai_config._cli.app import app

if TYPE_CHECKING:
    from typer.testing import Result

PROGRAM = """\
import google.generativeai as genai

genai.configure()
model = genai.GenerativeModel("gemini-3.6-flash")
print(model.generate_content("hi").text)
"""
LEFT = PROGRAM + "models = [model]\n"


def run(*arguments: object) -> Result:
    """Runs the command line in this process."""
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A program in a folder, beside what is none of ours."""
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv" / "lib.py").write_text(PROGRAM, encoding="utf-8")
    (tmp_path / "other.py").write_text("import openai\n", encoding="utf-8")
    path = tmp_path / "app.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_a_diff_is_shown_and_nothing_written(file: Path) -> None:
    """Unless it is told to write."""
    done = run("migrate", file.parent)
    assert done.exit_code == 0
    assert "+safe_configure()" in done.output
    assert "-genai.configure()" in done.output
    assert "1 file would change (--write)" in done.output
    assert file.read_text(encoding="utf-8") == PROGRAM


def test_writing(file: Path) -> None:
    """The file is written, once; a second time there is nothing to change."""
    assert run("migrate", "--to", "google-genai", "--write", file).exit_code == 0
    text = file.read_text(encoding="utf-8")
    assert "google_genai.shared_client()" in text
    done = run("migrate", "--to", "google-genai", "--write", file)
    assert "nothing to change" in done.output
    assert file.read_text(encoding="utf-8") == text


def test_the_encoding_and_the_ends_of_lines_stay(file: Path) -> None:
    """Those of a file of another system."""
    data = ("# -*- coding: latin-1 -*-\n# é\n" + PROGRAM).replace("\n", "\r\n").encode("latin-1")
    file.write_bytes(data)
    assert run("migrate", "--write", file).exit_code == 0
    written = file.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n")
    assert "# é".encode("latin-1") in written


def test_checking(file: Path) -> None:
    """1 if something would change; 0 if not."""
    done = run("migrate", "--check", file)
    assert (done.exit_code, "+safe_configure" in done.output) == (1, False)
    run("migrate", "--write", file)
    assert run("migrate", "--check", file).exit_code == 0
    assert run("migrate", "--check", "--write", file).exit_code == 2


def test_what_is_left_is_told_with_its_line(file: Path) -> None:
    """In the numbers of the file as it is, and as data."""
    file.write_text(LEFT, encoding="utf-8")
    done = run("migrate", "--to", "google-genai", "--check", file)
    assert f"{file}:6: model: not migrated:" in done.output.replace("\n", "")
    assert "By hand:" in done.output
    found = json.loads(run("migrate", "--to", "google-genai", "--json", file).output)
    sites = found["reports"][0]["sites"]
    assert {site["line"] for site in sites if site["outcome"] == "unchanged"} == {4, 5, 6}
    assert (found["migrated"], found["unchanged"], found["changed"]) == (1, 3, 1)
    stays = [site["reason"] for site in sites if site["line"] == 4]
    assert "line 6" in stays[0]


def test_one_reason_is_told_once(file: Path) -> None:
    """With the lines that stay for it; the data has each of them."""
    lists = "list(genai.list_tuned_models())\n" * 2
    file.write_text(LEFT + lists, encoding="utf-8")
    done = run("migrate", "--to", "google-genai", "--check", file)
    told = [line for line in done.output.splitlines() if "not migrated" in line]
    assert [line.partition(f"{file}:")[2].partition(":")[0] for line in told] == ["6", "7"]
    assert "line 4 (GenerativeModel), line 5 (generate_content)" in done.output
    assert "line 8 (list_tuned_models)" in done.output
    assert done.output.count("By hand:") == 3  # a note too
    found = json.loads(run("migrate", "--to", "google-genai", "--json", file).output)
    sites = found["reports"][0]["sites"]
    assert [site["depends_on"] for site in sites if site["outcome"] == "unchanged"] == [
        6, 6, 0, 0, 0,
    ]  # fmt: skip


SECRETS = """\
import google.generativeai as genai
PEM = '''-----BEGIN PRIVATE KEY-----
MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj
-----END PRIVATE KEY-----'''
genai.configure(api_key="AIzaSyA1234567890123456789012345678901")
def f(key=KEY):
    genai.configure(api_key=key)
    genai.configure(api_key="my own secret")
use(genai.configure, token="my own secret")[genai.GenerativeModel("m"), token("my own secret")]
"""


def test_a_diff_has_no_secrets(file: Path) -> None:
    """It is read in the logs of a CI job; the file that is written has what it had."""
    file.write_text(SECRETS, encoding="utf-8")
    step = ("migrate", "--to", "google-genai")
    said = run(*step, file).output + run(*step, "--json", file).output
    assert "masked" in said
    assert "-    genai.configure(api_key=key)" in said
    for secret in ("AIza", "MIIEv", 'api_key="my own', 'token="my own'):
        assert secret not in said
    assert "masked" not in run(*step, "--check", file).output
    run("migrate", "--write", file)
    assert 'safe_configure(api_key="AIzaSyA1234567890123456789012345678901")' in (
        file.read_text(encoding="utf-8")
    )


def test_what_both_steps_find_is_told_once(file: Path) -> None:
    """The function itself: the first step says what to do."""
    file.write_text(PROGRAM + "run(genai.configure)\n", encoding="utf-8")
    found = json.loads(run("migrate", "--to", "google-genai", "--json", file).output)
    (left,) = (site for site in found["reports"][0]["sites"] if site["line"] == 6)
    assert "genai_config.safe_configure" in left["todo"]
    assert found["unchanged"] == 1


def test_a_variable_that_another_file_imports_is_left(file: Path) -> None:
    """It would find a name in the place of a model."""
    (file.parent / "user.py").write_text("from app import model\n", encoding="utf-8")
    found = json.loads(run("migrate", "--to", "google-genai", "--json", file.parent).output)
    assert any("another file" in site["reason"] for site in found["reports"][0]["sites"])


def test_files_that_cannot_be_read(file: Path) -> None:
    """They are told of, and stay as they are; the others are moved."""
    broken = file.parent / "broken.py"
    broken.write_text("import google.generativeai as genai\ndef (:\n", encoding="utf-8")
    bad = file.parent / "bad.py"
    bad.write_bytes(b"# -*- coding: no-such -*-\n")
    done = run("migrate", "--write", file.parent)
    assert done.exit_code == 2
    assert "broken.py" in done.output
    assert "bad.py" in done.output
    assert "safe_configure()" in file.read_text(encoding="utf-8")
    assert run("migrate", file.parent / "none.py").exit_code == 2


BAD_ESCAPES = (
    PROGRAM.replace("configure()", r'configure(api_key="AIzaSyA1234567890\x4")')
    + r"""
__all__ = ["\x4"]
genai.embed_content(model="\x4" "a", content="a", task_type="\x4")
"""
)


def test_a_literal_that_is_no_text(file: Path) -> None:
    """An escape that Python refuses ends no run, and shows no key."""
    file.write_text(BAD_ESCAPES, encoding="utf-8")
    done = run("migrate", "--to", "google-genai", file)
    assert done.exit_code == 0
    assert "safe_configure(api_key=" in done.output
    assert "AIza" not in done.output


def test_one_odd_file_does_not_end_the_run(file: Path) -> None:
    """What is nested too deeply, and encodings of no text: a line each; no secrets."""
    deep = "import google.generativeai as genai\nx = " + "+".join(["1"] * 1000) + "\n"
    odd = {"deep.py": deep, "hex.py": "# coding: hex\n", "key.py": "# coding: AIzaSyA1234567890\n"}
    for name, text in odd.items():
        (file.parent / name).write_text(text, encoding="utf-8")
    done = run("migrate", "--to", "google-genai", "--write", file.parent)
    assert done.exit_code == 2
    for name in odd:
        assert sum(name in line for line in done.output.splitlines()) == 1
    assert "AIza" not in done.output
    assert "shared_client()" in file.read_text(encoding="utf-8")


def test_files_that_cannot_be_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with the reason; the others are written."""
    (file.parent / "more.py").write_text(PROGRAM, encoding="utf-8")
    write = Path.write_bytes

    def refused(path: Path, data: bytes) -> int:
        if path == file:
            raise PermissionError(errno.EACCES, "Permission denied")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", refused)
    done = run("migrate", "--write", file.parent)
    assert done.exit_code == 1
    assert f"{file}: cannot be written: PermissionError" in done.output
    assert "1 file written, 1 could not be written" in done.output
    assert "safe_configure()" in (file.parent / "more.py").read_text(encoding="utf-8")
    found = json.loads(run("migrate", "--write", "--json", file).output)
    assert (found["changed"], found["unwritten"], found["unreadable"]) == (0, 1, 0)


@pytest.mark.parametrize(("name", "todo"), [("a.ipynb", "nbconvert"), ("a.txt", ".py file")])
def test_only_python_files_are_read(file: Path, name: str, todo: str) -> None:
    """What else is named was not read, which is said; the others are moved."""
    other = file.with_name(name)
    other.write_text(PROGRAM, encoding="utf-8")
    done = run("migrate", "--write", other, file)
    assert done.exit_code == 2
    assert f"{other}: not read" in done.output
    assert todo in done.output
    assert "safe_configure()" in file.read_text(encoding="utf-8")
    assert other.read_text(encoding="utf-8") == PROGRAM


SPLIT = """\
import os
import google.generativeai as genai
os.environ.setdefault("GEMINI_API_KEY", "mine")
genai.configure(
    api_key=os.environ.get("GEMINI_API_KEY", "mi" "ne") or "mi" + "ne",
    default_metadata=[("cookie", "mine")],
)
genai.GenerativeModel("m", tools={"keys": ["mine"], "cookie":
    "mine"}, **x)
"""


def test_a_key_in_pieces_is_not_shown(file: Path) -> None:
    """Nor one in a collection, or one that stands in for another; written is what was there."""
    file.write_text(SPLIT, encoding="utf-8")
    step = ("migrate", "--to", "google-genai")
    for done in (run(*step, file), run(*step, "--json", file)):
        assert done.exit_code == 0
        assert not [one for one in ("mine", '"mi"', '"ne"') if one in done.output]
    run(*step, "--write", file)
    assert file.read_text(encoding="utf-8").count("mi") == SPLIT.count("mi")


def test_without_libcst(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for command in (["migrate", file], ["compare", "--", "true"]):
        done = run(*command)
        assert done.exit_code == 2
        assert "genai-config[migrate]" in done.output


def test_comparing_what_differs(file: Path, tmp_path: Path) -> None:
    """Each request that says something else, with both values; a failing program is shown."""
    after = tmp_path / "after"
    after.mkdir()
    changed = PROGRAM.replace('"hi"', '"ho"') + "raise SystemExit('broken')\n"
    (after / "app.py").write_text(changed, encoding="utf-8")
    arguments = ("--folder", file.parent, "--after", after)
    program = ("--", sys.executable, "-W", "ignore", "app.py")
    done = run("compare", *arguments, *program)
    assert done.exit_code == 1
    assert "contents[0].parts[0].text" in done.output
    assert 'before: "hi"' in done.output
    assert 'after:  "ho"' in done.output
    assert "broken" in done.output
    found = json.loads(run("compare", "--json", *arguments, *program).output)
    assert (found["differences"], found["exit_codes"]) == (1, [0, 1])


def test_comparing_with_a_migrated_copy(file: Path) -> None:
    """Nothing is written to the folder itself, and nothing in the copy that is left as it is."""
    left = "import google.generativeai as genai\nprint(genai)\n"
    (file.parent / "left.py").write_text(left, encoding="utf-8")
    program = ("--", sys.executable, "-W", "ignore", "app.py")
    done = run("compare", "--json", "--folder", file.parent, *program)
    assert json.loads(done.output)["differences"] == 0
    assert done.exit_code == 0
    assert file.read_text(encoding="utf-8") == PROGRAM


TUNED = """\
import google.generativeai as genai
genai.configure()
print(genai.GenerativeModel("gemini-3.6-flash").generate_content("hi").text)
"""
OVER_REST = """
from genai_config import google_genai
try:
    google_genai.shared_client().models.count_tokens(model="tunedModels/mine", contents="hi")
except Exception:
    pass
"""


def test_comparing_what_cannot_be_read(tmp_path: Path) -> None:
    """A request to a URL that the service does not have is reported, and so is all the rest."""
    after = tmp_path / "after"
    after.mkdir()
    count = 'genai.GenerativeModel("tunedModels/mine").count_tokens("hi")\n'
    (tmp_path / "app.py").write_text(TUNED + count, encoding="utf-8")
    (after / "app.py").write_text(TUNED + OVER_REST, encoding="utf-8")
    done = run("compare", "--folder", tmp_path, "--after", after, "--json",
               "--", sys.executable, "-W", "ignore", "app.py")  # fmt: skip
    assert done.exit_code == 1
    generated, counted = json.loads(done.output)["compared"]
    assert generated["differences"] == []
    assert (counted["method"], counted["resource"]) == ("CountTokens", "tunedModels/mine")
    assert "cannot be compared" in counted["differences"][0]["after"]


def test_comparing_on_vertex_ai(tmp_path: Path) -> None:
    """Requests with a body and without one."""
    code = (
        "import google.generativeai as genai\n"
        "from google.generativeai import caching\n"
        "from genai_config import safe_configure\n"
        'safe_configure(project="my-project", location="us-central1", backend="vertex")\n'
        'print(genai.GenerativeModel("gemini-3.6-flash").count_tokens("hi"))\n'
        "print(list(caching.CachedContent.list()))\n"
    )
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    done = run("compare", "--folder", tmp_path, "--after", tmp_path, "--json",
               "--", sys.executable, "-W", "ignore", "app.py")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["requests"] == [2, 2]


def test_comparing_where_the_server_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the server's own is reported with the requests, and is a failure; no secrets."""

    def broken(*_: object) -> None:
        raise LookupError("broken with AIzaSyA1234567890123456789012345678901")

    monkeypatch.setattr("genai_config.testing._service.behaviour.Behaviour.answer", broken)
    code = PROGRAM.replace("print(", "try:\n    print(") + (
        "except Exception:\n    raise SystemExit('AIzaSyA1234567890123456789012345678901')\n"
    )
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    arguments = ("compare", "--folder", tmp_path, "--after", tmp_path)
    program = ("--", sys.executable, "-W", "ignore", "app.py")
    done = run(*arguments, *program)
    assert done.exit_code == 1
    assert "same" in done.output
    assert "LookupError" in done.output
    assert "AIza" not in done.output


def test_comparing_nothing(tmp_path: Path) -> None:
    """A program that sends nothing proves nothing; other hosts cannot be reached."""
    code = (
        "import urllib.request\n"
        "try:\n    urllib.request.urlopen('https://example.com')\nexcept OSError:\n    pass\n"
    )
    (tmp_path / "app.py").write_text(code, encoding="utf-8")
    done = run("compare", "--folder", tmp_path, "--", sys.executable, "app.py")
    assert done.exit_code == 1
    assert "nothing to compare" in done.output
    assert "example.com" in done.output


def test_comparing_what_cannot_be_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program, a folder, a copy, or a run that takes too long: each with what to do."""
    (tmp_path / "app.py").write_text(PROGRAM, encoding="utf-8")
    here = ("compare", "--folder", tmp_path)
    code = run(*here, "--", "app.py")
    assert (code.exit_code, "python app.py" in code.output) == (2, True)
    missing = run(*here, "--", "no-such-program")
    assert (missing.exit_code, "PATH" in missing.output) == (2, True)
    folder = run("compare", "--folder", tmp_path / "none", "--", "true")
    assert (folder.exit_code, "--folder" in folder.output) == (2, True)
    after = run(*here, "--after", tmp_path / "none", "--", "true")
    assert (after.exit_code, "--after" in after.output) == (2, True)
    endless = (sys.executable, "-c", "import signal; signal.pause()")
    late = run(*here, "--timeout", 1, "--", *endless)
    assert (late.exit_code, "--timeout" in late.output) == (2, True)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("shutil.copytree", full)
    copy = run(*here, "--", "true")
    assert (copy.exit_code, "No space left" in copy.output) == (2, True)
