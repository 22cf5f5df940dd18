"""The table of variables: name, kind, default and help of each.

The inputs of action.yml, of the GitLab templates and of the reusable workflow, the options of the command line and the
table in README.md are made from it (`make generate`). `settings` parses the values.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["text", "lines", "list", "boolean", "number", "choice"]


class Variable(NamedTuple):
    """One variable.

    `default` is used if the variable is unset or empty. `shown_default` describes it in tables if it depends on where
    CML runs. `choices` are the allowed values of kind "choice".
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
        shown_default="the token of the job",
        is_option=False,
        help="Token for pushing results and publishing reports. GitHub: GITHUB_TOKEN is enough. GitLab: a project "
        "access token; if empty, GITLAB_TOKEN is used, then CI_JOB_TOKEN, which cannot comment.",
    ),
    Variable(
        name="baseline",
        kind="text",
        # The name that repositories had when this variable was introduced. Where it does not exist, `cml.run.baseline`
        # finds the branch that is meant.
        default="origin/master",
        help="Revision to compare with: origin/main, HEAD~1, a tag or a commit. If the default does not exist: the "
        "target of the pull request, else the default branch, else the previous commit.",
    ),
    Variable(
        name="repro_targets",
        kind="list",
        # A file of DVC 0.x, which stands for the whole project: workflows that name it still work.
        default="Dvcfile",
        help="Stages or dvc.yaml files to reproduce. The default is the whole project; `-` reproduces nothing.",
    ),
    Variable(
        name="metrics_diff_targets",
        kind="list",
        default="",
        help="Metrics files to report. Default: all; `-` hides this section.",
    ),
    Variable(
        name="tag_prefix",
        kind="text",
        default="",
        help="Tags each results commit `<tag_prefix><short sha>`. Tagged commits are the experiments that the report "
        "lists; on GitLab each becomes a release. Default: no tag.",
    ),
    Variable(
        name="metrics_format",
        kind="text",
        default="0[.][0000000]",
        help="Number format of metrics, as in numeral.js: `0.00`, `0,0.0000`, `0.00%`, `0.0a`.",
    ),
    Variable(
        name="dvc_pull",
        kind="list",
        default="",
        help="Targets to pull before the run. Default: everything; `auto`: only what the stages that must run need; "
        "`-`: nothing.",
    ),
    Variable(
        name="setup",
        kind="lines",
        default="",
        help="Shell commands (`sh -e`) to run before the pull, for example to install requirements or to update data.",
    ),
    Variable(
        name="working_directory",
        kind="text",
        default=".",
        help="Folder of the DVC project. All other paths are relative to it.",
    ),
    Variable(
        name="push",
        kind="boolean",
        default="",
        shown_default="true in CI, false on a laptop",
        help="Whether to save results: upload data to the DVC remote, commit, tag and push. `false` only reports.",
    ),
    Variable(
        name="comment",
        kind="choice",
        default="update",
        choices=("update", "new", "off"),
        help="Comment on the pull request: `update` keeps one comment up to date, `new` adds one for each run, `off` "
        "writes none.",
    ),
    Variable(
        name="report_name",
        kind="text",
        default="DVC Report",
        help="Title of the report. A later run updates the report with the same name, so give each job of a matrix its "
        "own.",
    ),
    Variable(
        name="template",
        kind="text",
        default="",
        help="Your own Jinja template for report.md. It can extend `report.md.j2` and override its blocks.",
    ),
    Variable(
        name="locale",
        kind="text",
        default="en",
        help="Language of the report and format of its numbers and dates: `en`, `de`, `es`, `fr`, `pt_BR`. With any "
        "other locale the text is English.",
    ),
    Variable(
        name="metrics_gate",
        kind="lines",
        default="",
        help="Rules that metrics must meet, one on each line or separated by `;`: `accuracy >= 0.9`, `*:loss change <= "
        "5%`. If a rule fails, the verdict is `failed` and the exit code 3.",
    ),
    Variable(
        name="plots",
        kind="list",
        default="",
        help="Plots to draw. Default: all; `-` hides this section.",
    ),
    Variable(
        name="experiments",
        kind="number",
        default="5",
        help="Number of experiments of the branch to list in the report; `0` hides this section.",
    ),
    Variable(
        name="params_diff_targets",
        kind="list",
        default="",
        help="Params files to report. Default: all; `-` hides this section.",
    ),
    Variable(
        name="commit_message",
        kind="text",
        default="Update DVC results",
        help="Subject of the results commit.",
    ),
)

BY_NAME: dict[str, Variable] = {variable.name: variable for variable in VARIABLES}
