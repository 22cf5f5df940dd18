"""Rules of `metrics_gate`: how they are parsed, how metrics are judged, and which direction a metric gets."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cml.config.gates import Rule, parse_rules
from cml.model.report import GateResult, MetricRow, Report, Status, Value, status_of
from cml.report.directions import with_directions
from cml.report.judgement import gates_failed, judge

NEVER: Value = "(this side does not exist)"


def row(name: str = "accuracy", old: Value = NEVER, new: Value = NEVER, path: str = "metrics.json") -> MetricRow:
    """A row as `collect` makes it; a side that is not given does not exist."""
    has_old, has_new = old is not NEVER, new is not NEVER
    status = status_of(old, new, has_old=has_old, has_new=has_new)
    return MetricRow(path=path, name=name, old=old if has_old else None, new=new if has_new else None, status=status)


def result(rule: str, *rows: MetricRow) -> GateResult:
    (only,) = judge(parse_rules(rule), rows).results
    return only


def passes(rule: str, old: Value, new: Value) -> bool:
    return result(rule, row(old=old, new=new)).passed


# Parsing rules


def test_a_rule_is_parsed_with_all_its_parts() -> None:
    assert parse_rules("  metrics.json:val.accuracy  change >= -1.5e-1 % ") == (
        Rule(
            text="metrics.json:val.accuracy  change >= -1.5e-1 %",
            path="metrics.json",
            metric="val.accuracy",
            is_change=True,
            operator=">=",
            limit=-0.15,
            is_percent=True,
        ),
    )


def test_a_rule_without_a_path_applies_to_every_file() -> None:
    (rule,) = parse_rules("accuracy >= 0.9")
    assert (rule.path, rule.metric, rule.is_change, rule.is_percent) == ("*", "accuracy", False, False)


def test_rules_are_separated_by_lines_or_semicolons_and_empty_ones_are_ignored() -> None:
    rules = parse_rules("\n a >= 1;; b<2 \r\n;\n\t\n c == 3;")
    assert [rule.text for rule in rules] == ["a >= 1", "b<2", "c == 3"]


@pytest.mark.parametrize("text", ["", " ", "\n", ";", " ; \n ;"])
def test_an_empty_text_has_no_rules(text: str) -> None:
    assert parse_rules(text) == ()


@pytest.mark.parametrize("operator", [">=", "<=", ">", "<", "=="])
@pytest.mark.parametrize("space", ["", " ", " \t "])
def test_spaces_around_parts_are_ignored(operator: str, space: str) -> None:
    (rule,) = parse_rules(f"m.json{space}:{space}acc change{space}{operator}{space}5{space}%")
    assert (rule.path, rule.metric, rule.operator, rule.limit) == ("m.json", "acc", operator, 5)
    assert rule.is_change and rule.is_percent


@pytest.mark.parametrize(
    ("text", "limit"),
    [("1", 1), ("+1", 1), ("-.5", -0.5), ("5.", 5), ("1e-3", 0.001), ("1E+3", 1000), ("1_000", 1000), ("-0", 0)],
)
def test_numbers_are_written_as_in_python(text: str, limit: float) -> None:
    assert parse_rules(f"x >= {text}")[0].limit == limit


@pytest.mark.parametrize(
    ("text", "path", "metric", "is_change"),
    [
        ("val loss <= 1", "*", "val loss", False),
        ("my data/m.json:val loss change <= 1", "my data/m.json", "val loss", True),
        ("date=2024/m.json:acc >= 0", "date=2024/m.json", "acc", False),
        ("*:val:loss <= 1", "*", "val:loss", False),
        ("change >= 1", "*", "change", False),
        ("exchange >= 1", "*", "exchange", False),
        ("m.json:change change >= 1", "m.json", "change", True),
        ("[!a]*:x >= 1", "[!a]*", "x", False),
    ],
)
def test_names_can_contain_spaces_equal_signs_and_later_colons(
    text: str, path: str, metric: str, *, is_change: bool
) -> None:
    (rule,) = parse_rules(text)
    assert (rule.path, rule.metric, rule.is_change) == (path, metric, is_change)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("accuracy", "has no comparison"),
        ("accuracy 0.9", "has no comparison"),
        ("accuracy ≥ 0.9", "has no comparison"),
        ("accuracy = 0.9", "contains '='"),
        ("accuracy => 0.9", "contains '=>'"),
        ("accuracy != 0.9", "contains '!='"),
        ("accuracy > = 0.9", "contains '='"),
        ("0 < accuracy < 1", "two comparisons"),
        ("a >= 1 and b <= 2", "two comparisons"),
        (">= 0.9", "has no metric"),
        (":accuracy >= 0.9", "has no metric"),
        ("metrics.json: >= 0.9", "has no metric"),
        ("metrics.json: change >= 0.9", "has no metric"),
        ("'val loss' <= 1", "without them"),
        ('m.json:"acc" <= 1', "without them"),
        ("accuracy >=", "expected a number"),
        ("accuracy >= high", "compares with 'high'"),
        ("accuracy >= 0,9", "compares with '0,9'"),
        ("accuracy >= 0x1", "compares with '0x1'"),
        ("accuracy change >= 5%%", "compares with '5%'"),
        ("accuracy change >= %", "expected a number"),
        ("accuracy >= nan", "finite"),
        ("accuracy <= -inf", "finite"),
        ("accuracy <= 1e999", "finite"),
        ("accuracy >= 90%", "without `change`"),
    ],
)
def test_the_error_for_a_bad_rule_has_its_text_the_problem_and_an_example(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"; write for example .+ or .+$") as caught:
        parse_rules(f"loss <= 1; {text}")
    message = str(caught.value)
    assert repr(text) in message
    assert problem in message
    example_rules = message.rpartition("for example ")[2].split(" or ")
    assert len(parse_rules(";".join(example_rules))) == 2


# Judging


def test_without_rules_there_is_no_verdict() -> None:
    judgement = judge((), (row(new=1),))
    assert (judgement.verdict, judgement.results, judgement.warnings) == ("none", (), ())


def test_every_matched_metric_gets_a_result_and_one_failure_fails_the_verdict() -> None:
    rows = (row("a", 1, 1), row("b", 1, 3), row("a", 1, 5, path="other/m.json"))
    judgement = judge(parse_rules("a <= 4; b >= 3"), rows)
    assert [(found.path, found.metric, found.value, found.passed) for found in judgement.results] == [
        ("metrics.json", "a", 1, True),
        ("other/m.json", "a", 5, False),
        ("metrics.json", "b", 3, True),
    ]
    assert (judgement.verdict, judgement.warnings) == ("failed", ())
    assert judge(parse_rules("a <= 5; b >= 3"), rows).verdict == "passed"


@pytest.mark.parametrize(
    ("glob", "path", "name", "is_match"),
    [
        ("acc", "m.json", "acc", True),
        ("acc", "m.json", "val.acc", False),
        ("*acc", "m.json", "val.acc", True),
        ("ACC", "m.json", "acc", False),
        ("*.json:acc", "deep/er/m.json", "acc", True),
        ("m.json:acc", "deep/m.json", "acc", False),
        ("*/m.json:*.a?c", "deep/er/m.json", "x.y.abc", True),
        ("[mn].json:acc", "n.json", "acc", True),
        ("loss[0]", "m.json", "loss[0]", True),
        ("*:val:acc", "m.json", "val:acc", True),
        ("a?b.json:acc", "a:b.json", "acc", True),
    ],
)
def test_globs_are_case_sensitive_and_match_the_whole_path_and_name(
    glob: str, path: str, name: str, *, is_match: bool
) -> None:
    assert (result(f"{glob} >= 0", row(name, 1, 1, path=path)).metric == name) is is_match


def test_a_rule_that_matches_no_metric_gives_a_warning_and_does_not_fail() -> None:
    judgement = judge(parse_rules("acuracy >= 0.9; accuracy >= 0.9"), (row(new=0.95),))
    assert judgement.results[0] == GateResult(rule="acuracy >= 0.9", path=None, metric=None, value=None, passed=True)
    assert judgement.verdict == "passed"
    assert judge(parse_rules("acuracy >= 0.9"), (row(new=0.95),)).verdict == "none", "nothing was judged"
    (warning,) = judgement.warnings
    assert "'acuracy >= 0.9' matches no metric" in warning


@pytest.mark.parametrize(
    ("rule", "old", "new", "passed"),
    [
        ("accuracy change >= -0.01", 0.93, 0.92, True),
        ("accuracy change > -0.01", 0.93, 0.92, False),
        ("accuracy change == -0.01", 0.93, 0.92, True),
        ("accuracy change >= -0.01", 0.93, 0.9199999, False),
        ("accuracy change <= 5%", 0.1, 0.105, True),
        ("accuracy change < 5%", 0.1, 0.105, False),
        ("accuracy change == 10%", 3, 3.3, True),
        ("accuracy >= 0.3", 0, 0.3, True),
        ("accuracy == 0.1", 0, 0.1, True),
        ("accuracy <= 0.3", 0, 0.1 + 0.2, False),
        ("accuracy == 1e-3", 0, 0.001, True),
        ("accuracy == 1", 0, 1.0, True),
        ("accuracy change > 0", 2**60, 2**60 + 1, True),
    ],
)
def test_numbers_are_compared_as_the_decimals_that_people_see(
    rule: str, old: Value, new: Value, *, passed: bool
) -> None:
    assert passes(rule, old, new) is passed


def test_the_value_of_a_result_is_what_was_compared() -> None:
    assert result("accuracy >= 0", row(old=1, new=2)).value == 2
    assert result("accuracy change >= 0", row(old=0.92, new=0.93)).value == 0.01
    assert result("accuracy change >= 0%", row(old=0.1, new=0.105)).value == 5


def test_a_percentage_is_relative_to_the_size_of_the_old_value_so_it_keeps_the_sign() -> None:
    assert result("accuracy change <= -5%", row(old=-100, new=-110)).value == -10
    assert result("accuracy change >= 5%", row(old=-100, new=-90)).value == 10


@pytest.mark.parametrize(("new", "value"), [(0, 0), (0.0, 0), (1e-9, math.inf), (-1e-9, -math.inf)])
def test_a_percentage_of_zero_is_infinite_unless_nothing_changed(new: float, value: float) -> None:
    assert result("accuracy change <= 5%", row(old=0, new=new)).value == value
    assert passes("accuracy change <= 5%", 0, new) is (value <= 5)


@pytest.mark.parametrize("rule", ["accuracy >= 0", "accuracy < 0", "accuracy change >= -1", "accuracy change <= 1%"])
@pytest.mark.parametrize("new", [math.nan, None, "n/a", "0.9", NEVER])
def test_a_metric_whose_new_value_is_not_a_number_fails_with_a_warning(rule: str, new: Value) -> None:
    judgement = judge(parse_rules(rule), (row(old=0.5, new=new),))
    assert (judgement.verdict, judgement.results[0].value) == ("failed", None)
    (warning,) = judgement.warnings
    assert repr(rule) in warning
    assert "failed: no number in the new value of 'metrics.json:accuracy'" in warning


@pytest.mark.parametrize("rule", ["accuracy change >= 0", "accuracy change <= -5%", "accuracy change == 7"])
@pytest.mark.parametrize("old", [NEVER, math.nan, None, "n/a"])
def test_a_change_from_a_value_that_is_not_a_number_passes_with_a_warning(rule: str, old: Value) -> None:
    judgement = judge(parse_rules(rule), (row(old=old, new=0.5),))
    assert (judgement.verdict, judgement.results[0].value) == ("passed", None)
    (warning,) = judgement.warnings
    assert repr(rule) in warning
    assert "passed: no number in the old value of 'metrics.json:accuracy'" in warning


def test_many_metrics_without_an_old_value_give_one_warning() -> None:
    (warning,) = judge(parse_rules("* change >= 0"), tuple(row(f"m{i}", new=i) for i in range(400))).warnings
    assert warning.endswith("'metrics.json:m0' and 399 more")


def test_a_new_metric_is_judged_by_rules_about_its_value() -> None:
    assert result("accuracy >= 0.9", row(new=0.95)).passed
    assert not result("accuracy >= 0.9", row(new=0.85)).passed


def test_true_counts_as_one_and_false_as_zero() -> None:
    assert passes("accuracy == 1", False, True)
    assert not passes("accuracy >= 1", True, False)
    assert result("accuracy change >= 0", row(old=False, new=True)).value == 1


def test_infinity_is_a_number_beyond_every_limit() -> None:
    assert not passes("accuracy <= 1e300", 0.5, math.inf)
    assert passes("accuracy change <= 5%", math.inf, 0.5)
    assert passes("accuracy change == 0", math.inf, math.inf)
    assert not passes("accuracy change <= 5%", 0.5, math.inf)
    assert result("accuracy > 0", row(new=10**400)).value == math.inf
    assert result("accuracy > 0", row(new=-(10**400))).value == -math.inf


def test_a_warning_is_one_line_whatever_the_names_are() -> None:
    rows = (row("a\n::error::b", path="x\u2028y\r", new=None),)
    (warning,) = judge(parse_rules("* >= 0"), rows).warnings
    assert len(warning.splitlines()) == 1


# Directions


def direction(name: str, rules: str = "", path: str = "metrics.json") -> str | None:
    (directed,) = with_directions((row(name, 1, 2, path=path),), parse_rules(rules))
    return directed.direction


UP_NAMES = """accuracy acc val_acc valAcc top5_acc acc_norm accuracy.mean accuracy[0] auc roc_auc auc_roc ROC_AUC rocAuc
    f1 F1Score f1-score f1.macro macro.f1 weighted_avg.f1-score precision recall recall@5 recall_at_10 r2 R2 r2_score
    r_squared map mAP mAP50 mAP@0.5 mAP@0.5:0.95 metrics/mAP50-95(B) mean_average_precision iou mIoU dice bleu BLEU4
    rouge1 rougeL rougeLsum ndcg@10 mcc cohen_kappa score test.score true_positive_rate tpr@fpr=0.01 log_likelihood
    loss_recall ms_ssim explained_variance per_class.accuracy metrics.per_class_accuracy psnr throughput
    squad_exact_match"""
DOWN_NAMES = """mistakes by_class.mistakes loss val_loss valLoss loss.val train/loss loss[0] loss_total recall_loss accuracy_loss error err errors
    n_errors error_rate errorRate word_error_rate Mean-Squared-Error rmse RMSE mse mae mape logloss logLoss log_loss
    perplexity latency latency_ms latency.p99 latency_p99_ms p99LatencyMs wer cer wer_score brier_score duration time
    train_time seconds ms time_per_step time_to_accuracy fpr fnr false_positive_rate false_negatives nll
    negative_log_likelihood token_negative_log_likelihood cross_entropy crossEntropy"""
UNKNOWN_NAMES = """heat_map heat_map_count heatmap feature_map_size loss_weight loss_fn loss_improvement learning_rate
    dropout_rate accuracy_std accuracy.std latency.count score_threshold threshold_0.5 time_step start_time timestamp
    samples_per_ms tokens_per_second neg_log_loss neg_mean_squared_error negative_recall lossless mapping precise
    n_params epoch best_epoch support rate mean 0 . @ _ été"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [(name, "up") for name in UP_NAMES.split()]
    + [(name, "down") for name in DOWN_NAMES.split()]
    + [(name, None) for name in [*UNKNOWN_NAMES.split(), ""]],
)
def test_the_last_meaningful_word_of_a_usual_name_decides_the_direction(name: str, expected: str | None) -> None:
    assert direction(name) == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("widgets >= 1", "up"),
        ("widgets > 1", "up"),
        ("widgets <= 1", "down"),
        ("widgets < 1", "down"),
        ("metrics.json:widgets change >= -1%", "up"),
        ("*:w?dget* change <= 5", "down"),
        ("widgets == 1", None),
        ("other.json:widgets >= 1", None),
        ("widgets >= 1; widgets change >= 0", "up"),
        ("widgets >= 1; widgets <= 5", None),
        ("* >= 1", None),
    ],
)
def test_a_rule_that_names_the_metric_decides_the_direction(rules: str, expected: str | None) -> None:
    assert direction("widgets", rules) == expected


