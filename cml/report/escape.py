"""Escaping: a value that came out of a repository becomes text, and only text, wherever a report shows it.

Markdown is made safe for GitHub's and GitLab's readers, which also look for mentions, references, links, emoji and
maths in what is left after Markdown is read: such places get a zero-width space. Pure; no template knows more of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from html import escape as escape_html
from urllib.parse import quote, urlsplit

ZERO_WIDTH = "\u200b"
LONGEST = 1000  # characters of one value, where no template asks for fewer
LONGEST_URL = 500
WIDE = 24  # characters of a name that is broken where a table is narrow
_URL_MARKS = "/:?#@!$&+,;=%~.-_"  # none of them ends a Markdown link or an HTML attribute

# Controls, bidi marks, zero-width and other invisible characters, halves of surrogate pairs (names that are no UTF-8).
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u070f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff]"
)
_JOINERS = "\u200c\u200d"  # meant inside emoji and in scripts such as Persian and Hindi
_MARK = "[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]"
_PILED_MARKS = re.compile(f"({_MARK}{{3}}){_MARK}+")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")

# What the forges look for in text: behind each of these goes a zero-width space.
_REFERENCES = re.compile(
    r"""
      (?<!\w)@(?=\w) | @(?=[\w-]+\.\w) | @(?=[0-9a-f]{7})   # mentions, addresses, user@sha
    | \#(?=\w) | [!&](?=\d) | [%~$](?=[\w"]) | G[HL](?=-\d)  # issues, merge requests, epics, milestones, labels
    | :(?=//) | \bwww(?=\.)                                  # links
    | :(?=[\w+-]+:) | [{\[](?=[+-])                          # emoji, GitLab's inline diff
    """,
    re.VERBOSE | re.IGNORECASE,
)
_MENTIONS = re.compile(r"(?<!\w)@(?=\w)")
_SHAS = re.compile(r"(?<!\w)(?=[a-f]*\d)[0-9a-f]{7,40}(?!\w)")
_MARKDOWN = re.compile(r'[\\`*\[\]<>|~#"&]|(?<!\w)_+|_+(?!\w)')
_DOLLAR = re.compile(r"\$")
_BLOCK_START = re.compile(r"(\d{0,9})([-+=.)])(?=[\s=-]|$)")
_COMMANDS = re.compile(r"^(\s*:)(?=:)|(#)(?=#(?:\[|vso\[))", re.MULTILINE)


class Figure(str):
    """A number that we wrote ourselves: it is escaped like any text, but nobody takes it for a reference."""

    __slots__ = ()


def visible(text: str) -> str:
    r"""Shows what is hidden: a newline as `\n`, a bidi override as `\u202e`; a pile of accents is cut to three."""
    return _PILED_MARKS.sub(r"\1", _HIDDEN.sub(_show, text))


def shorten(text: str, width: int) -> str:
    """Cuts the middle out of a text that is longer than `width` characters."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


@lru_cache(maxsize=16_384)
def text(value: str) -> str:
    """Markdown that reads as `value`, in a paragraph, heading, list item, table cell or HTML block."""
    value = visible(shorten(value, LONGEST)).strip()
    value = _SHAS.sub(_break_sha, _REFERENCES.sub(rf"\g<0>{ZERO_WIDTH}", value))
    return _escape(_DOLLAR.sub("&#36;", _encode(value)))


def cell(value: str) -> str:
    """The same for a table's cell, which is wide: a long name may go on in the next line behind a separator."""
    if len(value) <= WIDE:
        return text(value)
    lines = [""]
    for piece in re.split(r"(?<=[/_.])(?=\w)", text(value)):
        if lines[-1] and len(lines[-1] + piece) > WIDE:
            lines.append("")
        lines[-1] += piece
    return "<wbr>".join(lines)


def revision(value: str) -> str:
    """Markdown that reads as a git revision; `HEAD~1` stays as people know it, since one tilde alone means nothing."""
    found = re.fullmatch(r"([\w./-]{1,200})~(\d{0,6})", value)
    return f"{text(found[1])}~{found[2]}" if found else text(shorten(value, 60))


@lru_cache(maxsize=16_384)
def figure(value: str) -> str:
    """The same for a number of ours, which needs no zero-width spaces."""
    return _escape(_encode(visible(shorten(value, LONGEST)).strip()))


def code(value: str) -> str:
    """`value` in monospace, without surprises in a table."""
    if not value.strip() or re.search(r"[`|\\]", value):
        return f"<code>{text(value)}</code>"
    value = visible(shorten(value, LONGEST)).strip()
    return f"`{_MENTIONS.sub('@' + ZERO_WIDTH, value)}`"


def link(label: str, url: str | None) -> str:
    """A link, or the mere label where `url` is not one of the web."""
    address = web_address(url)
    return f"[{text(label)}]({address.replace('&', '&amp;')})" if address else text(label)


def image(label: str, url: str) -> str:
    """An image, or the mere label where `url` is no `image_address`."""
    address = image_address(url)
    return f"![{text(label)}]({address.replace('&', '&amp;')})" if address else text(label)


def fence(lines: Iterable[str], language: str = "text") -> str:
    """A code block that no line inside it ends."""
    body = "\n".join(lines)
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"{ticks}{language}\n{body}\n{ticks}"


def web_address(url: str | None) -> str | None:
    """An http(s) address in which nothing ends a Markdown link or an HTML attribute; None for anything else."""
    try:
        parts = urlsplit(url or "")
    except ValueError:
        return None
    if not url or parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    address = quote(url.encode("utf-8", "replace"), safe=_URL_MARKS)
    return address if len(address) <= LONGEST_URL else None


def image_address(url: str) -> str | None:
    """A web address, or a path on the forge itself (GitLab's `/uploads/...`); None for anything else."""
    if url.startswith("/") and not url.startswith(("//", "/\\")):
        address = quote(url.encode("utf-8", "replace"), safe=_URL_MARKS)
        return address if len(address) <= LONGEST_URL else None
    return web_address(url)


def mermaid(label: str) -> str:
    """A quoted Mermaid label; what could mean something to Mermaid is one of its `#NN;` entities."""
    label = visible(shorten(label, 60))
    return '"' + re.sub(r"[^\w./ -]", lambda match: f"#{ord(match[0])};", label) + '"'


def log_lines(log: str) -> tuple[str, ...]:
    """A log's lines as a terminal would have left them: no colours, progress bars in their last state."""
    lines = _ANSI.sub("", log).replace("\r\n", "\n").rstrip().split("\n")
    last_states = (line.rstrip("\r").rpartition("\r")[2].replace("\t", "    ").rstrip() for line in lines)
    return tuple(visible(shorten(line, LONGEST)) for line in last_states) if log.strip() else ()


def guard_commands(rendered: str) -> str:
    """Breaks what a runner would obey if the report is printed in a job's log: `::x::` at a line's start, `##[x]`."""
    return _COMMANDS.sub(rf"\g<0>{ZERO_WIDTH}", rendered)


def html(value: str) -> str:
    """HTML that reads as `value`, also inside an attribute."""
    return escape_html(visible(value))


def breakable(value: str) -> str:
    """The same, of a name that may go on in the next line behind a separator, before it breaks anywhere."""
    return "<wbr>".join(map(html, re.split(r"(?<=[/._:-])(?=\w)", value)))


def _show(match: re.Match[str]) -> str:
    char, place = match[0], ord(match[0])
    before, after = match.string[: match.start()][-1:], match.string[match.end() :][:1]
    if char in _JOINERS and before > "\x7f" and after > "\x7f" and not _HIDDEN.match(before + after):
        return char
    if 0xDC80 <= place <= 0xDCFF:  # a byte of a name that is no UTF-8
        place -= 0xDC00
    short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(char, f"\\x{place:02x}")
    return short if place < 0x100 else f"\\u{place:04x}" if place < 0x10000 else f"\\U{place:08x}"


def _break_sha(match: re.Match[str]) -> str:
    return ZERO_WIDTH.join(re.findall(".{1,6}", match[0]))


def _encode(value: str) -> str:
    value = _MARKDOWN.sub(_entities, value)
    start = _BLOCK_START.match(value)  # `1. x`, `- x` would begin a list, `---` a rule
    return f"{start[1]}&#{ord(start[2])};{value[start.end() :]}" if start else value


def _entities(match: re.Match[str]) -> str:
    names = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
    return "".join(names.get(char) or f"&#{ord(char)};" for char in match[0])


def _escape(value: str) -> str:
    return value.replace(ZERO_WIDTH, "&#8203;")
