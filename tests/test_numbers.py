"""`metrics_format`: the grammar of numeral.js, numbers that numeral.js gets wrong, other locales, and changes."""

import datetime
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cml.config.number_format import DEFAULT, NumberFormat
from cml.report.number_writer import MISSING, write_change, write_value

VECTORS = [
    vector
    for name in ("numeral_vectors.json", "numeral_random.json")
    for vector in json.loads(Path(__file__).with_name("data").joinpath(name).read_text("utf-8"))["vectors"]
]
CODE = "import sys; from cml.config.number_format import *; NumberFormat.parse(DEFAULT); print('babel' in sys.modules)"


def write(text: str, x: object, locale: str = "en") -> str:
    return write_value(NumberFormat.parse(text), x, locale=locale)


def change(text: str, old: object, new: object, locale: str = "en") -> str:
    return write_change(NumberFormat.parse(text), old, new, locale=locale)


def test_every_vector_is_written_as_numeral_writes_it() -> None:
    wrong = [(text, x, output, ours) for text, x, output in VECTORS if (ours := write(text, x)) != output]
    assert not wrong


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        (DEFAULT, 0.1 + 0.2, "0.3"),
        (DEFAULT, 0.9886999726, "0.9887"),
        (DEFAULT, 1e-6, "0.000001"),
        (DEFAULT, 1e-9, "1e-9"),
        (DEFAULT, -1.5e-7, "-1.5e-7"),
        (DEFAULT, 9.99999999e-9, "1e-8"),
        (DEFAULT, 1e25, "1e+25"),
        (DEFAULT, -1.23456789e25, "-1.2345679e+25"),
        (DEFAULT, 5e-324, "5e-324"),
        ("0." + "0" * 25, 1e-6, "0.0000009999999999999999547"),
        ("0." + "0" * 25, 1.5e-7, "0.0000001500000000000000000"),
        (DEFAULT, -0.0, "0"),
        ("0.00", 1e-9, "0.00"),
        ("0[.]00", -1e-9, "0"),
        ("0.[000]", 1e-9, "0"),
        ("0,0.00", 1e21, "1e+21"),
        ("(0.[0000000])", -1e-9, "(1e-9)"),
        ("+0.[0000000]%", 1e-10, "+1e-8%"),
        ("0.00%", 1e308, "1e+310%"),
        ("0.0 b", 1e25, "10.0 YB"),
        ("0.0e+0", 1.25e-9, "1.3e-9"),
        ("0:00", 1e25, "1e+25"),
    ],
)
def test_numbers_that_numeral_writes_as_nan_are_readable(text: str, x: float, expected: str) -> None:
    assert write(text, x) == expected


