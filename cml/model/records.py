"""What one job of a plan leaves for the others: the result of each of its stages, and why a stage failed.

A record is stored as JSON on the DVC remote. Everybody who can write to the remote can write a record, so reading one
checks its shape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cml.model.json import read_dataclass
from cml.model.report import StageRun

MAX_FAILURE_LENGTH = 1_000  # characters
Entry = dict[str, Any]  # of a stage in dvc.lock


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """The result of a stage: its entry of dvc.lock, and how its run went."""

    entry: Entry
    run: StageRun


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """The results of stages by their addresses, and the message of each stage that failed."""

    results: Mapping[str, StageResult]
    failures: Mapping[str, str]


def write_record(record: JobRecord) -> str:
    """Returns a record as JSON."""
    stages = {name: {"entry": result.entry, "run": asdict(result.run)} for name, result in record.results.items()}
    return json.dumps({"stages": stages, "failures": dict(record.failures)}, ensure_ascii=False)


def read_record(data: bytes, check_entry: Callable[[Any], Entry]) -> JobRecord:
    """Returns a record from its JSON. `check_entry` returns an entry of dvc.lock, or raises ValueError. Raises
    ValueError where the record does not have its shape.
    """
    try:
        document = json.loads(data)
        results = {}
        for name, stage in document["stages"].items():
            run = read_dataclass(StageRun, stage["run"], name)
            results[name] = StageResult(entry=check_entry(stage["entry"]), run=run)
        failures = {name: str(reason)[:MAX_FAILURE_LENGTH] for name, reason in document["failures"].items()}
    # A record of another shape fails in any of these ways; RecursionError comes from JSON with a thousand brackets.
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    return JobRecord(results=results, failures=failures)
