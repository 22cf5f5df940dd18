"""Writes values and changes of metrics in a number format, for a locale.

The result is that of numeral.js, except where numeral.js writes NaN or loses digits.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import date, time
from decimal import MAX_EMAX, MIN_EMIN, ROUND_HALF_DOWN, ROUND_HALF_UP, Context, Decimal, localcontext

from cml.config.number_format import NumberFormat
from cml.report.number_locale import LARGEST, NumberLocale, Real, number_locale

MISSING = "\N{EM DASH}"

ABBREVIATIONS = {"t": 12, "b": 9, "m": 6, "k": 3}  # letter -> power of ten
NEXT_ABBREVIATION = {"k": "m", "m": "b", "b": "t"}
BYTE_UNITS = ("B", "KB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
SMALLEST = Decimal("1e-6")  # numeral.js writes NaN for numbers that are smaller; we write 1.2e-9
VALUE_MANTISSA, CHANGE_MANTISSA = 7, 1  # decimals of such numbers
# Numbers of report.json may be longer than Python's usual 28 digits, and no step may raise an error.
EXACT = Context(prec=200, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[])


def write_value(number_format: NumberFormat, x: object, *, locale: str = "en") -> str:
    """Returns the text of a value. Only numbers are formatted: text stays text, None is an em dash, a list is JSON.

    Below 1e-6, formats with optional decimals to the sixth place or further (the default is one) write 1.2e-9, others
    round to zero. From 1e21 on, all write 1.2e+25. Raises ValueError for a locale that Babel does not know.
    """
    number = _real(x)
    if number is None:
        return _plain_text(x)
    if isinstance(number, float) and math.isnan(number):
        return "NaN"
    if isinstance(number, float) and math.isinf(number):
        return "∞" if number > 0 else "-∞"
    with localcontext(EXACT):
        return _Writer(format=number_format, locale=number_locale(locale)).write(number)


def write_change(number_format: NumberFormat, old: object, new: object, *, locale: str = "en") -> str:
    """Returns new minus old with its sign; zero without a sign; an em dash where one of them is not a number.

    A change that the format rounds to nothing is written as +1.2e-9. The difference is that of the decimals that people
    see, so 0.3 - 0.1 is 0.2. The change of an ordinal is a plain number.
    """
    before, after = _real(old), _real(new)
    if before is None or after is None or math.isnan(before) or math.isnan(after):
        return MISSING
    # The sign is written here, so the format has none.
    unsigned = replace(
        number_format,
        kind="number" if number_format.kind == "ordinal" else number_format.kind,
        symbols=(re.sub("[-+(]", "", number_format.symbols[0]), re.sub("[-+)]", "", number_format.symbols[1])),
        has_parentheses=False,
        sign="",
    )
    with localcontext(EXACT):
        writer = _Writer(format=unsigned, locale=number_locale(locale), mantissa=CHANGE_MANTISSA)
        if before == after:
            return writer.write(0.0)
        difference = _decimal(after) - _decimal(before)
        sign = "-" if difference < 0 else "+"
        if difference.is_infinite():
            return f"{sign}∞"
        return sign + writer.write_magnitude(_nearest(difference))


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Writes numbers in one format. With `is_scientific` all of them as 1.2e-9, with at most `mantissa` decimals."""

    format: NumberFormat
    locale: NumberLocale
    mantissa: int = VALUE_MANTISSA
    is_scientific: bool = False

    def write_magnitude(self, x: Real) -> str:
        """Returns a change without its sign."""
        # Halves are rounded toward +infinity, so the sign counts; but numeral.js has no negative times and bytes.
        text = self.write(-x if x < 0 and self.format.kind in ("bytes", "time") else x)
        if not re.search("[1-9]", text):
            kind = "number" if self.format.kind == "time" else self.format.kind
            small = replace(self.format, kind=kind, abbreviation=None)
            text = replace(self, format=small, is_scientific=True).write(x)
        return text.removeprefix("-")

    def write(self, x: Real) -> str:
        x = x or 0.0  # numeral.js has no -0
        match self.format.kind:
            case "percent":
                before, after = self.locale.percent
                space = "" if before or after[:1].isspace() else self.format.space
                return self._signed(_times(x, 100), before=before, after=space + after)
            case "bps":
                return self._signed(_times(x, 10_000), after=f"{self.format.space}BPS")
            case "currency" if self.locale.language == "en":
                return self._insert_symbols(self._signed(x), is_negative=x < 0).replace("$", self.locale.dollar)
            case "currency":
                before, after = self.locale.currency
                return self._signed(x, before=before, after=after)
            case "bytes":
                x, unit = _bytes(x, is_binary=self.format.is_binary)
                return self._signed(x) + self.format.space + unit
            case "exponential":
                digits, exponent = f"{_decimal(x):e}".split("e")
                return f"{self._signed(type(x)(digits))}e{exponent}"
            case "ordinal":
                return self._signed(x) + self.format.space + self.locale.ordinal(x)
            case "time" if _size(x) < LARGEST:
                return _clock(float(x))
            case "time" | "number":
                return self._signed(x)

    def _signed(self, x: Real, *, before: str = "", after: str = "") -> str:
        """Returns the number with its unit, and around them its sign or parentheses."""
        is_negative, body = self._body(x)
        # Parentheses take the place of a minus sign.
        if self.format.has_parentheses:
            return f"({before}{body}{after})" if is_negative else f"{before}{body}{after}"
        sign = "-" if is_negative else ""
        if self.format.sign == "+" or (self.format.sign == "-" and x < 0):
            sign = sign or "+"
            if not self.format.is_sign_first:
                return f"{before}{body}{sign}{after}"
        return f"{sign}{before}{body}{after}"

    def _body(self, x: Real) -> tuple[bool, str]:
        """Returns whether the rounded number is negative, and its text without a sign."""
        letter = self._letter(x)
        if letter:
            x = x / 10 ** ABBREVIATIONS[letter]
        suffix = "" if self.format.abbreviation is None else self.format.abbreviation_space + letter
        if self._is_scientific(x):
            return self._scientific(x, suffix)
        return self._fixed(x, suffix)

    def _letter(self, x: Real) -> str:
        if self.format.abbreviation is None:
            return ""
        fitting = (letter for letter, power in ABBREVIATIONS.items() if _size(x) >= 10**power)
        return self.format.abbreviation or next(fitting, "")

    def _is_scientific(self, x: Real) -> bool:
        has_optional_decimals = self.format.min_decimals < self.format.max_decimals and self.format.max_decimals >= 6
        is_small = 0 < _size(x) < SMALLEST and has_optional_decimals
        return self.is_scientific or is_small or _size(x) >= LARGEST

    def _scientific(self, x: Real, suffix: str) -> tuple[bool, str]:
        digits, exponent = f"{_decimal(x):.{self.mantissa}e}".split("e")
        integer, _, decimals = digits.partition(".")
        decimals = decimals.rstrip("0")
        point = self.locale.decimal if decimals else ""
        return integer.startswith("-"), f"{integer.lstrip('-')}{point}{decimals}e{exponent}{suffix}"

    def _fixed(self, x: Real, suffix: str) -> tuple[bool, str]:
        fixed = _fixed(x, least=self.format.min_decimals, most=self.format.max_decimals)
        integer, _, decimals = fixed.partition(".")
        if self.format.drops_zero_decimals and not decimals.strip("0"):
            decimals = ""
        if suffix and not self.format.abbreviation and suffix != "t" and int(integer) >= 1000:
            # Rounding made it 1000. numeral.js takes the next letter, but not one behind a space: 999999 in `0 a` is
            # `1 k`.
            integer, suffix = f"{int(integer) / 1000:.15g}", NEXT_ABBREVIATION.get(suffix, suffix)
        is_negative, integer = integer.startswith("-"), integer.lstrip("-").zfill(self.format.min_digits)
        # As in numeral.js, also an integer that is not 0 is left out.
        if self.format.hides_integer:
            integer = ""
        elif self.format.is_grouped:
            integer = self.locale.group(integer)
        return is_negative, integer + (self.locale.decimal + decimals if decimals else "") + suffix

    def _insert_symbols(self, text: str, *, is_negative: bool) -> str:
        """Inserts `$` and spaces as numeral.js does: at their positions in the format, counted in the number."""
        before, after = self.format.symbols
        if not is_negative:
            before, after = re.sub("[-(]", "", before, count=1), re.sub("[-)]", "", after, count=1)
        elif not re.search("[-(]", before):
            before = f"-{before}"
        for position, mark in enumerate(before):
            if mark in "$ ":
                text = text[:position] + mark + text[position:]
        for position, mark in enumerate(reversed(after)):
            if mark in "$ ":
                end = max(0, len(text) - position)
                text = text[:end] + mark + text[end:]
        return text


