"""The rules of `metrics_gate`: how they are written, what they say about metrics, and which side of a metric is better.

Pure: text and rows come in, results go out. Who exits with 3 on a failed verdict stands in `cli`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from operator import eq, ge, gt, le, lt
from typing import Literal

from cml.model.report import Direction, GateResult, MetricRow, Report, Value, Verdict

Operator = Literal[">=", "<=", ">", "<", "=="]
Exact = Fraction | float  # a float only where it is infinite

OPERATORS: dict[Operator, Callable[[Exact, Exact], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt, "==": eq}
EXAMPLE = "write for example metrics.json:accuracy >= 0.9 or *:loss change <= 5%"

# The usual names of metrics, by the side that is better; more than one word is joined by `+`.
UP = """
    acc accuracy ap auc auprc auroc bertscore bleu chrf cider corrcoef dcg dice exact+match explained+variance f1 f2
    fbeta fps fscore hit hits iou jaccard kappa likelihood map mcc meteor miou mrr ndcg npv pass pearson ppv prec
    precision psnr qps r+squared r2 recall reward rouge rougel rougelsum sacrebleu score scores sensitivity silhouette
    spearman specificity ssim success throughput tnr tpr true+negative true+negatives true+positive true+positives win
"""
DOWN = """
    aic bic brier cer cost cross+entropy crossentropy davies+bouldin deviance duration ece eer elapsed err error errors
    failure failures false+alarm false+alarms false+discovery false+negative false+negatives false+positive
    false+positives fdr fid fnr fpr latency logloss loss losses lpips mae mape mase milliseconds misclassification
    misclassifications miss mistake mistakes ms mse msle negative+log+likelihood nll perplexity ppl regret rmse rmsle
    runtime sec seconds secs smape ter time wape wer
"""
USUAL: dict[str, Direction | None] = {
    **{name.replace("+", " "): "up" for name in UP.split()},
    **{name.replace("+", " "): "down" for name in DOWN.split()},
    **dict.fromkeys(("start time", "end time"), None),  # a date, not a duration
}
# Words that say of which data or how a metric was taken, not what it is. Letters are units, mAP50(B), p99, rougeL.
NOT_THE_METRIC = """
    avg average b best binary cv dev eval final fold g holdout k l last m macro max mean median micro min n none norm
    normalized oof overall p pct percent percentage pr roc s sum test testing top total train training val valid
    validation value weighted
"""
QUALIFIERS = frozenset(NOT_THE_METRIC.split())
PREPOSITIONS = frozenset({"at", "by", "for", "per", "to", "vs"})
MEASURES = frozenset({"rate", "score", "scores"})
SIGNS = frozenset({"inverse", "minus", "neg", "negative"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule as it was written (`text`) and what it means; `path` and `metric` are globs.

    `is_change` compares new minus old, with `is_percent` in percent of old's size.
    """

    text: str
    path: str
    metric: str
    is_change: bool
    operator: Operator
    limit: float
    is_percent: bool


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rules say: a result for each rule and metric it matches, in the rules' order, then the rows'."""

    results: tuple[GateResult, ...]
    verdict: Verdict
    warnings: tuple[str, ...]


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Returns the rules of a text, on lines or between `;`, each `[path-glob:]metric-glob [change] OP number[%]`.

    Spaces around tokens are free. Names may hold spaces; they are written without quotes. The first `:` ends the
    path, later ones belong to the metric (`*:val:loss >= 1`). For a character the syntax takes (`:` in a path, `;`,
    `<`, `>`, a last word `change`) write `?`. Raises ValueError, one line with the rule, what is wrong and an example.
    """
    lines = (line.strip() for line in text.replace(";", "\n").splitlines())
    return tuple(_parse_rule(line) for line in lines if line)


