"""report.json: writes a report as JSON and reads it back.

Values are written as their files have them, not as `metrics_format` shows them. A report.json that is read may have
been changed by somebody else, so each field is checked: what docs and report.schema.json allow is read, anything else
is refused. A field with a default may be missing, since an older CML did not write it.
"""

from __future__ import annotations

import json
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from functools import cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from cml.model import report as model
from cml.model.report import Experiment, Report, is_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1
MAX_CHARACTERS = 5_000_000  # of a file that is read; ten thousand metrics need two million
MAX_TEXT = 20_000  # characters of one text in it; longer ones are cut

_NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_CONSTANTS = {None: "null", True: "true", False: "false"}
_WRONG_TYPE = "{} has the wrong type"


# --- Writing


def render_json(report: Report) -> Iterator[str]:
    """Yields the report as JSON in pieces, with one line for each item of a list.

    NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity", which JSON has no numbers for. An
    experiment's metrics are a list of {"path", "name", "value"}.
    """
    # `json.dumps` would need a copy of the whole report as lists and dicts: much memory with thousands of metrics.
    yield f'{{\n"version": {VERSION}'
    for name in _field_names(Report):
        value = getattr(report, name)
        if isinstance(value, tuple) and value:
            separator = f',\n"{name}": [\n  '
            for item in value:
                yield separator
                yield from _item_pieces(item)
                separator = ",\n  "
            yield "\n]"
        else:
            yield f',\n"{name}": {_as_json(value)}'
    yield "\n}\n"


def _item_pieces(item: object) -> Iterator[str]:
    """Yields an item of a list; an experiment in pieces, since it has as many metrics as the report itself."""
    if not isinstance(item, Experiment):
        yield _as_json(item)
        return
    separator = "{"
    for name in _field_names(Experiment):
        value = getattr(item, name)
        yield f'{separator}"{name}": '
        if isinstance(value, Mapping):
            yield from _metrics_pieces(value)
        else:
            yield _as_json(value)
        separator = ", "
    yield "}"


def _metrics_pieces(metrics: Mapping[tuple[str, str], object]) -> Iterator[str]:
    separator = "["
    for (path, name), value in metrics.items():
        yield f'{separator}{{"path": {_quote(path)}, "name": {_quote(name)}, "value": {_as_json(value)}}}'
        separator = ", "
    yield "]" if metrics else "[]"


def _as_json(value: object) -> str:
    # The order matters: True and False are ints in Python, and must not be written as 1 and 0.
    if isinstance(value, float):
        text = repr(value)
        return _NOT_FINITE.get(text, text)
    if isinstance(value, str):
        return _quote(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join([_as_json(item) for item in value])}]"
    return _object_as_json(cast("DataclassInstance", value))


def _object_as_json(value: DataclassInstance) -> str:
    members = [f'"{name}": {_as_json(getattr(value, name))}' for name in _field_names(type(value))]
    return "{" + ", ".join(members) + "}"


@cache  # `fields` is slow, and there may be thousands of rows
def _field_names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _quote(text: str) -> str:
    return encode_basestring(text if text.isascii() else encodable(text))


def encodable(text: str) -> str:
    r"""Returns the text with halves of surrogate pairs as `\udc80`: file names that are not UTF-8 contain them."""
    return text.encode("utf-8", "backslashreplace").decode()


# --- Reading


def read_report(text: str) -> Report:
    """Returns the report that `render_json` wrote. Raises ValueError, with a message of one line, for anything else.

    Links and images are dropped: only the run that made the report knows where they lead.
    """
    # `cml publish` reads files that a job of a stranger's pull request wrote: size and depth are limited.
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    try:
        data = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    # True == 1 in Python, so a version of `true` has to be refused by name.
    if not isinstance(data, dict) or data.get("version") is True or data.get("version") != VERSION:
        raise ValueError(f"it is not a report of version {VERSION}")
    report: Report = read_dataclass(Report, data, "report")
    # An address in the file could lead anywhere, under the name of this project's report.
    return replace(
        report,
        run_url=None,
        compare_url=None,
        plots=tuple(replace(plot, images=()) for plot in report.plots) if report.plots is not None else None,
        experiments=tuple(replace(experiment, url=None) for experiment in report.experiments),
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def read_dataclass(kind: type, data: Any, where: str) -> Any:
    """Returns a dataclass of the model from parsed JSON; `where` names it in messages. Raises ValueError."""
    if not isinstance(data, dict):
        raise ValueError(f"{where} is not an object")
    # The types of the dataclass are the rules: report.schema.json is tested to say the same.
    hints = get_type_hints(kind, vars(model))
    values = {}
    for field in fields(kind):
        inner = f"{where}.{field.name}"
        if field.name not in data:
            if field.default is MISSING and field.default_factory is MISSING:
                raise ValueError(f"{inner} is missing")
        elif kind is Experiment and field.name == "metrics":
            values[field.name] = _read_metrics(data[field.name], inner)
        else:
            values[field.name] = _read_value(hints[field.name], data[field.name], inner)
    return kind(**values)


def _read_metrics(data: Any, where: str) -> dict[tuple[str, str], Any]:
    if not isinstance(data, list) or not all(isinstance(row, dict) and "value" in row for row in data):
        raise ValueError(_WRONG_TYPE.format(where))
    metrics = {}
    for row in data:
        path = _read_value(str, row.get("path"), where)
        name = _read_value(str, row.get("name"), where)
        metrics[path, name] = _read_value(model.Value, row["value"], where)
    return metrics


def _read_value(hint: Any, data: Any, where: str) -> Any:
    """Returns a value of the type `hint`. Raises ValueError for a value of any other type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, data, where)
    if origin is Literal:
        if isinstance(data, str) and data in arguments:
            return data
        raise ValueError(f"{where} is not one of {', '.join(map(str, arguments))}")
    if origin is tuple and isinstance(data, list):
        return _read_tuple(arguments, data, where)
    if isinstance(hint, type) and is_dataclass(hint):
        return read_dataclass(hint, data, where)
    return _read_scalar(hint, data, where)


def _read_scalar(hint: Any, data: Any, where: str) -> Any:
    if hint is float and is_number(data):
        return _as_float(data)
    if hint is float and data in ("NaN", "Infinity", "-Infinity"):
        return float(data)
    if hint is int and isinstance(data, float) and data.is_integer():  # JSON has one type of number
        return int(data)
    if hint is type(None) and data is None:
        return None
    if hint in (bool, int, str) and type(data) is hint:  # not isinstance: True is an int in Python
        return data[:MAX_TEXT] if isinstance(data, str) else data
    raise ValueError(_WRONG_TYPE.format(where))


def _read_tuple(hints: tuple[Any, ...], data: list[Any], where: str) -> tuple[Any, ...]:
    if len(hints) == 2 and hints[1] is Ellipsis:
        return tuple(_read_value(hints[0], item, where) for item in data)
    if len(hints) == len(data):
        return tuple(_read_value(hint, item, where) for hint, item in zip(hints, data, strict=True))
    raise ValueError(_WRONG_TYPE.format(where))


def _read_union(hints: tuple[Any, ...], data: Any, where: str) -> Any:
    if float in hints and isinstance(data, float):  # before int, which a float such as 1.0 would become
        return data
    for hint in hints:
        try:
            return _read_value(hint, data, where)
        except ValueError:
            # Of an object and null, only the object can be meant: its own error says more.
            if is_dataclass(hint) and isinstance(data, dict):
                raise
    raise ValueError(_WRONG_TYPE.format(where))


def _as_float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
