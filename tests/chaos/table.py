"""Prints the table of promises for SECURITY.md; `--write` puts it there: `python tests/chaos/table.py [--write]`.

The figures are the counts in `.chaos/` (see `figures`). A promise without counts, or with a case that failed, is an error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.figures import FOLDER, totals

SECURITY = Path(__file__).parents[2] / "SECURITY.md"
BEGIN, END = "<!-- the table: written by tests/chaos/table.py -->", "<!-- the table ends -->"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One row of the table. `figure` is a format string for the numbers that were counted under `key`."""

    key: str
    text: str
    test: str
    figure: str


PROMISES = (
    Promise(
        key="complete data",
        text="No published commit refers to data that is missing on the DVC remote",
        test="after every test below, plain git and plain DVC pull each results commit into a fresh clone; the remote is "
        "empty, complete, or incomplete in a way that DVC does not notice (a `.dir` object without its files)",
        figure="{commits} commits checked, {missing} with missing data",
    ),
    Promise(
        key="kill",
        text="After `kill -9` at any time, the next run completes the work",
        test="KILL, TERM, INT, HUP before each effect of a run (process started, file written, connection opened), then a "
        "run in the same workspace or in a fresh clone; KILL at random times",
        figure="{kept} of {tried} end with 1 commit, 1 tag, 1 report on a forge, and nothing to clean by hand",
    ),
    Promise(
        key="cancel",
        text="A cancelled run ends in time",
        test="INT and TERM at random times, in stages that ignore signals, during a push, while an API does not answer",
        figure="{tried} cancelled runs, the longest took {longest_max} s to end; no process left in {kept}",
    ),
    Promise(
        key="races",
        text="Runs at the same time lose nothing",
        test="2, 4 and 8 runs that push through a slow git HTTP server; two runs of the same stage",
        figure="{pushes} pushes, {lost} lost, {doubled} duplicated; {refused} of {same_stage} for the same stage refused",
    ),
    Promise(
        key="atomic",
        text="Branch and tag are pushed together or not at all",
        test="server hooks that refuse the branch, the tag or both, or that crash; a tag that already exists in the clone or "
        "on the server",
        figure="{half} half-published in {tried}",
    ),
    Promise(
        key="repeated runs",
        text="A repeated run adds nothing",
        test="the same job 1, 2 and 5 times, and two at the same time, on each forge and for each kind of event",
        figure="{doubled} duplicate comments, tags, releases or commits in {tried}",
    ),
    Promise(
        key="api",
        text="API errors never lose a training and never duplicate a message",
        test="each endpoint: 500 to 504, 429 and 403 with and without Retry-After, timeouts, resets, truncated JSON, HTML, "
        "redirects, requests that are done but not answered; for the first 1, 2, 5 calls or all; the git server too",
        figure="{kept} of {tried} kept; the longest wait of a run was {waited_max} s",
    ),
    Promise(
        key="limits",
        text="Reports never exceed the limits of the platform",
        test="reports from two bytes below a limit to ten times its length, in ASCII, CJK, emoji, combining marks",
        figure="{refused} refused in {tried}; the Markdown stays valid, and omitted rows are counted",
    ),
    Promise(
        key="bad input",
        text="Bad input is answered by one clear line",
        test="generated settings, event files and pipeline variables; metrics files in unexpected formats",
        figure="{settings} settings and {events} events ({refused} refused), {metrics_files} metrics files: no traceback in "
        "{kept} of {tried}",
    ),
    Promise(
        key="secrets",
        text="Secrets do not leak",
        test="12 secrets in 11 encodings, printed wherever a job can print; then logs, reports, requests, `.git`, HOME, "
        "temporary files, command lines and environments are searched",
        figure="{found} found in {searched} files and texts",
    ),
    Promise(
        key="credentials",
        text="git sends exactly one credential, the right one",
        test="each layout that checkouts and runners leave, together with foreign headers, credential helpers and rewritten "
        "URLs; ssh; a server that refuses two headers",
        figure="{kept} of {tried}",
    ),
    Promise(
        key="names",
        text="Names cannot inject anything into the report or the job",
        test="hostile names of metrics, params, files, branches and authors, read by a Markdown parser and by the parser of "
        "workflow commands",
        figure="{kept} of {tried} names stay plain text; {commands} commands",
    ),
    Promise(
        key="templates",
        text="Templates cannot leave their sandbox",
        test="known escapes from Jinja's sandbox; templates that would use unlimited time or memory",
        figure="{escapes} escapes; {bombs} endless templates, the longest took {longest_max} s to stop",
    ),
    Promise(
        key="options",
        text="Settings are never taken as options or commands",
        test="baselines, targets, tags and paths that look like options or commands, or that point outside the project",
        figure="{started} programs started, {written} files written outside, in {tried}",
    ),
    Promise(
        key="clones",
        text="Every kind of clone works",
        test="depth 1, 2, 20, full; branch, tag, detached HEAD, PR merge, MR result, one commit, empty; five baselines; main, "
        "master, trunk",
        figure="{kept} of {tried}: {reports} reports, {answers} documented errors",
    ),
    Promise(
        key="refs",
        text="Nothing is pushed to a wrong ref",
        test="forks, closed and merged pull requests, moved and deleted branches, tag, merge_group, merge train, "
        "pull_request_target, workflow_run, issue_comment",
        figure="{unexpected} unexpected refs in {tried}",
    ),
    Promise(
        key="machine",
        text="A run leaves the machine unchanged",
        test="HOME, git configuration, file owners and modes, processes and temporary files are compared before and after, "
        "however the run ends",
        figure="{unexpected} unexpected changes in {tried}",
    ),
    Promise(
        key="disk",
        text="Disk full, read-only disk, no file handles",
        test="small file systems for workspace, cache, temporary files, DVC remote and origin",
        figure="{kept} of {tried} end with one error line, and a later run completes ({full} were stopped by it)",
    ),
)


def shown(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.1f}"


def lines(counted: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the lines of the Markdown table. Raises KeyError for a promise without counts."""
    found = ["| promise | how it is tried | figure |", "| --- | --- | --- |"]
    for promise in PROMISES:
        if promise.key not in counted:
            raise KeyError(promise.key)
        numbers = {name: shown(number) for name, number in counted.get(promise.key, {}).items()}
        seed = f", seed {numbers['seed_max']}" if "seed_max" in numbers else ""
        part = f" (a part{seed})" if "part_max" in numbers else ""
        found.append(f"| {promise.text} | {promise.test} | {promise.figure.format_map(numbers)}{part} |")
    return [*found, "", "Rows marked *a part* were not tried at full size for this table."]


def main() -> int:
    counted = totals(FOLDER.glob("*.jsonl"))
    try:
        table = "\n".join(lines(counted))
    except KeyError as error:
        print(f"error: {FOLDER} has no figures for the promise {error}: run `make chaos`", file=sys.stderr)
        return 1
    print(table)
    if "--write" in sys.argv[1:]:
        before, _, rest = SECURITY.read_text().partition(BEGIN)
        SECURITY.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
    broken = [promise.text for promise in PROMISES if counted[promise.key]["kept"] < counted[promise.key]["tried"]]
    for text in broken:
        print(f"error: some cases failed for the promise: {text}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
