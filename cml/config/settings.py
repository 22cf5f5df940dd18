"""The settings of a run: parsed from options, `with:` inputs, the environment and the defaults. No I/O.

Every error message names the variable. A skipped run reads settings too, so nothing slow is imported at the top.
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

# What git does not allow in the name of a ref (git-check-ref-format), for a prefix that a short sha will follow.
BAD_TAG_PREFIX = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|/\.|@\{|\.lock/|^[-/.]")
CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
LONGEST_REPORT_NAME = 100


class Settings(NamedTuple):
    """The variables of one run, parsed.

    A tuple of targets is empty if the variable is not set (all targets), and None if it is `-` (none). `given` has the
    texts of the variables that are set, by name.
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
        """`metrics_format`, parsed."""
        return _parse_number_format(self.metrics_format)

    @property
    def key(self) -> str:
        """Identifies what a run does: runs of one commit with the same key have the same results."""
        # `comment` changes no result, so a run with another `comment` must not repeat the work.
        return _digest(repr(self._replace(comment="update", given={})))[:16]

    @property
    def scope(self) -> str:
        """Identifies the part of the repository that is reproduced: a job with another scope is not a repetition."""
        return _digest(repr((self.working_directory, self.repro_targets)))[:8]

    @property
    def is_whole_project(self) -> bool:
        """Whether `repro_targets` is the default, which means every pipeline of the project."""
        return self.repro_targets == (BY_NAME["repro_targets"].default,)


def read_settings(environment: Mapping[str, str], options: Mapping[str, str], *, is_ci: bool) -> Settings:
    """Returns the settings of a run.

    `options` are those of the command line, by variable name. Precedence: option, INPUT_<NAME>, the name itself in the
    environment, default; an empty value counts as not set. Raises BadInput with one line that names the variable.
    """
    given: dict[str, str] = {}

    def text(name: str) -> str:
        # GitHub's runner passes an input that is not set as an empty INPUT_ variable.
        value = options.get(name) or environment.get(f"INPUT_{name.upper()}") or environment.get(name) or ""
        value = _check_characters(BY_NAME[name], value.strip())
        if value:
            given[name] = value
        return value or BY_NAME[name].default

    # `repo_token` is not a setting: cml.process.tokens has removed it from the environment before.
    baseline = _baseline(text("baseline"))
    return Settings(
        baseline=baseline,
        is_default_baseline=baseline == BY_NAME["baseline"].default,
        repro_targets=_targets("repro_targets", text("repro_targets")),
        metrics_diff_targets=_targets("metrics_diff_targets", text("metrics_diff_targets")),
        tag_prefix=_tag_prefix(text("tag_prefix")),
        metrics_format=_metrics_format(text("metrics_format")),
        dvc_pull=_targets("dvc_pull", text("dvc_pull")),
        setup=text("setup"),
        working_directory=_working_directory(text("working_directory")),
        push=_boolean("push", text("push"), default=is_ci),
        comment=_comment(text("comment")),
        report_name=_report_name(text("report_name")),
        template=text("template"),
        locale=_locale(text("locale")),
        metrics_gate=_metrics_gate(text("metrics_gate")),
        plots=_targets("plots", text("plots")),
        experiments=_experiments(text("experiments")),
        params_diff_targets=_targets("params_diff_targets", text("params_diff_targets")),
        commit_message=text("commit_message"),
        given=given,
    )


def _check_characters(variable: Variable, value: str) -> str:
    if CONTROL_CHARACTER.search(value):
        raise BadInput(f"{variable.name} contains a control character: write it as plain text")
    if "\n" in value and variable.kind not in ("lines", "list"):
        raise BadInput(f"{variable.name} contains a line break: write it as one line")
    return value


def _baseline(value: str) -> str:
    if value.startswith("-"):  # git would take it for an option
        raise BadInput(f"baseline is {value!r}: expected a revision such as origin/main, HEAD~1 or a commit sha")
    return value


def _targets(name: str, value: str) -> tuple[str, ...] | None:
    # None is not the same as an empty tuple, which means all targets.
    if value == SKIP:
        return None
    targets = tuple(target for target in re.split(r"[,\s]+", value) if target)
    for target in targets:
        if target.startswith("-"):
            raise BadInput(
                f"{name} contains {target!r}: expected names of stages or files, separated by commas, or only `-`"
            )
        if ".." in PurePosixPath(target).parts or target.startswith("/"):
            raise BadInput(f"{name} contains {target!r}: expected a path inside the DVC project, relative to it")
    return targets


def _boolean(name: str, value: str, *, default: bool) -> bool:
    if not value:
        return default
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise BadInput(f"{name} is {value!r}: expected true or false")


def _experiments(value: str) -> int:
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
        raise BadInput(f"tag_prefix is {value!r}, not a valid git tag name: expected a name such as dvc_ or exp/")
    return value


def _metrics_format(value: str) -> str:
    if value == BY_NAME["metrics_format"].default:  # known to be valid, so a skipped run does not import the parser
        return value
    try:
        _parse_number_format(value)
    except ValueError as error:
        raise BadInput(f"metrics_format: {error}") from None
    return value


def _parse_number_format(text: str) -> NumberFormat:
    # Only runs that report need it, and it imports decimal.
    from cml.config.number_format import NumberFormat

    return NumberFormat.parse(text)


def _metrics_gate(value: str) -> tuple[Rule, ...]:
    if not value:
        return ()
    # Only projects with gates need it, and it imports dataclasses.
    from cml.config.gates import parse_rules

    try:
        return parse_rules(value)
    except ValueError as error:
        raise BadInput(f"metrics_gate: {error}") from None


def _working_directory(value: str) -> str:
    # A folder outside the repository has no commits. Whether the folder exists is checked when it is entered.
    if ".." in PurePosixPath(value).parts:
        raise BadInput(f"working_directory is {value!r}: expected a folder inside the repository")
    return value


def _report_name(value: str) -> str:
    if len(value) > LONGEST_REPORT_NAME:
        raise BadInput(f"report_name has {len(value)} characters: expected at most {LONGEST_REPORT_NAME}")
    return value


def _locale(value: str) -> str:
    # Only the form is checked here. `preflight` asks Babel, which a skipped run must not import.
    if not re.fullmatch(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8}){0,3}", value):
        raise BadInput(f"locale is {value!r}: expected a language such as en, de or pt_BR")
    return value.replace("-", "_")


def _digest(text: str) -> str:
    # A skipped run needs no digest, and hashlib loads OpenSSL.
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()
