"""The gates: which rules failed, which passed, and which match no metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cml.model.report import GateResult, Report
from cml.report.formatting import Formatter
from cml.report.sections.base import Section
from cml.report.sections.rows import MAX_ROWS

GateState = Literal["passed", "failed", "unmatched"]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One rule for one metric; `value` is what was compared, or why nothing could be."""

    state: GateState
    rule: str
    metric: str
    value: str


@dataclass(frozen=True, kw_only=True)
class GatesView(Section):
    """`gates` are the rules that failed, followed by those that match no metric."""

    gates: tuple[Gate, ...]
    gates_passed: tuple[Gate, ...]


def build_gates(report: Report, formatter: Formatter) -> GatesView:
    not_passed, passed = split_gates(report)
    return GatesView(
        gates=tuple(_gate(result, formatter) for result in not_passed[:MAX_ROWS]),
        gates_passed=tuple(_gate(result, formatter) for result in passed[:MAX_ROWS]),
        unlisted={"gates": len(not_passed[MAX_ROWS:]), "gates_passed": len(passed[MAX_ROWS:])},
    )


def split_gates(report: Report) -> tuple[list[GateResult], list[GateResult]]:
    """Returns the results that did not pass, the failed ones first, and those that did."""
    passed = [result for result in report.gates if state_of(result) == "passed"]
    not_passed = [result for result in report.gates if state_of(result) != "passed"]
    return sorted(not_passed, key=state_of), passed  # "failed" is before "unmatched" in the alphabet, too


def state_of(result: GateResult) -> GateState:
    if result.metric is None:
        return "unmatched"
    return "passed" if result.passed else "failed"


def _gate(result: GateResult, formatter: Formatter) -> Gate:
    state = state_of(result)
    if result.metric is None:
        return Gate(state=state, rule=result.rule, metric="", value=formatter.translations.gettext("matches no metric"))
    metric = f"{result.path}:{result.metric}" if result.path else result.metric
    return Gate(state=state, rule=result.rule, metric=metric, value=_value(result, formatter))


def _value(result: GateResult, formatter: Formatter) -> str:
    if result.value is not None:
        # Not `metrics_format`: it may round the value to the limit, and the result would look wrong.
        return formatter.significant(result.value, "%" if result.rule.rstrip().endswith("%") else "")
    if result.passed:
        return formatter.translations.gettext("nothing to compare with")
    return formatter.translations.gettext("not a number")