def _real(x: object) -> Real | None:
    """Returns a number as we calculate with it, None for anything else. Infinities and NaN are floats."""
    match x:
        # In Python, bool is an int; in a report, true is not a number.
        case bool():
            return None
        case float():
            return float(x)
        case int():
            return _nearest(Decimal(x))
        case Decimal() if x.is_finite():
            return _nearest(x)
        case Decimal():
            return math.nan if x.is_nan() else math.copysign(math.inf, x)
    return None


def _nearest(x: Decimal) -> Real:
    """Returns the float that is written like `x`, as JSON would read it, or `x` where there is none."""
    return float(x) if _decimal(float(x)) == x else x


def _decimal(x: Real) -> Decimal:
    return Decimal(repr(x)).normalize() if isinstance(x, float) else x


def _size(x: Real) -> Decimal:
    return abs(_decimal(x))


def _times(x: Real, factor: int) -> Real:
    # A float may overflow; a Decimal does not.
    product = x * factor
    return _decimal(x) * factor if product in (math.inf, -math.inf) else product


def _bytes(x: Real, *, is_binary: bool) -> tuple[Real, str]:
    """Returns a number of bytes in the unit that fits, and the unit. As in numeral.js, numbers below 1 have none."""
    base = 1024 if is_binary else 1000
    power = next((power for power in reversed(range(len(BYTE_UNITS))) if x >= base**power), None)
    if power is None:
        return x, "" if x else "B"
    unit = BYTE_UNITS[power]
    return x / base**power, unit.replace("B", "iB") if is_binary and power else unit


