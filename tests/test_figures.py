"""The figures of SECURITY.md's table, from what several runs of its tests counted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from chaos.figures import ENDED, totals

END = {"promise": ENDED}
COMMITS = {"promise": "complete data", "commits": 2, "missing": 0}
PART = {"part_max": 1}


def run(folder: Path, at: int, *counted: dict[str, Any]) -> Path:
    """The file of a run, the `at`-th one."""
    file = folder / f"{9 - at}.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in counted))
    os.utime(file, (at, at))
    return file


def tried(kept: int, longest: float, **more: float) -> dict[str, Any]:
    return {"promise": "api", "tried": 1, "kept": kept, "longest_max": longest, **more}


def test_a_runs_numbers_are_added_and_of_the_longest_the_longest_counts(tmp_path: Path) -> None:
    file = run(tmp_path, 1, tried(1, 2.0), tried(0, 5.0), tried(1, 3.0), END)
    assert totals([file])["api"] == {"tried": 3, "kept": 2, "longest_max": 5.0}


def test_a_run_at_full_size_counts_before_later_parts_and_the_last_of_a_kind(tmp_path: Path) -> None:
    full = [run(tmp_path, at, *[tried(1, 1.0)] * at, END) for at in (2, 3)]
    parts = [run(tmp_path, at, *[tried(1, 1.0, **PART)] * at) for at in (4, 5)]
    assert totals([*full, *parts])["api"] == {"tried": 3, "kept": 3, "longest_max": 1.0}
    assert totals(parts)["api"] == {"tried": 5, "kept": 5, "longest_max": 1.0, **PART}


def test_a_run_that_was_cut_off_is_a_part(tmp_path: Path) -> None:
    assert totals([run(tmp_path, 1, tried(1, 1.0))])["api"]["part_max"] == 1


def test_commits_that_the_judge_saw_are_of_all_runs_that_count(tmp_path: Path) -> None:
    own = run(tmp_path, 1, COMMITS, END)
    other = run(tmp_path, 2, COMMITS, {"promise": "kill", "tried": 1}, END)
    outdone = run(tmp_path, 3, COMMITS | PART, {"promise": "kill", "tried": 1, **PART})
    assert totals([own, other, outdone])["complete data"] == {"commits": 4, "missing": 0}
    part = run(tmp_path, 4, COMMITS | PART, tried(1, 1.0, **PART))
    assert totals([own, other, outdone, part])["complete data"] == {"commits": 6, "missing": 0, **PART}
