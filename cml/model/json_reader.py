"""A report read back from report.json, which somebody else may have written: every field is checked.

What report.schema.json allows is read, and all else is refused; but a field with a default may be lacking, since an
older CML did not write it. Links and images are dropped: only the run that made a report knows where they lead. Pure.
"""

from __future__ import annotations

import json
import math
import types
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from cml.model import report
from cml.model.json import VERSION
from cml.model.report import Experiment, Report
from cml.report.formatting import is_number

LONGEST = 5_000_000  # characters of a file; ten thousand metrics are two million
LONGEST_TEXT = 20_000


def read_report(text: str) -> Report:
    """Returns the report that `render_json` wrote. Raises ValueError, one line, for anything else."""
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text)} characters, and {LONGEST} are the most")
    try:
        data = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(data, dict) or data.get("version") is True or data.get("version") != VERSION:
        raise ValueError(f"it is no report of version {VERSION}")
    found: Report = read_part(Report, data, "report")
    return replace(
        found,
        run_url=None,
        compare_url=None,
        plots=tuple(replace(plot, images=()) for plot in found.plots) if found.plots is not None else None,
        experiments=tuple(replace(experiment, url=None) for experiment in found.experiments),
    )


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def read_part(kind: type, data: Any, where: str) -> Any:
    """Returns one of the model's dataclasses from what json has read. Raises ValueError, which says what is wrong."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is no object")
    hints = get_type_hints(kind, vars(report))
    found = {}
    for field in fields(kind):
        if field.name in data:
            place = f"{where}.{field.name}"
            if kind is Experiment and field.name == "metrics":
                found[field.name] = _metrics(data[field.name], place)
            else:
                found[field.name] = _value(hints[field.name], data[field.name], place)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{where} lacks {field.name}")
    return kind(**found)


def _metrics(data: Any, where: str) -> dict[tuple[str, str], Any]:
    if not isinstance(data, list) or not all(isinstance(row, dict) and "value" in row for row in data):
        raise ValueError(f"{where} is of another kind than expected")
    return {
        (_value(str, row.get("path"), where), _value(str, row.get("name"), where)): _value(
            report.Value, row["value"], where
        )
        for row in data
    }


def _value(hint: Any, data: Any, where: str) -> Any:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _one_of(inner, data, where)
    if origin is Literal:
        if data in inner and isinstance(data, str):
            return data
        raise ValueError(f"{where} is none of {', '.join(map(str, inner))}")
    if origin is tuple and isinstance(data, list):
        if len(inner) == 2 and inner[1] is Ellipsis:
            return tuple(_value(inner[0], each, where) for each in data)
        if len(inner) == len(data):
            return tuple(_value(each, item, where) for each, item in zip(inner, data, strict=True))
    if is_dataclass(hint) and isinstance(hint, type):
        return read_part(hint, data, where)
    if hint is float and is_number(data):
        return _float(data)
    if hint is float and data in ("NaN", "Infinity", "-Infinity"):
        return float(data)
    if hint is int and isinstance(data, float) and data.is_integer():  # JSON knows one kind of number
        return int(data)
    if hint is type(None) and data is None:
        return None
    if hint in (bool, int, str) and type(data) is hint:
        return data[:LONGEST_TEXT] if isinstance(data, str) else data
    raise ValueError(f"{where} is of another kind than expected")


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _one_of(hints: tuple[Any, ...], data: Any, where: str) -> Any:
    if float in hints and isinstance(data, float):
        return data
    for hint in hints:
        try:
            return _value(hint, data, where)
        except ValueError:
            if is_dataclass(hint) and isinstance(data, dict):
                raise
    raise ValueError(f"{where} is of another kind than expected")