def test_a_rule_overrides_the_usual_name_except_a_wildcard_or_a_range() -> None:
    assert direction("loss", "loss >= 1") == "up"
    assert direction("loss", "* >= 1") == "down"
    assert direction("val.loss", "val.* >= 1") == "down"
    assert direction("loss", "loss >= 0; loss <= 1") == "down"


@pytest.mark.parametrize(
    ("name", "old", "new", "better"),
    [
        ("accuracy", 0.9, 0.91, True),
        ("accuracy", 0.9, 0.89, False),
        ("loss", 0.9, 0.91, False),
        ("loss", 0.9, 0.89, True),
        ("loss", 0.9, math.inf, False),
        ("accuracy", False, True, True),
        ("accuracy", 1, True, None),
        ("accuracy", 0.9, 0.9, None),
        ("loss", 1e23, int(1e23), None),  # the same to Python, though not digit by digit
        ("accuracy", NEVER, 0.9, None),
        ("accuracy", 0.9, NEVER, None),
        ("accuracy", 0.9, math.nan, False),
        ("loss", 0.9, math.nan, False),
        ("loss", math.nan, 0.9, True),
        ("loss", math.nan, math.nan, None),
        ("accuracy", "bad", "good", None),
        ("accuracy", None, 0.9, None),
        ("widgets", 1, 2, None),
    ],
)
def test_better_is_set_for_a_change_between_two_numbers_with_a_direction(
    name: str, old: Value, new: Value, *, better: bool | None
) -> None:
    (directed,) = with_directions((row(name, old, new),), ())
    assert directed.better is better


