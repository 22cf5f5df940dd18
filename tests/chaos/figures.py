"""What the tests count, one JSON line for each happening; `table` adds it up.

A promise counts its cases as `tried` before it judges them and as `kept` after, so that a failure shows in the figure;
`part_max` says that they were not all at full size.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.size import IS_FULL

FILE = Path(os.environ.get("CML_CHAOS_FIGURES", Path(__file__).parents[2] / ".chaos" / "figures.jsonl"))


def count(promise: str, *, failure: str = "", **numbers: float) -> None:
    """Adds numbers to a promise's figure. Of names that end in `_max` the greatest counts, of others the sum."""
    FILE.parent.mkdir(parents=True, exist_ok=True)
    told = {"failure": failure[:2000], "test": os.environ.get("PYTEST_CURRENT_TEST", "")} if failure else {}
    part = {} if IS_FULL else {"part_max": 1}
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


def totals(file: Path = FILE) -> dict[str, dict[str, float]]:
    """Returns promise -> name -> number."""
    found: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for line in file.read_text().splitlines():
        numbers = json.loads(line)
        sums = found[numbers.pop("promise")]
        numbers = {name: number for name, number in numbers.items() if name not in ("failure", "test")}
        for name, number in numbers.items():
            sums[name] = max(sums[name], number) if name.endswith("_max") else sums[name] + number
    return found
