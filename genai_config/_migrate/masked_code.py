"""Source code as people are shown it: without the secrets in its literals.

A literal is secret by its shape, by its value, or because it is the value of a name that tells.
"""

from __future__ import annotations

import contextlib
import io
import keyword
import re
import tokenize
from typing import TYPE_CHECKING

from genai_config._masking import MASK, SHAPES, USER_OF_URL, all_values

if TYPE_CHECKING:
    from collections.abc import Iterator

# In code, names stand where a secret would: only literals are secret, whatever their shape.
_LINES = r"[^\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+"
_PEM_IN_CODE = r"(?s)-----BEGIN\b(?:.{0,10000}?-----END[^-]*-----|[^\"'\n]*)"
_BEARER_IN_CODE = r"(?i)(?<=\bbearer )(?=\S*\d)[\w.~+/=-]{8,}|(?<=\bbasic )(?=\S*\d)[\w+/=]{8,}"
# What names end with whose values are secret.
_TELLING = (
    r"(?:key|token|secret|passw(?:or)?d|passphrase|pwd|cookie|auth(?:orization)?)s?"
    r"(?:[_-]?(?:id|\d+))?"
)
_TELLING_NAME = rf"(?i)[\w.-]*(?:{_TELLING}|(?:api[_-]?key|secret|passw(?:or)?d)[\w.-]*)"
_LITERAL = rf"""(?xsi)(?P<name>{_TELLING}(?:["']?\]?
        \s*(?::[\w\s.|\[\]]+=|[:=])|["']\s*,)\s*[rbfu]{{0,2}})
        (?:(?P<long>\"{{3}}|'{{3}})(?P<lines>.{{0,4000}}?)(?P=long)
        |(?P<quote>["'])(?P<value>(?:\\.|(?!(?P=quote))[^\n\\])*)(?P<end>(?P=quote)|(?=\n|\Z)))"""
_QUOTED = r"(?s)\A([A-Za-z]*)(\"{3}|'{3}|[\"'])(.*)\2\Z"


def masked_code(text: str) -> str:
    """Source code without the secrets in its literals, in as many lines as before."""
    for start, end in reversed(list(_secret_literals(text))):
        literal = re.sub(_QUOTED, _masked_quoted, text[start:end])
        text = text[:start] + literal + text[end:]
    for value in all_values():
        text = text.replace(value, _masked_lines(value))
    # In comments, in other literals, and in what is no whole code.
    for shape in (_PEM_IN_CODE, _LITERAL, _BEARER_IN_CODE, SHAPES):
        text = re.sub(shape, _masked_literal, text)
    return re.sub(USER_OF_URL, rf"\1{MASK}", text)


class _Bracket:
    """Brackets in code, or a statement outside of any, and the item in them that is being read.

    An item is an argument, an element, an entry, or the whole statement.

    Attributes:
        secret: Whether all literals in it are secret.
        index: Whether it is a subscript: what is in it names a value, and is none.
        lookup: Whether it holds the arguments of a function that finds a value by its name.
        path: Whether the expression before it has a telling name.
        told: Whether a telling name stands anywhere in it.
        named: Whether one stands in this item.
        inner: Whether one stands in brackets of this item.
        valued: Whether the rest of this item is the value of a telling name.
        lambdas: The heads of lambdas that are open in this item.
        loop: Whether the target of a loop is open in this item.
    """

    index = lookup = path = told = False

    def __init__(self, *, secret: bool = False) -> None:
        self.secret = secret
        self.next_item(valued=False)

    def next_item(self, *, valued: bool) -> None:
        """Begins another item."""
        self.named = self.inner = self.loop = False
        self.valued = valued
        self.lambdas = 0
        self.first = ""


_LOOKUPS = ("get", "getenv", "setdefault", "pop")