@pytest.mark.parametrize(
    ("text", "x", "expected"),
    [
        ("0,0", 2**53 + 1, "9,007,199,254,740,993"),
        (DEFAULT, 10**400, "1e+400"),
        ("0,0", -(10**4000), "-1e+4000"),
        ("0.00", Decimal("0.125"), "0.13"),
        ("0.00", Decimal("-0.125"), "-0.12"),
        ("0." + "0" * 24, Decimal("0.1234567890123456789012345"), "0.123456789012345678901235"),
        ("0." + "0" * 24, Decimal("-0.1234567890123456789012345"), "-0.123456789012345678901234"),
        (DEFAULT, Decimal("12345678901234567890.123456789"), "12345678901234567890.1234568"),
        ("0.0", Decimal("-1E-999999999"), "0.0"),
        (DEFAULT, Decimal("1E+999999999"), "1e+999999999"),
    ],
)
def test_numbers_beyond_floats_are_exact(text: str, x: int | Decimal, expected: str) -> None:
    assert write(text, x) == expected


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (None, MISSING),
        ("0.98 ± 0.01", "0.98 ± 0.01"),
        ("", ""),
        (True, "true"),
        (False, "false"),
        (float("nan"), "NaN"),
        (Decimal("sNaN"), "NaN"),
        (float("inf"), "∞"),
        (Decimal("-Infinity"), "-∞"),
        (datetime.date(2024, 2, 29), "2024-02-29"),
        (datetime.datetime(2024, 2, 29, 12, 30), "2024-02-29T12:30:00"),
        ([1, 0.5, None, "é"], '[1,0.5,null,"é"]'),
        ({"a": {"b": True}}, '{"a":{"b":true}}'),
        ({(1, 2): 3}, "{(1, 2): 3}"),
    ],
)
def test_a_value_that_is_not_a_number_is_not_formatted(x: object, expected: str) -> None:
    assert write("0.00%", x) == write("0:00", x) == expected


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (DEFAULT, 0.1, 0.3, "+0.2"),
        (DEFAULT, 0.3, 0.1, "-0.2"),
        (DEFAULT, 1, 1.0, "0"),
        (DEFAULT, -0.0, 0, "0"),
        ("+0.00", 1, 1, "0.00"),
        (DEFAULT, 0.5, 0.5 + 1.2345e-9, "+1.2e-9"),
        (DEFAULT, 0.5, 0.5 - 1.2345e-9, "-1.2e-9"),
        (DEFAULT, 0, 1.25e30, "+1.2e+30"),
        (DEFAULT, 10**400, 10**400 + 1, "+1"),
        ("0.00", 0.5, 0.5001, "+1e-4"),
        ("0.00%", 0.98, 0.97, "-1.00%"),
        ("0.0%", 0.98, 0.980001, "+1e-4%"),
        ("(0,0)", 5000, 1, "-4,999"),
        ("0,0+", 5, 1, "-4"),
        ("0 b", 1500, 0, "-2 KB"),
        ("0:00", 100, 0, "-0:01:40"),
        ("0:00", 0.1, 0, "-1e-1"),
        ("0:00", 1, 1.5, "+0:00:01"),
        ("0:00", 0, 90, "+0:01:30"),
        ("0.0", 0.25, 0, "-0.2"),
        ("0o", 3, 5, "+2"),
        ("0am", 1500, 0, "-1.5e+3"),
        ("0.0e+0", 1, 1.0005, "+5.0e-4"),
        ("$0.00", 3, 1, "-$2.00"),
        ("($0.00)", 0.001, 0, "-$1e-3"),
        ("+$0,0", 1, 5001, "+$5,000"),
        (DEFAULT, 1, float("inf"), "+∞"),
        (DEFAULT, float("inf"), float("inf"), "0"),
    ],
)
def test_a_change_is_signed_and_never_rounded_to_nothing(text: str, old: object, new: object, expected: str) -> None:
    assert change(text, old, new) == expected


@pytest.mark.parametrize("other", [None, "0.5", True, float("nan"), Decimal("sNaN"), [1]])
def test_a_change_needs_two_numbers(other: object) -> None:
    assert change(DEFAULT, other, 1) == change(DEFAULT, 1, other) == MISSING


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no digit 0"),
        ("#,###.##", "no digit 0"),
        ("%", "no digit 0"),
        ("$ e+0", "no digit 0"),
        ("{:.2f} 0", "at most one unit"),
        ("two 0", "at most one unit"),
        ("0.0.0", "at most one unit"),
        ("0.[00", "at most one unit"),
        ("(0", "at most one unit"),
        (")0(", "at most one unit"),
        ("0%%", "at most one unit"),
        ("0b%", "at most one unit"),
        ("$0$", "at most one unit"),
        ("0aa", "at most one unit"),
        ("0:0:0:0", "at most one unit"),
        ("0.\n0", "at most one unit"),
        ("0." + "0" * 101, "more than 100 decimals"),
    ],
)
def test_the_error_for_a_bad_format_has_the_reason_and_two_examples(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"{fault}.*write for example 0,0.000 or 0.0%"):
        NumberFormat.parse(text)


def test_a_hundred_decimals_can_be_written() -> None:
    assert write("0." + "0" * 100, 1.5) == "1.5" + "0" * 99


def test_a_second_sign_moves_the_currency_symbol() -> None:
    """As in numeral.js, which removes one of the signs."""
    assert (write("--$0", 5), write("0$--", 5)) == ("5$", "$5")
    assert (write("--$ 0", 5), write("0 $--", 5)) == ("5$ ", " $5")


def test_white_space_around_a_format_is_ignored() -> None:
    assert NumberFormat.parse(" 0.00 \n") == NumberFormat.parse("0.00")