def test_a_row_without_direction_is_unchanged() -> None:
    before = row("widgets", 1, 2)
    assert with_directions((before,), ()) == (before,)


# Anything at all

PIECES = st.sampled_from(
    [*";:%<>=!*?[]\n\t '\"", "change", "a", "b.c", "m.json", ">=", "==", "1", "-2.5e3", "nan", "1e999", "\u2028", "é"]
)
TEXTS = st.one_of(st.text(), st.lists(PIECES, max_size=12).map("".join))
NAMES = st.one_of(
    st.text(max_size=8), st.lists(st.sampled_from(["loss", "F1", "per", "@", ".", "_", "at"])).map("".join)
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**5000), 5e-324, 1.7e308]),
    st.floats(),
    st.text(max_size=5),
)
STATUSES = st.sampled_from(["added", "removed", "changed", "unchanged"])
LIMITS = st.floats(allow_nan=False, allow_infinity=False)
RULES = st.builds(
    Rule,
    text=NAMES,
    path=st.one_of(st.just("*"), TEXTS),
    metric=st.one_of(st.just("*"), TEXTS),
    is_change=st.booleans(),
    operator=st.sampled_from([">=", "<=", ">", "<", "=="]),
    limit=LIMITS,
    is_percent=st.booleans(),
)


