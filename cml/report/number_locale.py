"""How numbers are written in a locale, as Babel knows it: signs, grouping, percent, currency, ordinals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from babel import Locale, UnknownLocaleError, numbers

# A Decimal is a number that no float is equal to, such as 2**53 + 1 or 10**400. Floats are rounded as in numeral.js.
Real: TypeAlias = "float | Decimal"

LARGEST = 10**21  # numeral.js writes NaN for numbers that are larger; we write 1.2e+25
# The endings of CLDR's classes of ordinals, which CLDR does not have. Most other languages write a full stop.
ORDINAL_ENDINGS = {
    "en": {"one": "st", "two": "nd", "few": "rd", "other": "th"},
    "es": {"other": "º"},
    "fr": {"one": "er", "other": "e"},
    "hi": {"one": "ला", "two": "रा", "few": "था", "many": "ठा", "other": "वाँ"},
    "it": {"other": "º"},
    "nl": {"other": "e"},
    "pt": {"other": "º"},
    "sv": {"one": ":a", "other": ":e"},
}


@dataclass(frozen=True, kw_only=True)
class NumberLocale:
    """How a locale writes numbers. Pairs are the texts before and after the digits."""

    language: str
    decimal: str
    separator: str
    group_sizes: tuple[int, int]
    percent: tuple[str, str]
    currency: tuple[str, str]
    dollar: str
    ordinal_class: Callable[[int], str]

    def group(self, digits: str) -> str:
        # In Hindi the last group has three digits and the others two: 12,34,567.
        digits, point, rest = digits.partition(".")
        first, others = self.group_sizes
        groups, digits = [digits[-first:]], digits[:-first]
        while digits:
            groups, digits = [digits[-others:], *groups], digits[:-others]
        return self.separator.join(groups) + point + rest

    def ordinal(self, x: Real) -> str:
        """Returns the ending of an ordinal. Negative and fractional numbers have the common one of the language."""
        endings = ORDINAL_ENDINGS.get(self.language, {"other": "."})
        is_whole = 0 <= x < LARGEST and x == int(x)
        return endings.get(self.ordinal_class(int(x)) if is_whole else "other", endings["other"])


@lru_cache
def number_locale(name: str) -> NumberLocale:
    """Raises ValueError for a locale that Babel does not know."""
    try:
        locale = Locale.parse(name.replace("-", "_"))
    except (UnknownLocaleError, ValueError) as error:
        raise ValueError(f"{name!r} is not a locale that Babel knows: expected one such as en or pt_BR") from error
    # What is written around a 0 is what the locale writes around any number.
    percent, currency = numbers.format_percent(0, locale=locale), numbers.format_currency(0, "USD", locale=locale)
    return NumberLocale(
        language=locale.language,
        decimal=numbers.get_decimal_symbol(locale),
        separator=numbers.get_group_symbol(locale),
        group_sizes=locale.decimal_formats[None].grouping,
        percent=(percent.partition("0")[0], percent.rpartition("0")[2]),
        currency=(currency.partition("0")[0], currency.rpartition("0")[2]),
        dollar=numbers.get_currency_symbol("USD", locale),
        ordinal_class=locale.ordinal_form,
    )
