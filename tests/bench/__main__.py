"""`make bench`: the cost of a run with nothing to do, compared with the DVC commands that it replaces."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
sys.path[:0] = [str(HERE.parent)]

from support.small_world import GITLAB_JOB  # noqa: E402 - found by the path above
from support.world import World  # noqa: E402 - found by the path above

from bench.measure import Command, Cost, alternated, median, ratios  # noqa: E402 - found by the path above
from bench.worlds import WORLDS, build  # noqa: E402 - found by the path above

FOLDER = TOP / ".bench"
RUN = ("cml", "run", "--push", "true", "--tag-prefix", "dvc_", "--baseline", "origin/main")
REPRO = ("dvc", "repro", "--all-pipelines", "--quiet")
# The commands that earlier programs of this kind ran, each in its own process.
SEQUENCE = " && ".join(
    (
        "dvc version",
        "dvc pull --force",
        "dvc repro --all-pipelines",
        "dvc diff --json origin/main HEAD",
        "dvc metrics diff --json origin/main HEAD",
    )
)
ROUNDS = {"small": 7, "plots": 5, "experiments": 5, "short": 15}  # the other projects take seconds for each run
SHORT = "short"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison: the median costs of both commands, and the medians of the ratios of each pair of runs."""

    what: str
    against: str
    ours: Cost
    theirs: Cost
    ratio: Cost
    goal: float | None
    rounds: int


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("worlds", nargs="*", help=f"any of {', '.join([*WORLDS, SHORT])} (default: all)")
    parser.add_argument("--rounds", type=int, help="number of pairs of runs for each comparison")
    parser.add_argument(
        "--no-sequence", action="store_true", help="skip the comparison with the five DVC commands, which takes longest"
    )
    options = parser.parse_args(arguments)
    wanted = options.worlds or [*WORLDS, SHORT]
    if unknown := set(wanted) - {*WORLDS, SHORT}:
        parser.error(f"no world is called {', '.join(sorted(unknown))}")
    compileall.compile_dir(TOP / "cml", quiet=2)
    rows: list[Row] = []
    for name in wanted:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        rounds = options.rounds or ROUNDS.get(name, 3)
        new = short(rounds) if name == SHORT else whole(name, rounds, with_sequence=not options.no_sequence)
        rows += new
    text = table(rows)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "results.md").write_text(text)
    (FOLDER / "results.json").write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    print(text)
    print(f"written to {(FOLDER / 'results.json').relative_to(TOP)}", file=sys.stderr)
    return 0


def whole(name: str, rounds: int, *, with_sequence: bool) -> list[Row]:
    """Compares a complete run with nothing to do with `dvc repro -P`, and with the five commands."""
    world = build(name, FOLDER / "worlds")
    run = _command(world, *RUN)
    rows = [_row(name, "`dvc repro -P`", run, _command(world, *REPRO), rounds, goal=1.3 if name == "small" else 1.5)]
    if with_sequence and name != "plots":
        few = 3 if name in ("small", "experiments") else 1
        sequence = _command(world, "sh", "-c", SEQUENCE)
        rows.append(_row(name, "five commands", run, sequence, few, goal=0.3 if name == "small" else 0.45, warmups=0))
    return rows


def short(rounds: int) -> list[Row]:
    """Measures what must cost almost nothing: `--help`, and a skipped run on both forges."""
    world = build("small", FOLDER / "worlds")
    skipped = world.folder / "skipped"
    if not skipped.exists():
        world.clone("skipped")
        world.git("commit", "--quiet", "--allow-empty", "--message", "Docs [skip ci]", cwd=skipped)
    event = skipped / ".git" / "event.json"
    event.write_text(json.dumps({"ref": "refs/heads/main", "repository": {"default_branch": "main"}}))
    head = world.git("rev-parse", "HEAD", cwd=skipped)
    gitlab = {**GITLAB_JOB, "CI_COMMIT_SHA": head}
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_TOKEN": "a-job-token",
        "GITHUB_REPOSITORY": "ada/digits",
        "GITHUB_EVENT_NAME": "push",
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": head,
    }
    python = Command(arguments=(sys.executable, "-c", "pass"), cwd=skipped, env=world.environment())
    core = Command(arguments=(sys.executable, "-c", "from actions_toolkit import core"), cwd=skipped, env=python.env)

    def cml(*words: str, **env: str) -> Command:
        return Command(arguments=_found("cml", *words), cwd=skipped, env=world.environment(env))

    bare = "`python -c pass`"
    return [
        _row("`cml --help`", bare, cml("--help"), python, rounds, goal=6),
        _row("skipped on GitLab", bare, cml("run", **gitlab), python, rounds, goal=6),
        _row("skipped on GitHub", bare, cml("run", **github), python, rounds, goal=None),
        _row("import of actions_toolkit.core", bare, core, python, rounds, goal=None),
    ]


def table(rows: Sequence[Row]) -> str:
    """Returns the rows as a Markdown table, below a line about the machine."""
    lines = [
        f"Python {platform.python_version()}, {os.cpu_count()} cores, load at the end {os.getloadavg()[0]:.1f}",
        "",
        "| project | compared with | CPU | its CPU | CPU ratio | wall ratio | goal | peak MB | peak ratio | pairs |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row.what} | {row.against} | {row.ours.cpu:.2f} s | {row.theirs.cpu:.2f} s | {row.ratio.cpu:.2f} "
        f"| {row.ratio.wall:.2f} | {'' if row.goal is None else row.goal} | {row.ours.peak:.0f} "
        f"| {row.ratio.peak:.2f} | {row.rounds} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _row(
    what: str, against: str, ours: Command, theirs: Command, rounds: int, *, goal: float | None, warmups: int = 1
) -> Row:
    costs = alternated({"ours": ours, "theirs": theirs}, rounds=rounds, warmups=warmups)
    return Row(
        what=what,
        against=against,
        ours=median(costs["ours"]),
        theirs=median(costs["theirs"]),
        ratio=ratios(costs["ours"], costs["theirs"]),
        goal=goal,
        rounds=rounds,
    )


def _command(world: World, *words: str) -> Command:
    return Command(arguments=_found(*words), cwd=world.project, env=world.environment())


def _found(name: str, *rest: str) -> tuple[str, ...]:
    program = Path(sys.executable).parent / name
    return (str(program) if program.exists() else name, *rest)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
