"""What the tests count, one JSON line for each happening, each run of theirs in a file of its own; `table` adds it up.

A promise counts its cases as `tried` before it judges them and as `kept` after, so that a failure shows in the figure;
`part_max` says that they were not all at full size. A run at full size that ended says so at last: what was cut off, or
was asked for some of its tests alone, is a part.
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
ENDED, EVERYWHERE = "the run ended", "witness"


def count(promise: str, *, failure: str = "", **numbers: float) -> None:
    """Adds numbers to a promise's figure. Of names that end in `_max` the greatest counts, of others the sum."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    told = {"failure": failure[:2000], "test": os.environ.get("PYTEST_CURRENT_TEST", "")} if failure else {}
    part = {} if IS_FULL else {"part_max": 1, "seed_max": SEED}
    line = json.dumps({"promise": promise, **part, **told, **numbers}) + "\n"
    with FILE.open("a") as file:  # one write of a short line: several workers may append
        file.write(line)


@contextmanager
def trial(promise: str, case: str = "") -> Iterator[None]:
    """One case of a promise: `tried`, and `kept` unless something inside fails."""
    try:
        yield
    except BaseException as error:
        count(promise, failure=f"{case}: {error}", tried=1, kept=0)
        raise
    count(promise, tried=1, kept=1)


def end() -> None:
    """Says that the run tried everything."""
    count(ENDED)


def totals(files: Iterable[Path]) -> dict[str, dict[str, float]]:
    """Returns promise -> name -> number. Of several runs that tried a promise the last one at full size counts, else the
    last one. What all of them judge by (EVERYWHERE) is of every run that counts for something, or was at full size.
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
    """Returns what one run counted."""
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
