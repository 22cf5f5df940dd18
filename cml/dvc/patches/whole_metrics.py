"""Reads metrics files as they are."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from dvc.repo.metrics import show
from dvc.utils.serialize import load_path

from cml.process.patch import Replacement

MAX_VALUES = 50_000  # of a metrics file: more values would cost minutes, and nobody reads them


class WholeMetrics(Replacement):
    """Replaces `_read_metric` and `try_expand_paths` of `dvc.repo.metrics.show`.

    DVC drops 0 and false where a file holds nothing else, and lists and nulls everywhere (DVC 3.63 to 3.67). Inside,
    each value of the file is there. A path that is a file is not looked up in all data that DVC tracks to find out
    whether it is a directory: with 200 metrics files that is a tenth of what the run costs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._expand_as_dvc = show.try_expand_paths

    def replacements(self) -> list[tuple[Any, str, Any]]:
        self._expand_as_dvc = show.try_expand_paths
        return [(show, "_read_metric", read_metric), (show, "try_expand_paths", self._expand)]

    def _expand(self, fs: Any, paths: Iterable[str]) -> Iterator[str]:
        project = fs.repo
        for path in paths:
            # DVC gives paths from the root of its own file system, where the project is at /.
            file = project.fs.join(project.root_dir, path.lstrip(fs.root_marker))
            if project.fs.isfile(file):
                yield path
            else:
                yield from self._expand_as_dvc(fs, (path,))


def read_metric(fs: Any, path: str, **options: Any) -> dict[str, Any]:
    """Returns the values of a metrics file; a file that is one bare value has it under the file's name. Raises
    ValueError, and what DVC's parsers raise.
    """
    value = None
    # Most files are JSON. DVC's own function makes an error for each, in case that it needs one.
    if path.endswith(".json"):
        with contextlib.suppress(ValueError), fs.open(path, encoding="utf-8", **options) as file:
            value = json.load(file)
    # Broken JSON too: the error of DVC's parser names the file and the place.
    value = value or load_path(path, fs, **options)
    if not value:  # DVC's parsers return {} for 0 and false too
        with contextlib.suppress(ValueError):
            value = json.loads(fs.read_text(path))
    if isinstance(value, list):
        raise ValueError("it is a list, and a metrics file needs names with numbers")
    if (count := _count_values(value)) > MAX_VALUES:
        raise ValueError(f"it has {count:,} values, and a report has room for {MAX_VALUES:,} of a file")
    if isinstance(value, dict):
        return value
    return {} if value is None else {Path(path).name: value}


def _count_values(value: Any) -> int:
    """Returns how many values there are in nested data. A loop, since data can be nested too deeply to recurse."""
    count, pending = 0, [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            pending += each.values()
        else:
            count += 1
    return count
