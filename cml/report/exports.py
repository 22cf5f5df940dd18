"""The report for programs: report.json, and metrics.txt in OpenMetrics. Pure.

Both hold values as they are, not as `metrics_format` would write them.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

from cml.report.model import Experiment, Report
from cml.report.units import is_number

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

VERSION = 1


def render_json(report: Report) -> str:
    """Returns the whole report as JSON, an element of a list a line.

    NaN and the infinities are the strings "NaN", "Infinity" and "-Infinity"; an experiment's metrics are a list of
    {"path", "name", "value"}.
    """
    data = {"version": VERSION, **_object(report)}
    return "{\n" + ",\n".join(f"{_text(name)}: {_lines(value)}" for name, value in data.items()) + "\n}\n"


def render_openmetrics(report: Report) -> str:
    """Returns the metrics of this run that are numbers as OpenMetrics text, one gauge for all of them."""
    lines = ["# TYPE cml_metric gauge", "# HELP cml_metric Metrics of the DVC project, as of this run."]
    seen = set()
    for row in report.metrics or ():
        labels = f'{{path="{_label(row.path)}",name="{_label(row.name)}"}}'
        if row.status != "removed" and is_number(row.new) and labels not in seen:
            seen.add(labels)
            lines.append(f"cml_metric{labels} {_sample(row.new)}")
    return "\n".join([*lines, "# EOF"]) + "\n"


def _lines(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_text(each)}" for each in value) + "\n]"
    return _text(value)


def _text(value: object) -> str:
    # Not indented: that would be a writer in Python, ten times slower for thousands of metrics.
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _object(value: DataclassInstance) -> dict[str, object]:
    found = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Experiment):
        metrics = value.metrics.items()
        found["metrics"] = [
            {"path": _plain(path), "name": _plain(name), "value": _plain(x)} for (path, name), x in metrics
        ]
    return found


def _plain(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()  # halves of surrogate pairs are no JSON
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case tuple():
            return [_plain(each) for each in value]
        case dict():
            return {str(name): _plain(each) for name, each in value.items()}
        case _:
            return _object(value) if is_dataclass(value) and not isinstance(value, type) else value


def _label(text: str) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _sample(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)
