"""`metrics_format`: numeral.js 2.0.6's grammar, compiled once, and values and changes written by it for a locale.

Pure: no I/O. What a format means is decided here; grouping, decimal sign, percent, currency and the class of an ordinal
are Babel's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_DOWN, ROUND_HALF_UP, Context, Decimal, localcontext
from functools import lru_cache
from typing import Literal, TypeAlias

DEFAULT = "0[.][0000000]"
MISSING = "\N{EM DASH}"

Kind: TypeAlias = Literal["number", "bps", "bytes", "currency", "exponential", "ordinal", "percent", "time"]
# A Decimal is what no float says exactly, such as 2**53 + 1 or 10**400. Floats round as numeral's doubles do.
Real: TypeAlias = "float | Decimal"

# In numeral's order: the first kind found in a format is the format's, and its mark is cut out of it.
_KINDS: tuple[tuple[Kind, str, str], ...] = (
    ("bps", "BPS", " ?BPS"),
    ("bytes", "[0 ]i?b", " ?i?b"),
    ("currency", r"\$", r" ?\$ ?"),
    ("exponential", "e[+-]", "e[+-]0"),
    ("ordinal", "o", " ?o"),
    ("percent", "%", " ?%"),
)
_GRAMMAR = re.compile(
    r"""(?!.*a.*a) (?!.*(?:BPS|(?<!a)b|[$o%e]).*(?:BPS|(?<!a)b|[$o%e])) (?=[^()]*(?:\([^()]*\)[^()]*)?$)
    [-+(\ $%]*  [\#0,]*  (?: \.0*(?:\[0+\])? | \[\.\]0*(?:\[0+\])? | \[\.0+\] )?
    (?: [-+)\ $] | a[kmbt]? | BPS | i?b | o | % | e[+-]0 )*  |  0+(?::0+){1,2}""",
    re.VERBOSE,
)
_POWERS = {"t": 12, "b": 9, "m": 6, "k": 3}
_BYTES = ("B", "KB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_SMALL, _LARGE = Decimal("1e-6"), 10**21  # outside of them numeral writes NaN
_MOST_DECIMALS = 100  # what JavaScript's toFixed takes
# The endings of CLDR's ordinal classes, which CLDR lacks. Most other languages write a full stop.
_ORDINALS = {
    "en": {"one": "st", "two": "nd", "few": "rd", "other": "th"},
    "es": {"other": "º"},
    "fr": {"one": "er", "other": "e"},
    "hi": {"one": "ला", "two": "रा", "few": "था", "many": "ठा", "other": "वाँ"},
    "it": {"other": "º"},
    "nl": {"other": "e"},
    "pt": {"other": "º"},
    "sv": {"one": ":a", "other": ":e"},
}
_EXACT = Context(prec=200, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


@dataclass(frozen=True, kw_only=True)
class NumberFormat:
    """A compiled format.

    `least` to `most` decimals are written after at least `leading` digits; `bare` (`.00`) leaves the integer out;
    `space` stands before the unit; `symbols` are a currency's signs, symbol and spaces before and after the number;
    `abbreviation` is a forced letter, "" where the number decides, None for none; a number that fixed digits can't
    say is `scientific`, with at most `mantissa` decimals.
    """

    kind: Kind = "number"
    space: str = ""
    binary: bool = False
    symbols: tuple[str, str] = ("", "")
    parentheses: bool = False
    sign: str = ""
    sign_first: bool = True
    abbreviation: str | None = None
    abbreviation_space: str = ""
    grouped: bool = False
    leading: int = 0
    bare: bool = False
    least: int = 0
    most: int = 0
    drop_zero_decimals: bool = False
    mantissa: int = 7
    scientific: bool = False

    @classmethod
    def parse(cls, text: str) -> NumberFormat:
        """Compile a format; white space around it is ignored. ValueError says what is wrong with it."""
        text = text.strip()
        if fault := _fault(text):
            raise ValueError(f"{text!r} is not a number format: {fault}. Good ones are '0,0.000' and '0.0%'")
        if ":" in text:
            return cls(kind="time")
        kind, mark = next(((kind, mark) for kind, found, mark in _KINDS if re.search(found, text)), ("number", ""))
        return replace(
            _parse_number(re.sub(mark, "", text, count=1)),
            kind=kind,
            space=" " if re.search(" (BPS|i?b|o|%)", text) else "",
            binary="ib" in text,
            symbols=(text[: -len(text.lstrip("-+( $"))], text[len(text.rstrip("-+) $")) :]),
        )

    def value(self, x: object, *, locale: str = "en") -> str:
        """A cell's text. Only numbers are formatted: text stays text, None is an em dash, lists are compact JSON.

        Below 1e-6, formats with optional decimals to the sixth place or further (DEFAULT is one) write 1.2e-9, others
        round to zero. From 1e21 on, all write 1.2e+25. ValueError for a locale that Babel doesn't know.
        """
        number = _real(x)
        if number is None:
            return _text(x)
        if isinstance(number, float) and not math.isfinite(number):
            return "NaN" if math.isnan(number) else "∞" if number > 0 else "-∞"
        with localcontext(_EXACT):
            return self._write(number, _script(locale))

    def change(self, old: object, new: object, *, locale: str = "en") -> str:
        """New minus old, its sign in front; zero without a sign; an em dash where one of them is no number.

        A change that the format rounds to nothing is written as +1.2e-9. The difference is that of the decimal texts,
        so 0.3 - 0.1 is 0.2. An ordinal's change is a plain number.
        """
        before, after = _real(old), _real(new)
        if before is None or after is None or math.isnan(before) or math.isnan(after):
            return MISSING
        kind: Kind = "number" if self.kind == "ordinal" else self.kind
        symbols = (re.sub("[-+(]", "", self.symbols[0]), re.sub("[-+)]", "", self.symbols[1]))
        plain = replace(self, kind=kind, symbols=symbols, parentheses=False, sign="", mantissa=1)
        with localcontext(_EXACT):
            if before == after:
                return plain._write(0.0, _script(locale))
            difference = _decimal(after) - _decimal(before)
            sign = "-" if difference < 0 else "+"
            if difference.is_infinite():
                return f"{sign}∞"
            return sign + plain._magnitude(_nearest(difference), _script(locale))

    def _magnitude(self, x: Real, script: _Script) -> str:
        """A change without its sign. Halves still round toward +infinity, but time and bytes have no negatives."""
        text = self._write(-x if x < 0 and self.kind in ("bytes", "time") else x, script)
        if not re.search("[1-9]", text):
            kind: Kind = "number" if self.kind == "time" else self.kind
            text = replace(self, kind=kind, scientific=True, abbreviation=None)._write(x, script)
        return text.removeprefix("-")

    def _write(self, x: Real, script: _Script) -> str:
        x = x or 0.0  # numeral has no -0
        match self.kind:
            case "percent":
                before, after = script.percent
                gap = "" if before or after[:1].isspace() else self.space
                return self._signed(_times(x, 100), script, before=before, after=gap + after)
            case "bps":
                return self._signed(_times(x, 10_000), script, after=f"{self.space}BPS")
            case "currency" if script.language == "en":
                return self._insert_symbols(self._signed(x, script), negative=x < 0).replace("$", script.dollar)
            case "currency":
                return self._signed(x, script, before=script.currency[0], after=script.currency[1])
            case "bytes":
                x, unit = _bytes(x, binary=self.binary)
                return self._signed(x, script) + self.space + unit
            case "exponential":
                digits, exponent = f"{_decimal(x):e}".split("e")
                return f"{self._signed(type(x)(digits), script)}e{exponent}"
            case "ordinal":
                return self._signed(x, script) + self.space + script.ordinal(x)
            case "time" if _size(x) < _LARGE:
                return _clock(float(x))
            case "time" | "number":
                return self._signed(x, script)

    def _signed(self, x: Real, script: _Script, *, before: str = "", after: str = "") -> str:
        """The number with its sign or parentheses, which enclose its unit."""
        negative, body = self._body(x, script)
        if self.parentheses:
            return f"({before}{body}{after})" if negative else f"{before}{body}{after}"
        if self.sign == "+" or (self.sign == "-" and x < 0):
            sign = "-" if negative else "+"
            return f"{sign}{before}{body}{after}" if self.sign_first else f"{before}{body}{sign}{after}"
        return f"{'-' if negative else ''}{before}{body}{after}"

    def _body(self, x: Real, script: _Script) -> tuple[bool, str]:
        """Whether the rounded number is negative, and its text without a sign."""
        suffix = ""
        if self.abbreviation is not None:
            letter = self.abbreviation or next((a for a, power in _POWERS.items() if _size(x) >= 10**power), "")
            x = x / 10 ** _POWERS[letter] if letter else x
            suffix = self.abbreviation_space + letter
        below = 0 < _size(x) < _SMALL and self.least < self.most and self.most >= 6
        if self.scientific or below or _size(x) >= _LARGE:
            digits, exponent = f"{_decimal(x):.{self.mantissa}e}".split("e")
            whole, _, decimals = digits.partition(".")
            point = script.decimal if decimals.strip("0") else ""
            return whole.startswith("-"), f"{whole.lstrip('-')}{point}{decimals.rstrip('0')}e{exponent}{suffix}"
        whole, _, decimals = _fixed(x, least=self.least, most=self.most).partition(".")
        if self.drop_zero_decimals and not decimals.strip("0"):
            decimals = ""
        if suffix and not self.abbreviation and suffix != "t" and int(whole) >= 1000:
            # numeral moves on to the next letter, but doesn't see one behind a space: 999999 in `0 a` is `1 k`
            whole, suffix = f"{int(whole) / 1000:.15g}", {"k": "m", "m": "b", "b": "t"}.get(suffix, suffix)
        negative, whole = whole.startswith("-"), whole.lstrip("-").zfill(self.leading)
        whole = "" if self.bare else script.group(whole) if self.grouped else whole
        return negative, whole + (script.decimal + decimals if decimals else "") + suffix

    def _insert_symbols(self, text: str, *, negative: bool) -> str:
        """Put `$` and spaces where numeral does: at their places in the format, counted in the finished number."""
        before, after = self.symbols
        if not negative:
            before, after = re.sub("[-(]", "", before, count=1), re.sub("[-)]", "", after, count=1)
        elif not re.search("[-(]", before):
            before = f"-{before}"
        for place, mark in enumerate(before):
            text = text[:place] + mark + text[place:] if mark in "$ " else text
        for place, mark in enumerate(reversed(after)):
            at = max(0, len(text) - place)
            text = text[:at] + mark + text[at:] if mark in "$ " else text
        return text


@dataclass(frozen=True, kw_only=True)
class _Script:
    """How a locale writes numbers, asked of Babel once. Pairs are what stands before and after the digits."""

    language: str
    decimal: str
    separator: str
    sizes: tuple[int, int]
    percent: tuple[str, str]
    currency: tuple[str, str]
    dollar: str
    ordinal_class: Callable[[int], str]

    def group(self, digits: str) -> str:
        digits, point, rest = digits.partition(".")
        groups, digits = [digits[-self.sizes[0] :]], digits[: -self.sizes[0]]
        while digits:
            groups, digits = [digits[-self.sizes[1] :], *groups], digits[: -self.sizes[1]]
        return self.separator.join(groups) + point + rest

    def ordinal(self, x: Real) -> str:
        """An ordinal's ending; what isn't a whole number from 0 has the language's common one."""
        endings = _ORDINALS.get(self.language, {"other": "."})
        whole = 0 <= x < _LARGE and x == int(x)
        return endings.get(self.ordinal_class(int(x)) if whole else "other", endings["other"])


@lru_cache
def _script(name: str) -> _Script:
    from babel import Locale, UnknownLocaleError, numbers

    try:
        locale = Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        raise ValueError(f"{name!r} is not a locale that Babel knows: write one like 'en' or 'pt_BR'") from error
    percent, currency = numbers.format_percent(0, locale=locale), numbers.format_currency(0, "USD", locale=locale)
    return _Script(
        language=locale.language,
        decimal=numbers.get_decimal_symbol(locale),
        separator=numbers.get_group_symbol(locale),
        sizes=locale.decimal_formats[None].grouping,
        percent=(percent.partition("0")[0], percent.rpartition("0")[2]),
        currency=(currency.partition("0")[0], currency.rpartition("0")[2]),
        dollar=numbers.get_currency_symbol("USD", locale),
        ordinal_class=locale.ordinal_form,
    )


def _fault(text: str) -> str:
    """What is wrong with a format, or nothing. Stricter than numeral, which takes any text."""
    if "0" not in re.sub("e[+-]0", "", text):
        return "it has no digit place '0'"
    if not _GRAMMAR.fullmatch(text):
        return "it must be signs or one pair of parentheses around digits and decimals, with one unit at most"
    if text.partition(".")[2].count("0") > _MOST_DECIMALS:
        return f"it has more than {_MOST_DECIMALS} decimals"
    return ""


def _parse_number(text: str) -> NumberFormat:
    """What is left of a format without its unit. As in numeral, order matters: what is read is cut out."""
    parentheses, sign = "(" in text, re.search(r"\+", text) or re.search("-", text)
    if parentheses:
        text, sign = re.sub("[()]", "", text), None
    elif sign:
        text = re.sub("[-+]", "", text)
    abbreviation, space = re.search("a([kmbt]?)", text), " " if " a" in text else ""
    text = re.sub(f"{space}a[kmbt]?", "", text, count=1)
    drop_zero_decimals, text = "[.]" in text, text.replace("[.]", ".")
    whole, _, decimals = text.partition(".")
    # Any character is a decimal place, so `0[.0000]` has five of them. That is numeral.
    fixed, _, optional = decimals.replace("]", "", 1).partition("[") if "[" in decimals else (decimals, "", "")
    return NumberFormat(
        parentheses=parentheses,
        sign=sign[0] if sign else "",
        sign_first=not sign or sign.start() == 0,
        abbreviation=abbreviation and abbreviation[1],
        abbreviation_space=space,
        grouped="," in text,
        leading=whole.partition(",")[0].count("0"),
        bare=text.startswith("."),
        least=len(fixed),
        most=len(fixed) + len(optional),
        drop_zero_decimals=drop_zero_decimals,
    )


def _real(x: object) -> Real | None:
    """A number as we calculate with it, or None for what isn't one. Infinities and NaN are floats."""
    match x:
        case bool():
            return None
        case float():
            return float(x)
        case int():
            return _nearest(Decimal(x))
        case Decimal():
            return _nearest(x) if x.is_finite() else math.nan if x.is_nan() else math.copysign(math.inf, x)
    return None


def _nearest(x: Decimal) -> Real:
    """The float that is written like `x`, as JSON would read it, else `x`."""
    return float(x) if _decimal(float(x)) == x else x


def _decimal(x: Real) -> Decimal:
    return Decimal(repr(x)).normalize() if isinstance(x, float) else x


def _size(x: Real) -> Decimal:
    return abs(_decimal(x))


def _times(x: Real, factor: int) -> Real:
    product = x * factor
    return _decimal(x) * factor if product in (math.inf, -math.inf) else product


def _bytes(x: Real, *, binary: bool) -> tuple[Real, str]:
    """Scaled, with its unit. As in numeral, numbers below 1 (negative ones too) have none, but 0 has."""
    base = 1024 if binary else 1000
    power = next((power for power in reversed(range(len(_BYTES))) if x >= base**power), None)
    if power is None:
        return x, "" if x else "B"
    return x / base**power, _BYTES[power].replace("B", "iB") if binary and power else _BYTES[power]


def _fixed(x: Real, *, least: int, most: int) -> str:
    """Digits with `least` to `most` decimals. Halves of the decimal text round toward +infinity, without float's noise.

    A float goes through the steps of numeral's toFixed, to end at the same digits.
    """
    text = f"{_decimal(x):f}"
    if isinstance(x, float) and (not x or _size(x) >= _SMALL):
        places = min(max(len(text.partition(".")[2]), least), most)
        rounded, half = Decimal(_round(float(f"{text}e{places}")) / 10.0**places), ROUND_HALF_UP
    else:
        places, rounded, half = most, _decimal(x), ROUND_HALF_UP if x > 0 else ROUND_HALF_DOWN
    rounded = rounded.quantize(Decimal(1).scaleb(-places), rounding=half)
    whole, _, decimals = f"{rounded or abs(rounded):f}".partition(".")
    return f"{whole}.{decimals[:least]}{decimals[least:].rstrip('0')}"


def _round(x: float) -> int:
    """JavaScript's Math.round."""
    return math.floor(x) + (x - math.floor(x) >= 0.5)


def _clock(seconds: float) -> str:
    """Hours, minutes, seconds by numeral's own steps, which can end at `0:00:60`."""
    hours = math.floor(seconds / 60 / 60)
    minutes = math.floor((seconds - hours * 3600) / 60)
    return f"{hours}:{minutes:02}:{_round(seconds - hours * 3600 - minutes * 60):02}"


def _text(x: object) -> str:
    match x:
        case None:
            return MISSING
        case str():
            return x
        case date() | time():
            return x.isoformat()
    try:
        return json.dumps(x, ensure_ascii=False, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError):
        return repr(x)