@given(text=TEXTS)
@example(text="a" + " " * 5000 + "b>=1")
@example(text="=" * 5000 + "a=")
@example(text="a >= " + "9" * 5000)
@settings(max_examples=400, deadline=None)
def test_any_text_gives_rules_or_a_one_line_error(text: str) -> None:
    try:
        rules = parse_rules(text)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
        return
    assert parse_rules("\n".join(rule.text for rule in rules)) == rules
    assert all(rule.path and rule.metric and math.isfinite(rule.limit) for rule in rules)


@given(rules=st.lists(RULES, max_size=3), path=NAMES, name=NAMES, old=VALUES, new=VALUES, status=STATUSES)
@settings(max_examples=400, deadline=None)
def test_any_values_can_be_judged(
    rules: list[Rule], path: str, name: str, old: Value, new: Value, status: Status
) -> None:
    rows = (MetricRow(path=path, name=name, old=old, new=new, status=status),)
    judgement = judge(tuple(rules), rows)
    with_directions(rows, tuple(rules))
    assert len(judgement.results) == len(rules)
    assert all(len(warning.splitlines()) == 1 for warning in judgement.warnings)
    assert all(found.value is None or not math.isnan(found.value) for found in judgement.results)


CENTS = st.integers(-10_000, 10_000)


@given(old=CENTS, new=CENTS, limit=CENTS, operator=st.sampled_from([">=", "<=", ">", "<", "=="]))
@settings(max_examples=400, deadline=None)
def test_a_change_in_hundredths_is_judged_as_in_whole_numbers(old: int, new: int, limit: int, operator: str) -> None:
    expected = {
        ">=": new - old >= limit,
        "<=": new - old <= limit,
        ">": new - old > limit,
        "<": new - old < limit,
        "==": new - old == limit,
    }
    rule = f"accuracy change {operator} {Decimal(limit) / 100}"
    assert passes(rule, old / 100, new / 100) is expected[operator]


def test_the_error_names_each_failed_rule_once_and_at_most_five() -> None:
    rules = [f"m{number} > 1" for number in range(7)]
    gates = tuple(
        GateResult(rule=rule, path=path, metric="m", value=0.5, passed=rule == rules[0])
        for rule in rules
        for path in ("a.json", "b.json")
    )
    report = Report(name="DVC Report", verdict="failed", sha="0" * 40, baseline=None, gates=gates)
    assert gates_failed(report) == "metrics_gate: m1 > 1; m2 > 1; m3 > 1; m4 > 1; m5 > 1 failed"
