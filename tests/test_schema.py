"""report.json matches its schema, and `cml publish` reads everything that the schema allows."""

from __future__ import annotations

import copy
import json
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.world import World
from test_render import CASES, as_json, everything, gpu

from cml.model import report
from cml.model.json import VERSION, read_report
from cml.model.report import Experiment, Report
from cml.report.template_files import templates_folder

SCHEMA = json.loads((templates_folder() / "report.schema.json").read_text(encoding="utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
NAMES = {bool: "boolean", int: "integer", str: "string"}


def problems(data: Any) -> list[str]:
    """Errors of the schema for a document, except missing fields that have a default."""
    defaults = {
        schema["description"]: {each.name for each in fields(kind) if each.default is not MISSING}
        for schema, kind in described()
    }

    def flat(errors: Any) -> Iterator[Any]:
        for error in errors:
            is_union = error.validator == "anyOf" and isinstance(error.instance, dict)  # an object or null
            yield from flat(each for each in error.context if each.schema_path[0] == 0) if is_union else [error]

    def is_forgiven(error: Any) -> bool:
        kind = error.schema.get("description")
        return error.validator == "required" and any(f"'{name}' is" in error.message for name in defaults.get(kind, ()))

    return [error.message for error in flat(VALIDATOR.iter_errors(data)) if not is_forgiven(error)]


def described() -> list[tuple[Any, type]]:
    """Each object of the schema with the dataclass it describes."""
    kinds = {name: kind for name, kind in vars(report).items() if isinstance(kind, type) and is_dataclass(kind)}
    return [(SCHEMA, Report), *((SCHEMA["$defs"][name], kind) for name, kind in kinds.items() if kind is not Report)]


def shape(hint: Any) -> Any:
    """The type of a field in JSON Schema."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint == report.Value:
        return {"$ref": "#/$defs/Value"}
    if hint is float:
        return {"$ref": "#/$defs/Number"}
    if origin is Literal:
        return {"enum": [*inner]}
    if origin in (Union, types.UnionType):
        (some,) = (shape(each) for each in inner if each is not type(None))
        if "enum" in some:
            return {"enum": [*some["enum"], None]}
        return {**some, "type": [some["type"], "null"]} if "type" in some else {"anyOf": [some, {"type": "null"}]}
    if origin is Mapping:
        return {"type": "array", "items": {"$ref": "#/$defs/ExperimentMetric"}}
    if origin is tuple and inner[1:] == (Ellipsis,):
        return {"type": "array", "items": shape(inner[0])}
    if origin is tuple:
        count = len(inner)
        return {"type": "array", "prefixItems": [*map(shape, inner)], "minItems": count, "maxItems": count}
    return (
        {"$ref": f"#/$defs/{hint.__name__}"} if isinstance(hint, type) and is_dataclass(hint) else {"type": NAMES[hint]}
    )


def test_the_schema_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$id"] == f"urn:cml:report:{VERSION}"
    assert SCHEMA["properties"]["version"]["const"] == VERSION


def test_the_schema_has_every_field_of_the_model_with_its_type() -> None:
    for schema, kind in described():
        found = {
            name: {k: v for k, v in each.items() if k != "description"} for name, each in schema["properties"].items()
        }
        found.pop("version", None)
        hints = get_type_hints(kind, vars(report))
        assert found == {field.name: shape(hints[field.name]) for field in fields(kind)}, kind
        assert schema["required"] == [*schema["properties"]]
        assert schema["description"]


@pytest.mark.parametrize("case", CASES)
def test_every_report_is_valid(case: str) -> None:
    VALIDATOR.validate(json.loads(as_json(CASES[case]())))


def test_the_report_of_a_run_is_valid(trained_world: World) -> None:
    trained_world.write({"params.yaml": "train:\n  rate: 0.1\n"})
    trained_world.cml("report", "--baseline", "HEAD", "--tag-prefix", "dvc_", "--metrics-gate", "accuracy > 0.5")
    data = trained_world.report()
    VALIDATOR.validate(data)
    assert data["metrics"]
    assert data["experiments"]


TEXTS = st.text(max_size=5)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Any value of a field's type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(of_type, inner))
    if origin is Mapping:
        return st.dictionaries(st.tuples(TEXTS, TEXTS), VALUES, max_size=3)
    if origin is tuple:
        if inner[1:] == (Ellipsis,):
            return st.lists(of_type(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(of_type, inner))
    if is_dataclass(hint) and isinstance(hint, type):
        hints = get_type_hints(hint, vars(report))
        return st.builds(hint, **{field.name: of_type(hints[field.name]) for field in fields(hint)})
    return {bool: st.booleans(), int: st.integers(), float: st.floats(), str: TEXTS, type(None): st.none()}[hint]


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[*HealthCheck])
@given(of_type(Report))
def test_any_report_is_valid_and_can_be_read(report: Report) -> None:
    text = as_json(report)
    VALIDATOR.validate(json.loads(text))
    read_report(text)


def places(data: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a document."""
    if path:
        yield path
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for name, child in children:
        yield from places(child, (*path, name))


def trimmed(data: Any) -> Any:
    """The document with at most two items in each list."""
    if isinstance(data, dict):
        return {name: trimmed(each) for name, each in data.items()}
    return [trimmed(each) for each in data[:2]] if isinstance(data, list) else data


WHOLE = trimmed(json.loads(as_json(replace(everything(), pipeline=gpu().pipeline))))
PLACES = [*places(WHOLE)]
OTHERS: list[Any] = [
    None,
    True,
    0,
    1,
    2.0,
    0.5,
    10**400,
    -(10**400),
    "",
    "x",
    "NaN",
    "old",
    "ran",
    [],
    [0],
    [[]],
    {},
    {"path": "x"},
]
ABSENT = object()


def assert_read_or_refused(place: tuple[str | int, ...], value: Any) -> None:
    """Replaces a value: the document is read if the schema allows it, else refused with one line."""
    data = copy.deepcopy(WHOLE)
    holder = data
    for name in place[:-1]:
        holder = holder[name]
    if value is ABSENT:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    refusal = ""
    try:
        read_report(json.dumps(data))
    except ValueError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert bool(refusal) is bool(problems(data)), (place, value, refusal)


def test_a_missing_field_is_refused_unless_it_has_a_default() -> None:
    for place in PLACES:
        assert_read_or_refused(place, ABSENT)


@settings(max_examples=400, deadline=None, database=None)
@given(place=st.sampled_from(PLACES), value=st.sampled_from(OTHERS))
def test_a_report_is_read_if_the_schema_allows_it_and_refused_otherwise(
    place: tuple[str | int, ...], value: Any
) -> None:
    assert_read_or_refused(place, value)


def test_numbers_are_the_same_after_writing_and_reading() -> None:
    numbers = (1, 1.0, 2**53 + 1, -0.5, 1e-300, math.inf, -math.inf)
    experiment = everything().experiments[0]
    report = replace(everything(), experiments=(replace(experiment, metrics={("m", str(n)): n for n in numbers}),))
    (again,) = read_report(as_json(report)).experiments
    assert isinstance(again, Experiment)
    assert [repr(value) for value in again.metrics.values()] == [repr(number) for number in numbers]
