"""What the rules of `metrics_gate` say about the metrics of a report. No I/O; `cml.cli` sets the exit code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from operator import eq, ge, gt, le, lt
from typing import TypeAlias

from cml.config.gates import Operator, Rule
from cml.model.report import GateResult, MetricRow, Report, Value, Verdict

Number: TypeAlias = Fraction | float  # a float only where it is infinite

COMPARE: dict[Operator, Callable[[Number, Number], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt, "==": eq}
MOST_RULES_IN_ERROR = 5


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A result for each rule and each metric that it matches, in the order of the rules, then of the rows."""

    results: tuple[GateResult, ...]
    verdict: Verdict
    warnings: tuple[str, ...]


def judge(rules: tuple[Rule, ...], rows: tuple[MetricRow, ...]) -> Judgement:
    """Applies each rule to every metric that it matches.

    Numbers are compared as the decimals that people see (0.93 to 0.92 is a change of exactly -0.01); true counts as 1,
    false as 0. A matched metric whose new value is not a number (removed, text, null, NaN) fails. A `change` rule
    passes with a warning where the old value is not a number, and so does a rule that matches no metric.
    A percentage is relative to the size of the old value, so it has the sign of the change; from 0 it is infinite.
    The `value` of a result is what was compared (with `%` in percent), possibly infinite; None where nothing could be.
    """
    results: list[GateResult] = []
    warnings: list[str] = []
    for rule in rules:
        matched = [_judge_row(rule, row) for row in rows if rule.matches(row.path, row.name)]
        # A rule that matches nothing is in the report too, so that a misspelled name is seen.
        results += matched or [GateResult(rule=rule.text, path=None, metric=None, value=None, passed=True)]
        warnings += _warnings(rule, matched)
    return Judgement(results=tuple(results), verdict=_verdict(results), warnings=tuple(warnings))


def gates_failed(report: Report) -> str:
    """Returns one line with the rules that failed."""
    rules = list(dict.fromkeys(result.rule for result in report.gates if not result.passed))
    return f"metrics_gate: {'; '.join(rules[:MOST_RULES_IN_ERROR])} failed"


def exact_number(value: Value) -> Number | None:
    """Returns a value as the decimal that people see, None where it is not a number."""
    if isinstance(value, float) and math.isfinite(value):
        # repr is the shortest decimal that is this float. Of a subclass such as numpy.float64, repr would not be one.
        return Fraction(repr(float(value)))
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return Fraction(value) if isinstance(value, int) else None


def _verdict(results: list[GateResult]) -> Verdict:
    # A rule that matches nothing was not judged, so it neither passes nor fails.
    judged = [result for result in results if result.metric is not None]
    if not judged:
        return "none"
    return "passed" if all(result.passed for result in judged) else "failed"


def _judge_row(rule: Rule, row: MetricRow) -> GateResult:
    compared, passed = _compare(rule, exact_number(row.old), exact_number(row.new))
    value = None if compared is None else _as_float(compared)
    return GateResult(rule=rule.text, path=row.path, metric=row.name, value=value, passed=passed)


def _compare(rule: Rule, old: Number | None, new: Number | None) -> tuple[Number | None, bool]:
    """Returns what was compared, None where nothing could be, and whether the rule passed."""
    if new is None:
        return None, False
    if not rule.is_change:
        compared = new
    elif old is None:
        return None, True
    else:
        compared = _change(old, new, is_percent=rule.is_percent)
    # The limit as it was written: the float 0.1 is a little more than 0.1.
    return compared, COMPARE[rule.operator](compared, Fraction(repr(rule.limit)))


def _change(old: Number, new: Number, *, is_percent: bool) -> Number:
    if old == new:
        return Fraction(0)
    # Here a float is an infinite number.
    if isinstance(old, float) or isinstance(new, float) or (is_percent and old == 0):
        return math.inf if new > old else -math.inf
    return (new - old) / abs(old) * 100 if is_percent else new - old


def _as_float(number: Number) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _warnings(rule: Rule, results: list[GateResult]) -> Iterator[str]:
    """Says why a rule matched nothing or could not compare: one line of each kind, however many metrics."""
    start = f"metrics_gate: rule {rule.text!r}"
    if not results:
        yield f"{start} matches no metric: write the whole path and the whole dotted name of a metric, or `*`"
    problems = {False: "failed: no number in the new value of", True: "passed: no number in the old value of"}
    for passed, problem in problems.items():
        unjudged = [result for result in results if result.value is None and result.passed == passed]
        if unjudged:
            first = f"{unjudged[0].path}:{unjudged[0].metric}"
            others = f" and {len(unjudged) - 1} more" if len(unjudged) > 1 else ""
            yield f"{start} {problem} {first!r}{others}"
