"""The report for programs: report.json, and metrics.txt in OpenMetrics. Pure.

Both hold values as they are, not as `metrics_format` would write them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from itertools import groupby
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, cast

from cml.model.report import Experiment, MetricRow, Report
from cml.report.formatting import is_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1
_NOT_FINITE = {"nan": '"NaN"', "inf": '"Infinity"', "-inf": '"-Infinity"'}
_CONSTANTS = {None: "null", True: "true", False: "false"}


def render_json(report: Report) -> Iterator[str]:
    """Yields the whole report as JSON, an element of a list a line, in pieces: of thousands of metrics it is large.

    NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity"; an experiment's metrics are a list of
    {"path", "name", "value"}.
    """
    yield f'{{\n"version": {VERSION}'
    for name in _names(Report):
        value = getattr(report, name)
        if isinstance(value, tuple) and value:
            start = f',\n"{name}": [\n  '
            for each in value:
                yield start
                yield from _pieces(each)
                start = ",\n  "
            yield "\n]"
        else:
            yield f',\n"{name}": {_text(value)}'
    yield "\n}\n"


def render_openmetrics(report: Report) -> Iterator[str]:
    """Yields the metrics of this run that are numbers as OpenMetrics text, one gauge for all of them, in lines."""
    yield "# TYPE cml_metric gauge\n# HELP cml_metric Metrics of the DVC project, as of this run.\n"
    rows = [row for row in report.metrics or () if row.status != "removed" and is_number(row.new)]
    for path, group in groupby(sorted(rows, key=_path), key=_path):
        seen = set()
        for row in group:
            if (name := _label(row.name)) not in seen:
                seen.add(name)
                yield f'cml_metric{{path="{path}",name="{name}"}} {_sample(cast("float", row.new))}\n'
    yield "# EOF\n"


def _pieces(value: object) -> Iterator[str]:
    """An element as JSON; the metrics of an experiment one by one, since they are as many as the report's own."""
    if not isinstance(value, Experiment):
        yield _text(value)
        return
    before = "{"
    for name in _names(Experiment):
        inner = getattr(value, name)
        yield f'{before}"{name}": '
        if isinstance(inner, Mapping):
            yield from (f"{', ' if at else '['}{_metric(*each)}" for at, each in enumerate(inner.items()))
            yield "]" if inner else "[]"
        else:
            yield _text(inner)
        before = ", "
    yield "}"


def _metric(key: tuple[str, str], value: object) -> str:
    path, name = key
    return f'{{"path": {_quoted(path)}, "name": {_quoted(name)}, "value": {_text(value)}}}'


def _text(value: object) -> str:
    """A value as JSON. The standard library's writer would need a copy of all of it as lists and dicts."""
    if isinstance(value, float):
        text = repr(value)
        return _NOT_FINITE.get(text, text)
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join([_text(each) for each in value])}]"
    return _object(cast("DataclassInstance", value))


def _object(value: DataclassInstance) -> str:
    return "{" + ", ".join([f'"{name}": {_text(getattr(value, name))}' for name in _names(type(value))]) + "}"


@cache
def _names(kind: type[DataclassInstance]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _quoted(text: str) -> str:
    return encode_basestring(text if text.isascii() else _encodable(text))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs are no UTF-8


def _path(row: MetricRow) -> str:
    return _label(row.path)


def _label(text: str) -> str:
    return _encodable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sample(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
