"""A run's settings, read once at the door from options, `with:` inputs, the environment and the defaults.

Pure: no file is read and nothing is imported that a skipped run would pay for. Every error names the variable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Literal, NamedTuple

from cml.config.variables import BY_NAME, Variable
from cml.errors import BadInput

if TYPE_CHECKING:
    from cml.config.gates import Rule
    from cml.config.number_format import NumberFormat

SKIP = "-"
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")
Comment = Literal["update", "new", "off"]

# What git refuses in a ref (git-check-ref-format), for a prefix that a short sha will follow.
BAD_TAG_PREFIX = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|/\.|@\{|\.lock/|^[-/.]")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class Settings(NamedTuple):
    """The variables of one run, parsed. A list of targets that is None was switched off by `-`; empty means all.
    `given` are the texts of those that were set, by name.
    """

    baseline: str
    is_default_baseline: bool
    repro_targets: tuple[str, ...] | None
    metrics_diff_targets: tuple[str, ...] | None
    tag_prefix: str
    metrics_format: str
    dvc_pull: tuple[str, ...] | None
    setup: str
    working_directory: str
    push: bool
    comment: Comment
    report_name: str
    template: str
    locale: str
    metrics_gate: tuple[Rule, ...]
    plots: tuple[str, ...] | None
    experiments: int
    params_diff_targets: tuple[str, ...] | None
    commit_message: str
    given: Mapping[str, str]

    @property
    def number_format(self) -> NumberFormat:
        """`metrics_format`, compiled."""
        from cml.config.number_format import NumberFormat

        return NumberFormat.parse(self.metrics_format)

    @property
    def key(self) -> str:
        """What the work is known by: two runs of one commit with the same key come to the same."""
        return _digest(repr(self._replace(comment="update", given={})))[:16]

    @property
    def scope(self) -> str:
        """Which part of the repository is reproduced: jobs with others are no repetitions of each other."""
        return _digest(repr((self.working_directory, self.repro_targets)))[:8]

    @property
    def is_whole_project(self) -> bool:
        """Whether `repro_targets` is the seed's default, which means every pipeline of the project."""
        return self.repro_targets == (BY_NAME["repro_targets"].default,)


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def read_settings(environment: Mapping[str, str], options: Mapping[str, str], *, is_ci: bool) -> Settings:
    """Returns the settings of a run.

    `options` are the command line's, by variable name. Precedence: option, INPUT_<NAME>, the variable's own name
    in the environment, default; empty means unset. Raises BadInput, one line that names the variable.
    """

    def text(name: str) -> str:
        variable = BY_NAME[name]
        value = options.get(name) or environment.get(f"INPUT_{name.upper()}") or environment.get(name) or ""
        value = value.strip()
        if CONTROL.search(value) or (variable.kind not in ("lines", "list") and "\n" in value):
            raise BadInput(f"{name} holds a line break or a control character: write it as one plain line")
        if value:
            given[name] = value
        return value or variable.default

    given: dict[str, str] = {}
    baseline = text("baseline")
    if baseline.startswith("-"):
        raise BadInput(f"baseline is {baseline!r}: expected a revision such as origin/main, HEAD~1 or a commit")
    return Settings(
        baseline=baseline,
        is_default_baseline=baseline == BY_NAME["baseline"].default,
        repro_targets=_targets("repro_targets", text("repro_targets")),
        metrics_diff_targets=_targets("metrics_diff_targets", text("metrics_diff_targets")),
        tag_prefix=_tag_prefix(text("tag_prefix")),
        metrics_format=_metrics_format(text("metrics_format")),
        dvc_pull=_targets("dvc_pull", text("dvc_pull")),
        setup=text("setup"),
        working_directory=_folder(text("working_directory")),
        push=_boolean(BY_NAME["push"], text("push"), default=is_ci),
        comment=_comment(text("comment")),
        report_name=_report_name(text("report_name")),
        template=text("template"),
        locale=_locale(text("locale")),
        metrics_gate=_metrics_gate(text("metrics_gate")),
        plots=_targets("plots", text("plots")),
        experiments=_number(text("experiments")),
        params_diff_targets=_targets("params_diff_targets", text("params_diff_targets")),
        commit_message=text("commit_message"),
        given=given,
    )


def _targets(name: str, value: str) -> tuple[str, ...] | None:
    if value == SKIP:
        return None
    targets = tuple(target for target in re.split(r"[,\s]+", value) if target)
    for target in targets:
        if target.startswith("-"):
            raise BadInput(
                f"{name} holds {target!r}: expected names of stages or files separated by commas, or `-` alone"
            )
        if ".." in PurePosixPath(target).parts or target.startswith("/"):
            raise BadInput(f"{name} holds {target!r}, outside the project: expected a path relative to it")
    return targets


def _boolean(variable: Variable, value: str, *, default: bool) -> bool:
    if not value:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise BadInput(f"{variable.name} is {value!r}: expected true or false")


def _number(value: str) -> int:
    if re.fullmatch(r"[0-9]{1,3}", value):
        return int(value)
    raise BadInput(f"experiments is {value!r}: expected a whole number from 0 to 999")


def _comment(value: str) -> Comment:
    match value.lower():
        case "update" | "new" | "off" as comment:
            return comment
        case _:
            raise BadInput(f"comment is {value!r}: expected one of {', '.join(BY_NAME['comment'].choices)}")


def _tag_prefix(value: str) -> str:
    if value and BAD_TAG_PREFIX.search(value):
        raise BadInput(f"tag_prefix is {value!r}, which git takes for no tag: expected letters, as in dvc_ or exp/")
    return value


def _metrics_format(value: str) -> str:
    if value == BY_NAME["metrics_format"].default:  # a skipped run must not pay for what reads it
        return value
    from cml.config.number_format import NumberFormat

    try:
        NumberFormat.parse(value)
    except ValueError as error:
        raise BadInput(f"metrics_format is {value!r}: {error}") from None
    return value


def _metrics_gate(value: str) -> tuple[Rule, ...]:
    if not value:
        return ()
    from cml.config.gates import parse_rules

    try:
        return parse_rules(value)
    except ValueError as error:
        raise BadInput(f"metrics_gate: {error}") from None


def _folder(value: str) -> str:
    if ".." in PurePosixPath(value).parts:
        raise BadInput(f"working_directory is {value!r}: expected a folder inside the repository")
    return value


def _report_name(value: str) -> str:
    if len(value) > 100:
        raise BadInput(f"report_name has {len(value)} characters: expected at most 100")
    return value


def _locale(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}", value):
        raise BadInput(f"locale is {value!r}: expected a language such as en, de or pt_BR")
    return value.replace("-", "_")