class _Walk:
    """Reads code token by token, and knows whether a literal is the value of a telling name.

    Attributes:
        brackets: The brackets that are open, the statement first.
    """

    def __init__(self) -> None:
        self.brackets = [_Bracket()]
        self._previous = ""
        self._follows_value = False  # whether brackets would be a call or a subscript
        self._path = False  # whether the expression so far has a telling name
        self._is_name = False  # whether the token before is a literal that is such a name

    def literal(self, value: str) -> bool:
        """Reads a literal; returns whether it is secret."""
        top = self.brackets[-1]
        is_name = bool(re.fullmatch(_TELLING_NAME, value))
        looked_up = is_name and top.lookup and self._previous == "("
        secret = (top.secret or top.valued) and not looked_up
        if is_name and not secret:
            top.named = top.told = True
        self._went("", follows_value=True)
        self._is_name = is_name and not secret
        return secret

    def name(self, word: str) -> None:
        """Reads a name that is no keyword."""
        top = self.brackets[-1]
        top.first = top.first or word
        telling = bool(re.fullmatch(_TELLING_NAME, word))
        path = telling or (self._path and self._previous == ".")
        if telling:
            top.named = top.told = True
        self._went(word, follows_value=True, path=path)

    def keyword(self, word: str) -> None:
        """Reads a keyword."""
        top = self.brackets[-1]
        top.first = top.first or word
        if word == "lambda":
            top.lambdas += 1
        elif word == "for":
            top.named, top.loop = False, True
        elif word == "in" and top.loop:
            top.loop, top.valued = False, top.valued or top.named
        elif word in ("or", "else"):
            top.valued = top.valued or top.named or top.inner
        self._went(word)

    def operator(self, sign: str) -> None:
        """Reads an operator, a bracket, a separator, or the end of a line."""
        top = self.brackets[-1]
        if sign in "([{":
            self._open(sign)
        elif sign in ")]}":
            self._close()
        elif sign in (";", "\n"):
            self.brackets = [_Bracket()]
            self._went(sign)
        else:
            if sign == "," and not top.lambdas:
                # A statement may assign to several names, and several values.
                if len(self.brackets) > 1:
                    top.next_item(valued=self._is_name)
                top.valued = top.valued or self._is_name
            elif sign == ":":
                self._colon(top)
            elif sign.endswith("=") and sign not in ("==", "!=", "<=", ">="):
                top.valued = top.valued or top.named or top.inner
            self._went(sign, path=self._path and sign == ".")

    def _colon(self, top: _Bracket) -> None:
        if top.lambdas:
            top.lambdas -= 1
        elif len(self.brackets) == 1 and keyword.iskeyword(top.first):
            top.next_item(valued=False)  # the head of a block
        else:
            top.valued = top.valued or top.named

    def _open(self, sign: str) -> None:
        top = self.brackets[-1]
        inner = _Bracket(secret=top.secret or top.valued)
        if self._follows_value and sign == "[":
            inner.secret, inner.index, inner.path = False, True, self._path
        elif self._follows_value and sign == "(":
            inner.secret = inner.secret or self._path
            inner.lookup = self._previous in _LOOKUPS
        self.brackets.append(inner)
        self._went(sign)

    def _close(self) -> None:
        closed = self.brackets.pop() if len(self.brackets) > 1 else self.brackets[0]
        top = self.brackets[-1]
        top.told = top.told or closed.told
        top.inner = top.inner or closed.told
        self._went("", follows_value=True, path=closed.index and (closed.path or closed.told))

    def _went(self, token: str, *, follows_value: bool = False, path: bool = False) -> None:
        self._previous, self._follows_value, self._path = token, follows_value, path
        self._is_name = False


def _secret_literals(text: str) -> Iterator[tuple[int, int]]:
    """Where the literals are that are values of telling names, up to where code is no code."""
    # One of the ends of lines that Python knows, and all of the same length.
    text = re.sub(r"\r(?!\n)", "\n", text)
    starts = [0, *(match.end() for match in re.finditer("\n", text)), len(text)]
    walk, begins = _Walk(), list[int]()
    with contextlib.suppress(tokenize.TokenError, SyntaxError, ValueError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            kind = tokenize.tok_name[token.type]
            start, end = (starts[line - 1] + column for line, column in (token.start, token.end))
            # Since Python 3.12, an f-string is many tokens.
            begins += [start] if kind.endswith("STRING_START") else []
            start, kind = (begins.pop(), "STRING") if kind.endswith("STRING_END") else (start, kind)
            if begins or kind in ("COMMENT", "NL", "INDENT", "DEDENT", "ENDMARKER"):
                continue
            if kind == "STRING":
                if walk.literal(re.sub(_QUOTED, r"\3", text[start:end])):
                    yield start, end
            elif kind == "NAME":
                is_keyword = keyword.iskeyword(token.string)
                (walk.keyword if is_keyword else walk.name)(token.string)
            else:
                walk.operator("\n" if kind == "NEWLINE" else token.string)


def _masked_quoted(match: re.Match[str]) -> str:
    prefix, quote, value = match.groups()
    return f"{prefix}{quote}{_masked_lines(value)}{quote}"


def _masked_literal(match: re.Match[str]) -> str:
    named = match.groupdict()
    if "name" not in named:
        return _masked_lines(match[0])
    value = named["lines"] or named["value"] or ""
    if len(value) < 4:  # noqa: PLR2004 -- as in other texts
        return match[0]
    quote = named["long"] or named["quote"]
    return f"{named['name']}{quote}{_masked_lines(value)}{named['long'] or named['end']}"


def _masked_lines(text: str) -> str:
    return re.sub(_LINES, MASK, text)
