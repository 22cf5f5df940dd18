"""Counts what the tests tried. `table` adds the counts up for SECURITY.md.

Each test run appends JSON lines to its own file in `.chaos/`. A case counts as `tried`, and as `kept` if it passed, so a
failure shows in the table. `part_max` marks counts of a run that was not at full size. A run at full size writes a last
line (`mark_complete`); a run without that line was interrupted or ran only some tests, and counts as a part.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chaos.size import IS_FULL, SEED

FOLDER = Path(__file__).parents[2] / ".chaos"
FILE = Path(os.environ.get("CML_CHAOS_FIGURES", FOLDER / "figures.jsonl"))
ENDED = "the run ended"
# The promise that every test checks with `project.assert_complete`, so its counts are in the files of all runs.
EVERYWHERE = "complete data"


def count(promise: str, *, failure: str = "", **numbers: float) -> None:
    """Adds numbers to the figures of a promise. Names that end in `_max` keep the greatest number, others the sum."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    why = {"failure": failure[:2000], "test": os.environ.get("PYTEST_CURRENT_TEST", "")} if failure else {}
    part = {} if IS_FULL else {"part_max": 1, "seed_max": SEED}
    line = json.dumps({"promise": promise, **part, **why, **numbers}) + "\n"
    with FILE.open("a") as file:  # one write of a short line: several workers may append
        file.write(line)


@contextmanager
def trial(promise: str, case: str = "") -> Iterator[None]:
    """Counts one case of a promise: as `tried`, and as `kept` unless the block raises."""
    try:
        yield
    except BaseException as error:
        count(promise, failure=f"{case}: {error}", tried=1, kept=0)
        raise
    count(promise, tried=1, kept=1)


def mark_complete() -> None:
    """Records that the run at full size is complete."""
    count(ENDED)


def totals(files: Iterable[Path]) -> dict[str, dict[str, float]]:
    """Returns promise -> name -> number.

    If several runs tried a promise, the last one at full size counts, or the last one if none was at full size. The
    figure of EVERYWHERE is the sum over all runs that count for some promise.
    """
    runs = [_read(file) for file in sorted(files, key=lambda file: file.stat().st_mtime)]
    runs.sort(key=lambda run: ENDED in run)
    chosen = {promise: run for run in runs for promise in run}
    found = {promise: run[promise] for promise, run in chosen.items()}
    found[EVERYWHERE] = {}
    for run in runs:
        if ENDED in run or any(chosen[promise] is run for promise in run.keys() - {EVERYWHERE}):
            _add(run.get(EVERYWHERE, {}), found[EVERYWHERE])
    found[EVERYWHERE].pop("seed_max", None)  # several seeds may have drawn it
    return found


def _read(file: Path) -> dict[str, dict[str, float]]:
    """Returns the counts of one run."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for line in file.read_text().splitlines():
        numbers = json.loads(line)
        promise = numbers.pop("promise")
        _add({name: number for name, number in numbers.items() if name not in ("failure", "test")}, found[promise])
    return found if ENDED in found else {promise: {**sums, "part_max": 1} for promise, sums in found.items()}


def _add(numbers: Mapping[str, float], sums: dict[str, float]) -> None:
    for name, number in numbers.items():
        before = sums.get(name, 0.0)
        sums[name] = max(before, number) if name.endswith("_max") else before + number
