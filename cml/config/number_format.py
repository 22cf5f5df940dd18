"""`metrics_format`: the grammar of numeral.js 2.0.6. `cml.report.number_writer` writes numbers in a format. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

DEFAULT = "0[.][0000000]"
MOST_DECIMALS = 100  # as JavaScript's toFixed

Kind: TypeAlias = Literal["number", "bps", "bytes", "currency", "exponential", "ordinal", "percent", "time"]

# Kind, how to find it in a format, and the mark that is cut out of the format. The first that is found is the kind of
# the format: this is the order of numeral.js.
_KINDS: tuple[tuple[Kind, str, str], ...] = (
    ("bps", "BPS", " ?BPS"),
    ("bytes", "[0 ]i?b", " ?i?b"),
    ("currency", r"\$", r" ?\$ ?"),
    ("exponential", "e[+-]", "e[+-]0"),
    ("ordinal", "o", " ?o"),
    ("percent", "%", " ?%"),
)
# numeral.js accepts any text; we accept what it gives a meaning.
_GRAMMAR = re.compile(
    r"""
    (?!.*a.*a)                                                             # one abbreviation
    (?!.*(?:BPS|(?<!a)b|[$o%e]).*(?:BPS|(?<!a)b|[$o%e]))                   # one unit
    (?=[^()]*(?:\([^()]*\)[^()]*)?$)                                       # one pair of parentheses
    [-+(\ $%]*                                                             # signs and symbols before the digits
    [\#0,]*                                                                # digits
    (?: \.0*(?:\[0+\])? | \[\.\]0*(?:\[0+\])? | \[\.0+\] )?                # decimals
    (?: [-+)\ $] | a[kmbt]? | BPS | i?b | o | % | e[+-]0 )*                # signs, abbreviation and unit after them
    | 0+(?::0+){1,2}                                                       # or a time
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """A parsed format.

    `min_decimals` to `max_decimals` are written after at least `min_digits` digits; `hides_integer` (`.00`) leaves the
    integer out. `space` is between number and unit. `symbols` are the signs, `$` and spaces before and after a number
    with a currency. `abbreviation` is a forced letter, "" if the number decides, None for no abbreviation.
    """

    kind: Kind = "number"
    space: str = ""
    is_binary: bool = False
    symbols: tuple[str, str] = ("", "")
    has_parentheses: bool = False
    sign: str = ""
    is_sign_first: bool = True
    abbreviation: str | None = None
    abbreviation_space: str = ""
    is_grouped: bool = False
    min_digits: int = 0
    hides_integer: bool = False
    min_decimals: int = 0
    max_decimals: int = 0
    drops_zero_decimals: bool = False

    @classmethod
    def parse(cls, text: str) -> NumberFormat:
        """Parses a format; white space around it is ignored. Raises ValueError with what is wrong with it."""
        text = text.strip()
        if problem := _problem(text):
            raise ValueError(f"{text!r} is not a number format: {problem}; write for example 0,0.000 or 0.0%")
        if ":" in text:
            return cls(kind="time")
        kind, mark = _kind(text)
        return replace(
            _parse_digits(re.sub(mark, "", text, count=1)),
            kind=kind,
            space=" " if re.search(" (BPS|i?b|o|%)", text) else "",
            is_binary="ib" in text,
            symbols=(text[: -len(text.lstrip("-+( $"))], text[len(text.rstrip("-+) $")) :]),
        )


def _problem(text: str) -> str:
    """Returns what is wrong with a format, or an empty text."""
    if "0" not in re.sub("e[+-]0", "", text):
        return "it has no digit 0"
    if not _GRAMMAR.fullmatch(text):
        return "expected digits and decimals with signs or one pair of parentheses around them, and at most one unit"
    if text.partition(".")[2].count("0") > MOST_DECIMALS:
        return f"it has more than {MOST_DECIMALS} decimals"
    return ""


def _kind(text: str) -> tuple[Kind, str]:
    for kind, found, mark in _KINDS:
        if re.search(found, text):
            return kind, mark
    return "number", ""


def _parse_digits(text: str) -> NumberFormat:
    """Parses a format without its unit. Each part that is read is cut out; the order is that of numeral.js."""
    has_parentheses = "(" in text
    sign = None
    if has_parentheses:
        text = re.sub("[()]", "", text)
    elif sign := re.search(r"\+", text) or re.search("-", text):
        text = re.sub("[-+]", "", text)
    abbreviation = re.search("a([kmbt]?)", text)
    abbreviation_space = " " if " a" in text else ""
    text = re.sub(f"{abbreviation_space}a[kmbt]?", "", text, count=1)
    drops_zero_decimals, text = "[.]" in text, text.replace("[.]", ".")
    integer, _, decimals = text.partition(".")
    always, sometimes = _split_decimals(decimals)
    return NumberFormat(
        has_parentheses=has_parentheses,
        sign=sign[0] if sign else "",
        is_sign_first=not sign or sign.start() == 0,
        abbreviation=abbreviation[1] if abbreviation else None,
        abbreviation_space=abbreviation_space,
        is_grouped="," in text,
        min_digits=integer.partition(",")[0].count("0"),
        hides_integer=text.startswith("."),
        min_decimals=len(always),
        max_decimals=len(always) + len(sometimes),
        drops_zero_decimals=drops_zero_decimals,
    )


def _split_decimals(decimals: str) -> tuple[str, str]:
    """Returns the decimals that are always written, and those that are written unless they are zero."""
    if "[" not in decimals:
        # In numeral.js any character is a decimal place, so `0[.0000]`, here `0000]`, has five of them.
        return decimals, ""
    always, _, sometimes = decimals.replace("]", "", 1).partition("[")
    return always, sometimes
