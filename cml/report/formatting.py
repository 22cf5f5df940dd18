"""Formats values for readers: numbers, sizes, times, dates, and trends in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_time, get_datetime_format
from babel.numbers import format_decimal, format_percent, get_decimal_symbol

from cml.config.number_format import NumberFormat
from cml.model.report import Value, is_number
from cml.report.escape import NumberText
from cml.report.i18n import ENGLISH, Translations, noop
from cml.report.number_writer import write_change, write_value

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"
_MAX_BYTES = 2**80  # a report.json that somebody else wrote may have a number that no float can hold
_UNITS = (noop("B"), noop("KiB"), noop("MiB"), noop("GiB"), noop("TiB"), noop("PiB"))


@dataclass(frozen=True, kw_only=True)
class Formatter:
    """Formats values for one locale; numbers of metrics as `metrics_format` says."""

    number_format: NumberFormat
    locale: str
    translations: Translations

    def metric(self, value: Value) -> str:
        if is_number(value):
            return NumberText(write_value(self.number_format, value, locale=self.locale))
        return plain(value)

    def change(self, old: Value, new: Value) -> str:
        return NumberText(write_change(self.number_format, old, new, locale=self.locale))

    def param(self, value: Value) -> str:
        """Formats a param as its file has it: nobody wants a learning rate with three decimals."""
        return NumberText(plain(value)) if is_number(value) else plain(value)

    def size(self, count: int) -> str:
        return NumberText(size(count, locale=self.locale, translations=self.translations))

    def size_change(self, old: int | None, new: int | None) -> str:
        """Returns `12 KiB → 13 KiB`, or one size where only one is known or both look the same."""
        sizes = [self.size(side) for side in (old, new) if side is not None]
        if len(sizes) == 2 and sizes[0] == sizes[1]:
            sizes = sizes[:1]
        return NumberText(" → ".join(sizes))

    def moment(self, date: str) -> str:
        return moment(date, locale=self.locale)

    def significant(self, number: float, unit: str = "") -> str:
        return NumberText(significant(number, locale=self.locale, unit=unit))

    def percent(self, share: float | None) -> str:
        return NumberText("" if share is None else percent(share, locale=self.locale))

    def duration(self, seconds: float | None) -> str:
        return NumberText("" if seconds is None else duration(seconds, locale=self.locale))


def sort_key(value: Value) -> str:
    """Returns a number in the notation of programs, to sort by; an empty text for anything that is not a number."""
    if not is_number(value):
        return ""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    return "" if math.isnan(number) else repr(number)


def size(count: int, *, locale: str, translations: Translations) -> str:
    """Returns a number of bytes as `1.2 MiB`."""
    number, unit = float(min(abs(count), _MAX_BYTES)), 0
    while number >= 1023.5 and unit < len(_UNITS) - 1:  # 1023.5 would be rounded to 1024
        number, unit = number / 1024, unit + 1
    decimals = 1 if unit and number < 99.95 else 0
    sign = "-" if count < 0 else ""
    return f"{sign}{decimal(number, decimals=decimals, locale=locale)} {translations.gettext(_UNITS[unit])}"


def duration(seconds: float, *, locale: str) -> str:
    """Returns a time as `1.2 s`, `3 min 05 s`, `2 h 05 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    # Rounded before it is split: 59.7 s is `1 min 00 s`, not `60 s`.
    if seconds < 59.5:
        return f"{decimal(seconds, decimals=1 if seconds < 9.95 else 0, locale=locale)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    # Rounded again: with hours, seconds are not shown.
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def decimal(number: float, *, decimals: int, locale: str) -> str:
    """Returns a number with a fixed number of decimals."""
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(number, format=pattern, locale=_locale(locale)))


def moment(date: str, *, locale: str) -> str:
    """Returns an ISO 8601 date in its own time zone, in the format of the locale; plain `en` keeps ISO's format."""
    try:
        when = datetime.fromisoformat(date.replace("Z", "+00:00"))  # Python 3.10 does not know the Z
    except ValueError:
        return date
    if locale == ENGLISH:  # Babel would take it for American English
        return when.strftime("%Y-%m-%d %H:%M")
    # Babel's own `format_datetime` cannot have a short time with a medium date.
    order = str(get_datetime_format("medium", locale=_locale(locale))).replace("'", "")
    return order.format(
        format_time(when, "short", tzinfo=when.tzinfo, locale=_locale(locale)),
        format_date(when, "medium", locale=_locale(locale)),
    )


def significant(number: float, *, locale: str, unit: str = "") -> str:
    """Returns a number in at most six digits; the unit `%` is placed as the locale does it."""
    digits = f"{number:.6g}".replace(".", get_decimal_symbol(_locale(locale)))
    pattern = str(format_percent(0, locale=_locale(locale))) if unit == "%" else "0"
    return pattern.replace("0", digits)


def percent(share: float, *, locale: str) -> str:
    """Returns a share from 0 to 1 in whole percents, an empty text for any other number."""
    return str(format_percent(share, locale=_locale(locale))) if 0 <= share <= 1 else ""


def plain(value: Value) -> str:
    """Returns a value as its file has it: `true`, `null`, `1e-05`; an empty text as `""`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case int():
            return _digits(value)
        case _:
            return value or '""'


def sample(points: Sequence[float], count: int) -> tuple[float, ...]:
    """Returns at most `count` of the points, evenly chosen, with the first and the last."""
    if len(points) <= count:
        return tuple(points)
    return tuple(points[round(place * (len(points) - 1) / (count - 1))] for place in range(count))


def sparkline(points: Sequence[float], *, low: float, high: float, count: int = 20) -> str:
    """Returns the points as bars between `low` and `high`; a point that is not finite is a dot."""
    span = high - low
    bars = []
    for point in sample(points, count):
        if not math.isfinite(point):
            bars.append(_GAP)
            continue
        share = (point - low) / span if span > 0 and math.isfinite(span) else 0.5
        bar = int(share * len(_BARS))
        bars.append(_BARS[max(0, min(bar, len(_BARS) - 1))])
    return "".join(bars)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # Python refuses to write more than 4,300 digits
        return hex(number)


@lru_cache
def _locale(name: str) -> Locale:
    return Locale.parse(name.replace("-", "_"))