def _fixed(x: Real, *, least: int, most: int) -> str:
    """Returns digits with `least` to `most` decimals. Halves of the decimal text are rounded toward +infinity.

    A float goes through the steps of numeral's toFixed, so that the digits are the same.
    """
    # By the decimal text: the float 1.005 is a little less than 1.005, and would be rounded down.
    text = f"{_decimal(x):f}"
    if isinstance(x, float) and (not x or _size(x) >= SMALLEST):
        places = min(max(len(text.partition(".")[2]), least), most)
        rounded, half = Decimal(_round(float(f"{text}e{places}")) / 10.0**places), ROUND_HALF_UP
    else:
        places, rounded, half = most, _decimal(x), ROUND_HALF_UP if x > 0 else ROUND_HALF_DOWN
    rounded = rounded.quantize(Decimal(1).scaleb(-places), rounding=half)
    integer, _, decimals = f"{rounded or abs(rounded):f}".partition(".")
    return f"{integer}.{decimals[:least]}{decimals[least:].rstrip('0')}"


def _round(x: float) -> int:
    """JavaScript's Math.round."""
    return math.floor(x) + (x - math.floor(x) >= 0.5)


def _clock(seconds: float) -> str:
    """Returns hours, minutes and seconds by the steps of numeral.js, which can give `0:00:60`."""
    hours = math.floor(seconds / 60 / 60)
    minutes = math.floor((seconds - hours * 3600) / 60)
    return f"{hours}:{minutes:02}:{_round(seconds - hours * 3600 - minutes * 60):02}"


def _plain_text(x: object) -> str:
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
