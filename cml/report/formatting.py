"""Quantities as people say them: sizes, times, values as they stand in a file, trends in one line. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, TypeGuard

from cml.report.escape import Figure
from cml.report.i18n import ENGLISH, Words, noop

if TYPE_CHECKING:
    from babel import Locale

    from cml.config.number_format import NumberFormat
    from cml.model.report import Value

_BARS = "▁▂▃▄▅▆▇█"
_LARGEST = 2**80  # bytes; a report that somebody else wrote may hold a number that is no float
_UNITS = (noop("B"), noop("KiB"), noop("MiB"), noop("GiB"), noop("TiB"), noop("PiB"))


@dataclass(frozen=True, kw_only=True)
class Formatter:
    """Writes values: numbers of metrics in `metrics_format`, all of them for one locale and in its `words`."""

    number_format: NumberFormat
    locale: str
    words: Words

    def metric(self, value: Value) -> str:
        return Figure(self.number_format.value(value, locale=self.locale)) if is_number(value) else plain(value)

    def change(self, old: Value, new: Value) -> str:
        return Figure(self.number_format.change(old, new, locale=self.locale))

    def param(self, value: Value) -> str:
        """As its file has it: nobody asked for a learning rate of three decimals."""
        return Figure(plain(value)) if is_number(value) else plain(value)

    def size(self, count: int) -> str:
        return Figure(size(count, locale=self.locale, words=self.words))

    def size_change(self, old: int | None, new: int | None) -> str:
        """`12 KiB → 13 KiB`; the side that is known where only one is; else nothing."""
        sides = [self.size(side) for side in (old, new) if side is not None]
        return Figure(" → ".join(sides if sides[1:] and sides[0] != sides[1] else sides[:1]))

    def moment(self, date: str) -> str:
        return moment(date, locale=self.locale)

    def significant(self, number: float, unit: str = "") -> str:
        return Figure(significant(number, locale=self.locale, unit=unit))

    def percent(self, share: float | None) -> str:
        return Figure("" if share is None else percent(share, locale=self.locale))

    def duration(self, seconds: float | None) -> str:
        return Figure("" if seconds is None else duration(seconds, locale=self.locale))


def is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def key(value: Value) -> str:
    """A number as a program sorts it; empty for what is none."""
    if not is_number(value):
        return ""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf if value > 0 else -math.inf
    return "" if math.isnan(number) else repr(number)


def size(count: int, *, locale: str, words: Words) -> str:
    """Bytes, as `1.2 MiB`."""
    number, unit = float(min(abs(count), _LARGEST)), 0
    while number >= 1023.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    decimals = 1 if unit and number < 99.95 else 0
    return (
        f"{'-' if count < 0 else ''}{decimal(number, decimals=decimals, locale=locale)} {words.gettext(_UNITS[unit])}"
    )


def duration(seconds: float, *, locale: str) -> str:
    """Wall time, as `1.2 s`, `3 min 05 s`, `2 h 05 min`."""
    if not math.isfinite(seconds) or seconds < 0:
        return ""
    if seconds < 59.5:
        return f"{decimal(seconds, decimals=1 if seconds < 9.95 else 0, locale=locale)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min"


def decimal(number: float, *, decimals: int, locale: str) -> str:
    """A number with a fixed count of decimals."""
    from babel.numbers import format_decimal

    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    return str(format_decimal(number, format=pattern, locale=_locale(locale)))


def moment(date: str, *, locale: str) -> str:
    """An ISO 8601 date in its own zone, as the locale has it. Plain English, which is everybody's, has ISO's too."""
    try:
        when = datetime.fromisoformat(date.replace("Z", "+00:00"))
    except ValueError:
        return date
    if locale == ENGLISH:
        return when.strftime("%Y-%m-%d %H:%M")
    from babel.dates import format_date, format_time, get_datetime_format

    order = str(get_datetime_format("medium", locale=_locale(locale))).replace("'", "")
    return order.format(
        format_time(when, "short", tzinfo=when.tzinfo, locale=_locale(locale)),
        format_date(when, "medium", locale=_locale(locale)),
    )


def significant(number: float, *, locale: str, unit: str = "") -> str:
    """A number in six digits; a `%` behind it is written as the locale has it."""
    from babel.numbers import format_percent, get_decimal_symbol

    digits = f"{number:.6g}".replace(".", get_decimal_symbol(_locale(locale)))
    pattern = str(format_percent(0, locale=_locale(locale))) if unit == "%" else "0"
    return pattern.replace("0", digits)


def percent(share: float, *, locale: str) -> str:
    """A share from 0 to 1 in whole percents, as the locale has it; nothing for what is none."""
    from babel.numbers import format_percent

    return str(format_percent(share, locale=_locale(locale))) if 0 <= share <= 1 else ""


def plain(value: Value) -> str:
    """A value as its file has it: `true`, `null`, `1e-05`, text as it is and an empty one as `""`."""
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
    """At most `count` of the points, evenly, the first and the last among them."""
    if len(points) <= count:
        return tuple(points)
    return tuple(points[round(place * (len(points) - 1) / (count - 1))] for place in range(count))


def sparkline(points: Sequence[float], *, low: float, high: float, count: int = 20) -> str:
    """The points as a row of bars between `low` and `high`; what is not finite is a dot."""
    span = high - low
    bars = []
    for point in sample(points, count):
        if not math.isfinite(point):
            bars.append("·")
            continue
        share = (point - low) / span if span > 0 and math.isfinite(span) else 0.5
        bars.append(_BARS[min(len(_BARS) - 1, max(0, int(share * len(_BARS))))])
    return "".join(bars)


def _digits(number: int) -> str:
    try:
        return str(number)
    except ValueError:  # more digits than Python writes
        return hex(number)


@lru_cache
def _locale(name: str) -> Locale:
    from babel import Locale

    return Locale.parse(name.replace("-", "_"))
