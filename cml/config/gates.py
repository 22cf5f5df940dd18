"""The rules of `metrics_gate`: how they are written, and how they are parsed. Judging is in `cml.report.judgement`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Operator = Literal[">=", "<=", ">", "<", "=="]

OPERATORS: tuple[Operator, ...] = (">=", "<=", ">", "<", "==")
EXAMPLE = "write for example metrics.json:accuracy >= 0.9 or *:loss change <= 5%"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule: its `text` as the user wrote it, and its parts. `path` and `metric` are globs.

    `is_change` compares new minus old; with `is_percent`, in percent of the size of the old value.
    """

    text: str
    path: str
    metric: str
    is_change: bool
    operator: Operator
    limit: float
    is_percent: bool

    def matches(self, path: str, metric: str) -> bool:
        """Whether the globs match a whole path and a whole dotted name; `*` matches dots and slashes too."""
        return _matches(self.path, path) and _matches(self.metric, metric)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """Returns the rules of a text, one a line or between `;`, each `[path-glob:]metric-glob [change] OP number[%]`.

    Spaces around the parts are ignored. Names may contain spaces and are written without quotes. The first `:` ends
    the path, later ones belong to the metric (`*:val:loss >= 1`). Where a name contains a character of the syntax (`:`
    in a path, `;`, `<`, `>`, a last word `change`), write `?` for it. Raises ValueError with one line: the rule, what
    is wrong with it, and an example.
    """
    lines = (line.strip() for line in text.replace(";", "\n").splitlines())
    return tuple(_parse_rule(line) for line in lines if line)


def _parse_rule(text: str) -> Rule:
    try:
        return _read_rule(text)
    except ValueError as error:
        raise ValueError(f"rule {text!r} {error}; {EXAMPLE}") from None


def _read_rule(text: str) -> Rule:
    """Raises ValueError, which says what is wrong with the rule."""
    left, operator, right = _split_at_operator(text)
    # A metric may be called `change` too: only a last word after a name is the keyword.
    name = re.sub(r"(?<=\S)\s+change\Z", "", left)
    is_change = name != left
    path, metric = _split_name(name)
    is_percent = right.endswith("%")
    limit = _read_limit(right.removesuffix("%").rstrip())
    if is_percent and not is_change:
        raise ValueError("has a % without `change`: only a change can be in percent; for a value of 90% write 0.9")
    return Rule(
        text=text,
        path=path,
        metric=metric,
        is_change=is_change,
        operator=operator,
        limit=limit,
        is_percent=is_percent,
    )


def _split_at_operator(text: str) -> tuple[str, Operator, str]:
    # A path may contain `=` (date=2024/metrics.json), so the last operator counts.
    parts = re.split(r"([<>=!]+)", text)
    if len(parts) == 1:
        raise ValueError("has no comparison: expected one of >= <= > < == and a number")
    *left, sign, right = parts
    operator = next((known for known in OPERATORS if known == sign), None)
    if operator is None:
        raise ValueError(f"contains {sign!r}: expected one of >= <= > < ==")
    subject = "".join(left).strip()
    if re.search(r"[<>]|==", subject):
        raise ValueError("has two comparisons: write one a line, or `;` between them")
    return subject, operator, right.strip()


def _split_name(name: str) -> tuple[str, str]:
    path, colon, metric = (part.strip() for part in name.partition(":"))
    if not colon:
        path, metric = "*", path
    if not path or not metric:
        raise ValueError("has no metric: expected its name, or path:name, before the comparison")
    if path[0] in "\"'`" or metric[0] in "\"'`":
        raise ValueError("contains quotes: write names without them, also names with spaces")
    return path, metric


def _read_limit(text: str) -> float:
    try:
        limit = float(text)
    except ValueError:
        raise ValueError(f"compares with {text!r}: expected a number") from None
    if not math.isfinite(limit):
        raise ValueError(f"compares with {text!r}: expected a finite number")
    return limit


def _matches(glob: str, name: str) -> bool:
    # A name such as `loss[0]` is a glob that does not match itself, so an equal name is a match too.
    return glob == name or fnmatchcase(name, glob)
