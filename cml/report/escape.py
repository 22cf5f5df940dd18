"""Escaping: a value from a repository (a name, a path, a message) appears in a report as text and as nothing else.

Markdown is escaped for GitHub and for GitLab. After they have read the Markdown, both also look for mentions, issue
references, addresses, emoji and formulas in its text. A zero-width space, placed inside such a text, prevents that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from html import escape as escape_html
from urllib.parse import quote, urlsplit

ZERO_WIDTH = "\u200b"
MAX_TEXT = 1000  # characters of one value
MAX_URL = 500
MAX_REVISION = 60
CELL_WIDTH = 24  # characters; a longer name may be broken in a table
_URL_SAFE = "/:?#@!$&+,;=%~.-_"  # none of them ends a Markdown link or an HTML attribute

# Control characters, marks that change the direction of text, invisible characters, and halves of surrogate pairs
# (which stand for the bytes of file names that are not UTF-8). A name must not hide or reorder anything.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
_JOINERS = "\u200c\u200d"  # invisible too, but Persian, Hindi and many emoji need them
_ACCENT = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_MANY_ACCENTS = re.compile(f"({_ACCENT}{{3}}){_ACCENT}+")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

# What the forges look for in text. A zero-width space follows each match.
_REFERENCES = re.compile(
    r"""
      (?<!\w)@(?=\w) | @(?=[\w-]+\.\w) | @(?=[0-9a-f]{7})   # mentions, mail addresses, user@sha
    | \#(?=\w) | [!&](?=\d) | [%~$](?=[\w"]) | G[HL](?=-\d)  # issues, merge requests, epics, milestones, labels
    | :(?=//) | \bwww(?=\.)                                  # web addresses
    | :(?=[\w+-]+:) | [{\[](?=[+-])                          # emoji, GitLab's inline diff
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MENTIONS = re.compile(r"(?<!\w)@(?=\w)")
_SHAS = re.compile(r"(?<!\w)(?=[a-f]*\d)[0-9a-f]{7,40}(?!\w)")
_SHA_PIECE = 6  # characters; seven in a row would become a link to a commit

_MARKDOWN = re.compile(r'[\\`*\[\]<>|~#"&]|(?<!\w)_+|_+(?!\w)')  # `_` inside a word is text in Markdown
_DOLLAR = re.compile(r"\$")
_BLOCK_START = re.compile(r"(\d{0,9})([-+=.)])(?=[\s=-]|$)")  # `1. x` and `- x` are lists, `---` is a line
_COMMANDS = re.compile(r"^(\s*:)(?=:)|(#)(?=#(?:\[|vso\[))", re.MULTILINE)
_NAMED_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_SHORT_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


class NumberText(str):
    """A number that we formatted. It is escaped like any text, but needs no zero-width spaces."""

    __slots__ = ()


# --- Any text


def visible(text: str) -> str:
    r"""Returns the text with hidden characters written out (`\n`, `\u202e`) and at most three accents on a letter."""
    return _MANY_ACCENTS.sub(r"\1", _HIDDEN.sub(_write_out, text))


def shorten(text: str, width: int) -> str:
    """Returns a text of at most `width` characters: the middle of a longer one is replaced by an ellipsis."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    start = width - 1 - end
    return f"{text[:start]}…{text[len(text) - end :]}"


def log_lines(log: str) -> tuple[str, ...]:
    """Returns the lines of a log as a terminal shows them: no colors, progress bars in their last state."""
    if not log.strip():
        return ()
    lines = _ANSI.sub("", log).replace("\r\n", "\n").rstrip().split("\n")
    last_states = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return tuple(visible(shorten(line.replace("\t", "    ").rstrip(), MAX_TEXT)) for line in last_states)


def guard_commands(rendered: str) -> str:
    """Breaks the commands of CI runners, `::x::` at the start of a line and `##[x]`: a job may print the report."""
    return _COMMANDS.sub(rf"\g<0>{ZERO_WIDTH}", rendered)


# --- Markdown


@lru_cache(maxsize=16_384)  # the same names appear in many rows
def text(value: str) -> str:
    """Returns Markdown that reads as `value` in a paragraph, heading, list item, table cell or HTML block."""
    # Shortened first: afterwards, an entity or a pair of tags could be cut in two.
    value = visible(shorten(value, MAX_TEXT)).strip()
    # Before the characters become entities, which the forges turn back before they look for references.
    value = _REFERENCES.sub(rf"\g<0>{ZERO_WIDTH}", value)
    value = _SHAS.sub(_break_sha, value)
    value = _DOLLAR.sub("&#36;", _escape_markdown(value))  # GitHub and GitLab render formulas between dollar signs
    return _escape_zero_width(value)


@lru_cache(maxsize=16_384)
def number_text(value: str) -> str:
    """Returns Markdown that reads as a number that we formatted."""
    return _escape_zero_width(_escape_markdown(visible(shorten(value, MAX_TEXT)).strip()))


def cell(value: str) -> str:
    """Returns Markdown for a table cell: a long name may continue in the next line after a separator."""
    if len(value) <= CELL_WIDTH:
        return text(value)
    lines = [""]
    # No entity contains one of these separators, so the escaped text can be split.
    for piece in re.split(r"(?<=[/_.])(?=\w)", text(value)):
        if lines[-1] and len(lines[-1] + piece) > CELL_WIDTH:
            lines.append("")
        lines[-1] += piece
    return "<wbr>".join(lines)


def revision(value: str) -> str:
    """Returns Markdown for a git revision. `HEAD~1` keeps its tilde: a single one means nothing in Markdown."""
    match = re.fullmatch(r"([\w./-]{1,200})~(\d{0,6})", value)
    if match:
        return f"{text(match[1])}~{match[2]}"
    return text(shorten(value, MAX_REVISION))


def code(value: str) -> str:
    """Returns Markdown for `value` in monospace, also in a table."""
    # Inside backticks nothing can be escaped, so these characters need HTML.
    if not value.strip() or re.search(r"[`|\\]", value):
        return f"<code>{text(value)}</code>"
    value = visible(shorten(value, MAX_TEXT)).strip()
    return f"`{_MENTIONS.sub('@' + ZERO_WIDTH, value)}`"


def link(label: str, url: str | None) -> str:
    """Returns a Markdown link, or only the label where `url` is not a web address."""
    address = web_address(url)
    return f"[{text(label)}]({address.replace('&', '&amp;')})" if address else text(label)


def image(label: str, url: str) -> str:
    """Returns a Markdown image, or only the label where `url` is not an `image_address`."""
    address = image_address(url)
    return f"![{text(label)}]({address.replace('&', '&amp;')})" if address else text(label)


def fence(lines: Iterable[str], language: str = "text") -> str:
    """Returns a Markdown code block. Its fence is longer than any run of backticks in the lines."""
    body = "\n".join(lines)
    longest = max((len(run) for run in re.findall("`+", body)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{body}\n{ticks}"


def mermaid_label(label: str) -> str:
    """Returns a quoted label for a Mermaid diagram; special characters become its `#NN;` entities."""
    # Mermaid has no escape character, and reads `end`, `click`, brackets and quotes as its own language.
    label = visible(shorten(label, 60))
    return '"' + re.sub(r"[^\w./ -]", lambda match: f"#{ord(match[0])};", label) + '"'


# --- Addresses


def web_address(url: str | None) -> str | None:
    """Returns an http(s) address that cannot end a Markdown link or an HTML attribute, None for anything else."""
    try:
        parts = urlsplit(url or "")
    except ValueError:  # brackets that are not an IPv6 address
        return None
    # Only these schemes: `javascript:` and `data:` would run in the reader's browser.
    if not url or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return _quote_url(url)


def image_address(url: str) -> str | None:
    """Returns a web address, or a path on the forge itself (GitLab's `/uploads/...`), None for anything else."""
    # `//host` and `/\host` look like paths, but browsers open another host.
    if url.startswith("/") and not url.startswith(("//", "/\\")):
        return _quote_url(url)
    return web_address(url)


def _quote_url(url: str) -> str | None:
    address = quote(url.encode("utf-8", "replace"), safe=_URL_SAFE)
    return address if len(address) <= MAX_URL else None


# --- HTML


def html(value: str) -> str:
    """Returns HTML that reads as `value`, also inside an attribute."""
    return escape_html(visible(value))


def breakable(value: str) -> str:
    """Returns HTML for a name that may continue in the next line after a separator."""
    return "<wbr>".join(map(html, re.split(r"(?<=[/._:-])(?=\w)", value)))


# --- Helpers


def _write_out(match: re.Match[str]) -> str:
    """Returns a hidden character as an escape sequence, unless it is a joiner inside a word or an emoji."""
    char = match[0]
    if char in _JOINERS and _joins(match):
        return char
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # Python's stand-in for a byte that is not UTF-8: shown as that byte
        number -= 0xDC00
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _joins(match: re.Match[str]) -> bool:
    """Whether a joiner is between two visible characters outside of ASCII."""
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    return before > "\x7f" and after > "\x7f" and not _HIDDEN.match(before + after)


def _break_sha(match: re.Match[str]) -> str:
    return ZERO_WIDTH.join(re.findall(f".{{1,{_SHA_PIECE}}}", match[0]))


def _escape_markdown(value: str) -> str:
    value = _MARKDOWN.sub(_entities, value)
    start = _BLOCK_START.match(value)
    if start:
        return f"{start[1]}&#{ord(start[2])};{value[start.end() :]}"
    return value


def _entities(match: re.Match[str]) -> str:
    return "".join(_NAMED_ENTITIES.get(char) or f"&#{ord(char)};" for char in match[0])


def _escape_zero_width(value: str) -> str:
    """Returns the text with our zero-width spaces as entities, so that a reader of the Markdown can see them."""
    return value.replace(ZERO_WIDTH, "&#8203;")
