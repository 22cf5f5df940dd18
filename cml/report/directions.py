"""Which side of a metric is better, from the rules of `metrics_gate` or from the usual name of the metric. No I/O."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import lru_cache

from cml.config.gates import Rule
from cml.model.report import Direction, MetricRow, Value
from cml.report.judgement import exact_number

# The usual names of metrics, by the side that is better. `+` joins the words of a name.
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
USUAL_NAMES: dict[str, Direction | None] = {
    **{name.replace("+", " "): "up" for name in UP.split()},
    **{name.replace("+", " "): "down" for name in DOWN.split()},
    **dict.fromkeys(("start time", "end time"), None),  # a date, not a duration
}
# Words that say how or on which data a metric was measured. The single letters are from mAP50(B), p99, rougeL.
QUALIFIER_WORDS = """
    avg average b best binary cv dev eval final fold g holdout k l last m macro max mean median micro min n none norm
    normalized oof overall p pct percent percentage pr roc s sum test testing top total train training val valid
    validation value weighted
"""
QUALIFIERS = frozenset(QUALIFIER_WORDS.split())
PREPOSITIONS = frozenset({"at", "by", "for", "per", "to", "vs"})
MEASURES = frozenset({"rate", "score", "scores"})
NEGATIONS = frozenset({"inverse", "minus", "neg", "negative"})
LONGEST_NAME = 3  # in words


def with_directions(rows: tuple[MetricRow, ...], rules: tuple[Rule, ...]) -> tuple[MetricRow, ...]:
    """Returns the rows with `direction` and `better` set.

    The direction is from the rules that name the metric, else from its usual name. Rules that disagree (a range) and
    rules whose name ends in a wildcard (`*`, `val.*`) give no direction. `better` is set where a metric with a
    direction changed from a number to another.
    """
    return tuple(_with_direction(row, _rule_direction(row, rules) or _usual_direction(row.name)) for row in rows)


def _with_direction(row: MetricRow, direction: Direction | None) -> MetricRow:
    # The same object where nothing changes: there may be tens of thousands of rows.
    if direction is None and row.direction is None and row.better is None:
        return row
    better = _is_better(row, direction) if direction and row.status == "changed" else None
    return replace(row, direction=direction, better=better)


def _is_better(row: MetricRow, direction: Direction) -> bool | None:
    if _is_nan(row.old) != _is_nan(row.new):  # NaN is a training that diverged
        return _is_nan(row.old)
    old, new = exact_number(row.old), exact_number(row.new)
    if old is None or new is None or old == new:
        return None
    return (new > old) == (direction == "up")


def _is_nan(value: Value) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _rule_direction(row: MetricRow, rules: tuple[Rule, ...]) -> Direction | None:
    naming = [rule for rule in rules if rule.matches(row.path, row.name) and _has_a_name(rule.metric)]
    # `==` wants one value, so it says nothing about the direction.
    signs = {rule.operator[0] for rule in naming} - {"="}
    if len(signs) != 1:
        return None
    return "up" if signs == {">"} else "down"


def _has_a_name(glob: str) -> bool:
    """Whether the last part of a metric's glob is more than a wildcard."""
    return re.search(r"[^\W_]", glob.rsplit(".", maxsplit=1)[-1]) is not None


@lru_cache(maxsize=1024)  # hundreds of files may have metrics of the same names
def _usual_direction(name: str) -> Direction | None:
    """Decides by the last part of a name that is more than qualifiers: `val.loss`, `loss.val`, `valLoss` are losses.

    In that part the last word decides, as in English: `recall_loss` is a loss, `loss_weight` a weight.
    """
    for part in reversed(re.split(r"[./]", name.replace("@", " at "))):
        words = [word for word in _split_words(part) if word not in QUALIFIERS]
        if words:
            return _direction_of_words(words)
    return None


def _split_words(part: str) -> list[str]:
    """Splits `f1-score`, `valLoss`, `mAP50` into lower-case words without counters: f1 score, val loss, map."""
    words: list[str] = []
    for chunk in re.split(r"[\W_]+", part):
        whole = _without_counter(chunk.lower())
        # A known name is not split at its capitals: rougeLsum, mIoU.
        if whole in USUAL_NAMES:
            words.append(whole)
        else:
            humps = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", chunk)
            words += map(_without_counter, humps.lower().split())
    return [word for word in words if word]


def _without_counter(word: str) -> str:
    return word if word in USUAL_NAMES else word.rstrip("0123456789")


def _direction_of_words(words: list[str]) -> Direction | None:
    words = _before_preposition(words)
    # Of `brier_score` and `error_rate`, the word before the measure decides.
    subject = words[:-1] if words[-1] in MEASURES else words
    # The longest name first: `negative log likelihood` is better lower, `likelihood` is better higher.
    for length in range(LONGEST_NAME, 0, -1):
        name, rest = " ".join(subject[-length:]), subject[:-length]
        if name in USUAL_NAMES:
            is_negated = not NEGATIONS.isdisjoint(rest)  # `neg_log_loss`
            is_other_map = name == "map" and rest  # `heat_map`
            return None if is_negated or is_other_map else USUAL_NAMES[name]
    return USUAL_NAMES.get(words[-1])


def _before_preposition(words: list[str]) -> list[str]:
    """Of `tpr at fpr`, what is measured: `tpr`."""
    for place, word in enumerate(words):
        if place and word in PREPOSITIONS:
            return words[:place]
    return words