def judge(rules: tuple[Rule, ...], rows: tuple[MetricRow, ...]) -> Judgement:
    """Applies each rule to every metric whose path and whole dotted name its globs match; `*` spans dots and slashes.

    Numbers are compared as the decimals that people see (0.93 to 0.92 is a change of exactly -0.01); true counts as 1,
    false as 0. A matched metric that is no number now (removed, text, null, NaN) fails. A `change` from what was no
    number has nothing to be compared with: it passes with a warning, as does a rule that matches nothing. A percentage
    is taken of old's size, so its sign is the change's also where old is negative; of old 0 a change is infinite.
    A result's `value` is what was compared (with `%` in percent), possibly infinite; None where nothing could be.
    """
    results: list[GateResult] = []
    warnings: list[str] = []
    for rule in rules:
        own = [_judge_row(rule, row) for row in rows if _matches(rule, row)]
        results += own or [GateResult(rule=rule.text, path=None, metric=None, value=None, passed=True)]
        warnings += _warnings(rule, own)
    judged = [result for result in results if result.metric is not None]
    verdict: Verdict = "none" if not judged else "passed" if all(result.passed for result in judged) else "failed"
    return Judgement(results=tuple(results), verdict=verdict, warnings=tuple(warnings))


def with_directions(rows: tuple[MetricRow, ...], rules: tuple[Rule, ...]) -> tuple[MetricRow, ...]:
    """Returns the rows with `direction`, from the gates that name the metric, else from its usual name, and `better`.

    Gates that disagree (a range), and those whose name ends in a mere wildcard (`*`, `val.*`), name no direction.
    `better` is set for a change between two numbers of a metric with a direction.
    """
    return tuple(_with_direction(row, _gate_direction(row, rules) or _usual_direction(row.name)) for row in rows)


def _parse_rule(text: str) -> Rule:
    def bad(problem: str) -> ValueError:
        return ValueError(f"rule {text!r} {problem}; {EXAMPLE}")

    parts = re.split(r"([<>=!]+)", text)
    if len(parts) == 1:
        raise bad("compares nothing: expected one of >= <= > < == and a number")
    *left, sign, right = parts
    operator = next((known for known in OPERATORS if known == sign), None)
    if operator is None:
        raise bad(f"holds {sign!r}: expected one of >= <= > < ==")
    subject = "".join(left).strip()
    if re.search(r"[<>]|==", subject):
        raise bad("holds two comparisons: put each on its own line, or `;` between them")
    name = re.sub(r"(?<=\S)\s+change\Z", "", subject)
    path, metric = (part.strip() for part in (name if ":" in name else f"*:{name}").split(":", 1))
    if not path or not metric:
        raise bad("names no metric: expected its name, or path:name, before the comparison")
    if {path[0], metric[0]} & set("\"'`"):
        raise bad("holds quotes: names are written without them, also with spaces in them")
    number, is_percent = right.strip().removesuffix("%").rstrip(), right.rstrip().endswith("%")
    try:
        limit = float(number)
    except ValueError:
        raise bad(f"compares with {number!r}: expected a number") from None
    if not math.isfinite(limit):
        raise bad(f"compares with {number!r}: expected a finite number")
    if is_percent and name == subject:
        raise bad("has a % without `change`: a percentage is one of the old value; for 90% as a value write 0.9")
    return Rule(
        text=text,
        path=path,
        metric=metric,
        is_change=name != subject,
        operator=operator,
        limit=limit,
        is_percent=is_percent,
    )


def _matches(rule: Rule, row: MetricRow) -> bool:
    # Equal is a match too: a name such as `loss[0]` is a glob that does not match itself.
    pairs = ((rule.path, row.path), (rule.metric, row.name))
    return all(glob == name or fnmatchcase(name, glob) for glob, name in pairs)


def _judge_row(rule: Rule, row: MetricRow) -> GateResult:
    old, new = _exact(row.old), _exact(row.new)
    value, passed = None, False
    if new is not None and rule.is_change and old is None:
        passed = True
    elif new is not None:
        compared = _change(old, new, is_percent=rule.is_percent) if rule.is_change and old is not None else new
        value, passed = _as_float(compared), OPERATORS[rule.operator](compared, Fraction(repr(rule.limit)))
    return GateResult(rule=rule.text, path=row.path, metric=row.name, value=value, passed=passed)


