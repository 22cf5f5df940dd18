"""THE variable table: every variable's name, default, help and where it shows.

action.yml's inputs, the GitLab template's inputs, the command line's options and README's table are written from
it; a test holds them to it. How a value is parsed stands in `settings`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "lines", "list", "boolean", "number", "choice"]


class Variable(NamedTuple):
    """One variable. `default` is what is taken when it is unset or empty; `shown_default` is its wording in tables
    where the true one depends on the place. `choices` is for kind "choice".
    """

    name: str
    kind: Kind
    default: str
    help: str
    shown_default: str | None = None
    choices: tuple[str, ...] = ()
    is_option: bool = True


VARIABLES: tuple[Variable, ...] = (
    Variable(
        name="repo_token",
        kind="text",
        default="",
        shown_default="the job's own token",
        is_option=False,
        help="Token that pushes and publishes. GitHub: GITHUB_TOKEN serves. GitLab: a project access token; without "
        "one GITLAB_TOKEN, then CI_JOB_TOKEN, which cannot comment.",
    ),
    Variable(
        name="baseline",
        kind="text",
        default="origin/master",
        help="Revision to compare with: origin/main, HEAD~1, a tag, a commit. Where the default does not exist: the "
        "pull request's target, else the default branch, else the commit before.",
    ),
    Variable(
        name="repro_targets",
        kind="list",
        default="Dvcfile",
        help="Stages or dvc.yaml files to reproduce. The default means the whole project; `-` reproduces nothing.",
    ),
    Variable(
        name="metrics_diff_targets",
        kind="list",
        default="",
        help="Metrics files to report. Unset: all of them; `-` leaves the section out.",
    ),
    Variable(
        name="tag_prefix",
        kind="text",
        default="",
        help="When set, the results commit is tagged `<tag_prefix><short sha>`, which makes it an experiment of the "
        "report's list and, on GitLab, a release.",
    ),
    Variable(
        name="metrics_format",
        kind="text",
        default="0[.][0000000]",
        help="How metrics are written, in numeral.js's grammar: `0.00`, `0,0.0000`, `0.00%`, `0.0a`.",
    ),
    Variable(
        name="dvc_pull",
        kind="list",
        default="",
        help="What to pull first. Unset: everything; `auto`: only what the stages that must run need; `-`: nothing.",
    ),
    Variable(
        name="setup",
        kind="lines",
        default="",
        help="Shell lines (`sh -e`) that run before the pull: install requirements, update data.",
    ),
    Variable(
        name="working_directory",
        kind="text",
        default=".",
        help="Folder of the DVC project; every other path is relative to it.",
    ),
    Variable(
        name="push",
        kind="boolean",
        default="",
        shown_default="true in CI, false on a laptop",
        help="Save results: DVC remote, commit, tag, push. `false` reports only.",
    ),
    Variable(
        name="comment",
        kind="choice",
        default="update",
        choices=("update", "new", "off"),
        help="The comment on the pull request: one that is updated, a new one a run, or none.",
    ),
    Variable(
        name="report_name",
        kind="text",
        default="DVC Report",
        help="Title of the report, and the key under which it is updated: give each job of a matrix its own.",
    ),
    Variable(
        name="template",
        kind="text",
        default="",
        help="Jinja template of your own for report.md; it may extend `report.md.j2` and override its blocks.",
    ),
    Variable(
        name="locale",
        kind="text",
        default="en",
        help="Language of the report, its numbers and dates: `en`, `de`, `es`, `fr`, `pt_BR`. Any other locale has its "
        "own numbers and dates, and English words.",
    ),
    Variable(
        name="metrics_gate",
        kind="lines",
        default="",
        help="Rules that metrics must meet, one a line or between `;`: `accuracy >= 0.9`, "
        "`*:loss change <= 5%`. One that fails makes the verdict `failed` and the exit code 3.",
    ),
    Variable(
        name="plots",
        kind="list",
        default="",
        help="Plots to draw. Unset: all of them; `-` leaves the section out.",
    ),
    Variable(
        name="experiments",
        kind="number",
        default="5",
        help="How many experiments of the branch the report lists; `0` leaves the section out.",
    ),
    Variable(
        name="params_diff_targets",
        kind="list",
        default="",
        help="Params files to report. Unset: all of them; `-` leaves the section out.",
    ),
    Variable(
        name="commit_message",
        kind="text",
        default="Update DVC results",
        help="Subject of the results commit.",
    ),
)

BY_NAME: dict[str, Variable] = {variable.name: variable for variable in VARIABLES}