@pytest.mark.parametrize(
    ("locale", "text", "x", "expected"),
    [
        ("de", "0,0.00", -1234567.891, "-1.234.567,89"),
        ("de", "0.0%", 0.125, "12,5\xa0%"),
        ("de", "($0,0.00)", -1234.5, "(1.234,50\xa0$)"),
        ("de", "0o", 3, "3."),
        ("de", DEFAULT, 1.5e-9, "1,5e-9"),
        ("de", "0[.]0 a", 1234567, "1,2 m"),
        ("de", "0,0.00 b", 1536, "1,54 KB"),
        ("fr", "0,0.0", 1234567.89, "1\u202f234\u202f567,9"),
        ("fr", "0.00 %", 0.5, "50,00\xa0%"),
        ("fr", "0o", 1, "1er"),
        ("fr", "0o", 2, "2e"),
        ("hi", "0,0", 1234567, "12,34,567"),
        ("hi", "00000000,0", 1234567, "0,12,34,567"),
        ("tr", "+0%", 0.12, "+%12"),
        ("ar", "0,0.00", -1234.5, "-1,234.50"),
        ("ar", "0:00", 3661, "1:01:01"),
        ("pt-BR", "0,0.00", 1234.5, "1.234,50"),
        ("en_GB", "$0,0.00", -1234.5, "-US$1,234.50"),
    ],
)
def test_numbers_are_written_as_in_the_locale(locale: str, text: str, x: float, expected: str) -> None:
    assert write(text, x, locale) == expected


@pytest.mark.parametrize("locale", ["de", "fr", "hi", "ar", "sv", "ja"])
def test_grouped_numbers_are_the_same_as_babels(locale: str) -> None:
    from babel.numbers import format_decimal, format_percent

    for x in (0, 12, -1234.5, 1234567.25):
        assert write("0,0[.][00]", x, locale) == format_decimal(x, locale=locale)
    assert write("0,0%", 12.34, locale) == format_percent(12.34, locale=locale)


def test_a_change_is_written_as_in_the_locale() -> None:
    assert change("0,0.0%", 99.5, 0.5, "de") == "-9.900,0\xa0%"


def test_an_unknown_locale_is_named() -> None:
    with pytest.raises(ValueError, match="'klingon' is not a locale"):
        write("0", 1, "klingon")


def test_parsing_a_format_does_not_import_babel() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


WHOLE = st.sampled_from(["0", "00", "0,0", "#,##0", "", "0000,0"])
DECIMALS = st.sampled_from(["", ".", ".0", ".00[00]", "[.]0", "[.][0000000]", ".[00]", "[.000]", ".0000000000"])
UNIT = st.sampled_from(["", "%", " %", "b", " ib", "o", " o", " BPS", "e+0", "e-0", "a", " a", "ak", " am", "$", " $"])
FORMATS = st.one_of(
    st.builds("".join, st.tuples(st.sampled_from(["", "+", "-", "$", "$ ", "-$"]), WHOLE, DECIMALS, UNIT)),
    st.builds("({}{}{})".format, WHOLE, DECIMALS, UNIT),
    st.text("0#,.[]+-()$% abkmtoieBPS:", max_size=12),
    st.sampled_from(["0:00", "00:00:00"]),
)
NUMBERS = st.one_of(st.floats(), st.integers(), st.integers(10**300, 10**400), st.decimals(), st.floats(-1e-5, 1e-5))


@given(text=FORMATS, old=NUMBERS, new=NUMBERS, locale=st.sampled_from(["en", "de", "hi", "tr"]))
def test_every_format_is_refused_or_can_write_every_number(
    text: str, old: float | Decimal, new: float | Decimal, locale: str
) -> None:
    try:
        compiled = NumberFormat.parse(text)
    except ValueError:
        return
    assert isinstance(write_value(compiled, old, locale=locale), str)
    assert isinstance(write_change(compiled, old, new, locale=locale), str)


@pytest.mark.parametrize(
    ("text", "x", "written"),
    [
        ("0.000000", 1e-9, "0.000000"),
        ("0.[000000]", 1e-9, "1e-9"),
        ("0.[00000]", 1e-9, "0"),
        ("0%", -1e308, "-1e+310%"),
        ("0%", 1e308, "1e+310%"),
        ("00:00", 10**21, "1e+21"),
    ],
)
def test_numbers_near_the_limits_of_fixed_digits(text: str, x: float, written: str) -> None:
    assert write(text, x) == written