def _exact(value: Value) -> Exact | None:
    """Returns the number whose shortest decimal a value is, None for what is no number."""
    if isinstance(value, float) and math.isfinite(value):
        return Fraction(repr(float(value)))
    if isinstance(value, float):
        return None if math.isnan(value) else value
    return Fraction(value) if isinstance(value, int) else None


def _change(old: Exact, new: Exact, *, is_percent: bool) -> Exact:
    if old == new:
        return Fraction(0)
    if isinstance(old, float) or isinstance(new, float) or (is_percent and old == 0):
        return math.inf if new > old else -math.inf
    return (new - old) / abs(old) * 100 if is_percent else new - old


def _as_float(number: Exact) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _warnings(rule: Rule, results: list[GateResult]) -> Iterable[str]:
    """Says why a rule matched nothing or could not compare; at most one line of a kind, however many metrics."""
    if not results:
        yield f"metrics_gate: rule {rule.text!r} matches no metric; its name must be the whole path and dotted name"
    for passed, problem in ((False, "failed: no number now in"), (True, "passed: no old number to compare with in")):
        unjudged = [result for result in results if result.value is None and result.passed == passed]
        if unjudged:
            first, more = f"{unjudged[0].path}:{unjudged[0].metric}", len(unjudged) - 1
            yield f"metrics_gate: rule {rule.text!r} {problem} {first!r}" + (f" and {more} more" if more else "")


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _with_direction(row: MetricRow, direction: Direction | None) -> MetricRow:
    if direction is None and row.direction is None and row.better is None:
        return row
    old, new = _exact(row.old), _exact(row.new)
    better = None
    if direction and row.status == "changed":
        if old is not None and new is not None and old != new:
            better = (new > old) == (direction == "up")
        elif _is_nan(row.old) != _is_nan(row.new):  # a training that diverged
            better = _is_nan(row.old)
    return replace(row, direction=direction, better=better)


def _gate_direction(row: MetricRow, rules: tuple[Rule, ...]) -> Direction | None:
    naming = [rule for rule in rules if _matches(rule, row) and re.search(r"[^\W_]", rule.metric.split(".")[-1])]
    signs = {rule.operator[0] for rule in naming} - {"="}
    return None if len(signs) != 1 else "up" if signs == {">"} else "down"


@lru_cache(maxsize=1024)  # hundreds of files have the same names
def _usual_direction(name: str) -> Direction | None:
    """Reads the last part of a name that holds more than qualifiers: `val.loss`, `loss.val` and `valLoss` are losses.

    The last word decides, as in English: `recall_loss` is a loss, `loss_weight` a weight, `tpr_at_fpr` a tpr.
    """
    for part in reversed(re.split(r"[./]", name.replace("@", " at "))):
        words = [word for word in _words(part) if word not in QUALIFIERS]
        if words:
            return _head_direction(words)
    return None


def _words(part: str) -> list[str]:
    """Splits `f1-score`, `valLoss`, `mAP50` into lower-case words, counters cut off: f1 score, val loss, map."""
    words: list[str] = []
    for chunk in re.split(r"[\W_]+", part):
        whole = _without_counter(chunk.lower())
        humps = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", chunk).lower().split()
        words += [whole] if whole in USUAL else map(_without_counter, humps)
    return [word for word in words if word]


def _without_counter(word: str) -> str:
    return word if word in USUAL else word.rstrip("0123456789")


def _head_direction(words: list[str]) -> Direction | None:
    words = words[: next((place for place, word in enumerate(words) if place and word in PREPOSITIONS), None)]
    subject = words[:-1] if words[-1] in MEASURES else words  # `brier_score`, `error_rate`: what they are of decides
    for length in (3, 2, 1):
        head, rest = " ".join(subject[-length:]), subject[:-length]
        if head in USUAL:
            is_unsure = SIGNS & set(rest) or (head == "map" and rest)  # `neg_log_loss`, `heat_map`
            return None if is_unsure else USUAL[head]
    return USUAL.get(words[-1])


def gates_failed(report: Report) -> str:
    """Returns one line that names the rules a report failed."""
    rules = dict.fromkeys(result.rule for result in report.gates if not result.passed)
    return f"metrics_gate: {'; '.join(list(rules)[:5])} failed"
