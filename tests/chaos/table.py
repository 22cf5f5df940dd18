"""The promises, and the table of SECURITY.md with its figures: `python tests/chaos/table.py [--write]`.

Figures come from what the tests counted (`figures`), each row's of the last run that tried it at full size; a promise without one, or with a case that was not kept, is said.
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
    """`figure` is filled with the sums of what was counted under `key`."""

    key: str
    text: str
    test: str
    figure: str


PROMISES = (
    Promise(
        key="witness",
        text="No visible commit names data that the DVC remote lacks",
        test="plain git and plain DVC in a fresh place, after every test below; remotes that are empty, complete, and "
        "lie (children gone, `.dir` there)",
        figure="{commits} commits seen, {lacking} lack anything",
    ),
    Promise(
        key="kill",
        text="`kill -9` anywhere: the next run converges",
        test="KILL, TERM, INT, HUP at every effect of a run (process, file, connection), then from the same workspace or "
        "a fresh clone; KILL at random instants",
        figure="{kept} of {tried} end with 1 commit, 1 tag, on a forge 1 report, and nothing to clean by hand",
    ),
    Promise(
        key="cancel",
        text="A cancel ends in time",
        test="INT and TERM at random instants, in stages that are deaf, inside pushes, while an API hangs",
        figure="{tried} cancels, the longest took {longest_max} s; no process left in {kept}",
    ),
    Promise(
        key="races",
        text="Runs at the same time lose nothing",
        test="2, 4 and 8 writers through a git HTTP server that takes its time; the same stage on both sides",
        figure="{pushes} pushes, {lost} lost, {doubled} doubled; {refused} of {same_stage} for the same stage refused",
    ),
    Promise(
        key="atomic",
        text="Branch and tag together, or not at all",
        test="server hooks that refuse one, the other or both, or die; a tag that exists here or there",
        figure="{half} half-published in {tried}",
    ),
    Promise(
        key="twice",
        text="The same run twice is one run",
        test="once, 2 and 5 times, and two at once, in every place and kind of event",
        figure="{doubled} comments, tags, releases or commits doubled in {tried}",
    ),
    Promise(
        key="api",
        text="API trouble never loses a training and never doubles a message",
        test="every endpoint: 500 to 504, 429 and 403 with and without Retry-After, time-outs, resets, cut JSON, HTML, "
        "redirects, done and then not answered; the first 1, 2, 5 calls or all; the git server too",
        figure="{kept} of {tried} kept; the longest wait in all was {waited_max} s",
    ),
    Promise(
        key="limits",
        text="Every platform's limit is kept",
        test="reports from two bytes below a limit to ten times its length, in ASCII, CJK, emoji, combining marks",
        figure="{refused} refused in {tried}; Markdown whole, the omitted counted",
    ),
    Promise(
        key="bad input",
        text="Bad input gets one clear line",
        test="generated settings, event files and pipelines' variables; foreign metrics files",
        figure="{settings} settings and {events} events ({refused} refused), {metrics_files} metrics files: no traceback, "
        "{kept} of {tried}",
    ),
    Promise(
        key="secrets",
        text="Secrets stay in",
        test="12 secrets in 11 encodings, printed wherever a job can print; logs, reports, requests, `.git`, HOME, temp, "
        "command lines, environments searched",
        figure="{found} found in {searched} files and texts",
    ),
    Promise(
        key="credentials",
        text="Exactly one credential, the right one",
        test="every layout that checkouts and runners leave, with headers, helpers and rewritten addresses beside it; ssh; "
        "a server that refuses two headers",
        figure="{kept} of {tried}",
    ),
    Promise(
        key="names",
        text="Names cannot change the report or the job",
        test="hostile names of metrics, params, files, branches, authors, read by a Markdown parser and by the runner's "
        "grammar",
        figure="{kept} of {tried} names are text and nothing else; {commands} commands",
    ),
    Promise(
        key="templates",
        text="Templates are contained",
        test="the known ways out of Jinja's sandbox, and bombs",
        figure="{escapes} escapes; {bombs} bombs, the longest took {longest_max} s",
    ),
    Promise(
        key="options",
        text="No option or path of yours becomes ours",
        test="baselines, targets, tags and paths that look like options, commands or ways out",
        figure="{started} programs started, {written} files written elsewhere, in {tried}",
    ),
    Promise(
        key="clones",
        text="Any clone shape",
        test="depth 1, 2, 20, full; branch, tag, detached, PR merge, MR result, one commit, empty; five baselines; main, "
        "master, trunk",
        figure="{kept} of {tried}: {reports} reports, {answers} documented answers",
    ),
    Promise(
        key="places",
        text="Never a push to the wrong place",
        test="fork, closed, merged, moved and deleted heads, tag, merge_group, merge train, pull_request_target, "
        "workflow_run, issue_comment",
        figure="{unexpected} unexpected refs in {tried}",
    ),
    Promise(
        key="as found",
        text="The machine is left as found",
        test="HOME, git's configuration, owners and modes, processes, temp, before and after, however the run ends",
        figure="{unexpected} changes but those listed, in {tried}",
    ),
    Promise(
        key="disk",
        text="Disk full, read-only, no file handles",
        test="small file systems for workspace, cache, temp, remote and origin",
        figure="{kept} of {tried} end with one line and converge later ({full} were stopped by it)",
    ),
)


def shown(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) else f"{number:.1f}"


def lines(counted: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Returns the Markdown table. Raises KeyError for a figure that nothing was counted for."""
    found = ["| promise | how it is tried | figure |", "| --- | --- | --- |"]
    for promise in PROMISES:
        if promise.key not in counted:
            raise KeyError(promise.key)
        numbers = {name: shown(number) for name, number in counted.get(promise.key, {}).items()}
        seed = f", seed {numbers['seed_max']}" if "seed_max" in numbers else ""
        part = f" (a part{seed})" if "part_max" in numbers else ""
        found.append(f"| {promise.text} | {promise.test} | {promise.figure.format_map(numbers)}{part} |")
    return [*found, "", "What says *a part* was not tried at its full size for this table."]


def main() -> int:
    counted = totals(FOLDER.glob("*.jsonl"))
    try:
        table = "\n".join(lines(counted))
    except KeyError as error:
        print(f"error: nothing was counted for {error} in {FOLDER}: run make chaos", file=sys.stderr)
        return 1
    print(table)
    if "--write" in sys.argv[1:]:
        before, _, rest = SECURITY.read_text().partition(BEGIN)
        SECURITY.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
    broken = [promise.text for promise in PROMISES if counted[promise.key]["kept"] < counted[promise.key]["tried"]]
    for text in broken:
        print(f"error: not kept: {text}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
