"""What a revision has: its metrics, params, plots and tracked data, read with one index of DVC."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from dvc.exceptions import NotDvcRepoError
from dvc.repo.index import build_data_index
from dvc.repo.metrics.show import _gather_metrics
from dvc.repo.params.show import _gather_params

from cml.dvc.logging import one_line
from cml.dvc.patches.whole_metrics import WholeMetrics
from cml.dvc.plots import CollectedPlots, collect_plots
from cml.dvc.switching import at_revision
from cml.model.report import Value

if TYPE_CHECKING:
    from dvc.repo import Repo

Values = dict[str, dict[str, Value]]  # file -> dotted name -> value
Key = tuple[str, ...]  # the parts of a path


@dataclass(frozen=True, kw_only=True)
class SnapshotRequest:
    """What to read of a revision. Targets that are None leave that part out; empty ones mean everything.

    Tracked data is what the lock files name; with `hash_workspace`, the files in the work tree.
    """

    metrics: tuple[str, ...] | None
    params: tuple[str, ...] | None = None
    plots: tuple[str, ...] | None = None
    with_data: bool = False
    hash_workspace: bool = False


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One revision: its values, the reason for each file that could not be read, DVC's index of the tracked data, and
    the plots as DVC collects them.
    """

    metrics: Values = field(default_factory=dict)
    params: Values = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    data: Any = None
    data_keys: frozenset[Key] = frozenset()
    plots: CollectedPlots | None = None


def read_snapshot(repo: Repo, revision: str | None, request: SnapshotRequest) -> Snapshot:
    """Reads one revision (None is the work tree). A commit without a DVC project is an empty snapshot."""
    root = repo.root_dir  # of the work tree: at a commit DVC has another one
    metrics_targets, params_targets = _in_project(request.metrics, root), _in_project(request.params, root)
    try:
        # All parts in one visit: DVC builds the index of a commit once for it, which is most of the time.
        with at_revision(repo, revision), WholeMetrics():
            metrics = {} if metrics_targets is None else _gather_metrics(repo, targets=metrics_targets)
            params = {} if params_targets is None else _gather_params(repo, targets=params_targets or None)
            data, data_keys = _read_data(repo, hash_workspace=request.hash_workspace) if request.with_data else _NO_DATA
            plots = None if request.plots is None else collect_plots(repo, request.plots)
    except NotDvcRepoError:
        return Snapshot()
    return Snapshot(
        metrics=_flat_values(metrics),
        params=_flat_values(params),
        unreadable=_unreadable({**params, **metrics}),
        data=data,
        data_keys=data_keys,
        plots=plots,
    )


_NO_DATA: tuple[Any, frozenset[Key]] = (None, frozenset())


def _in_project(targets: tuple[str, ...] | None, root: str) -> list[str] | None:
    """Returns paths relative to the working directory as DVC names them: relative to the root of the project."""
    return None if targets is None else [os.path.relpath(os.path.abspath(target), root) for target in targets]


def _read_data(repo: Repo, *, hash_workspace: bool) -> tuple[Any, frozenset[Key]]:
    view = repo.index.targets_view(None)
    keys = frozenset(view.data_keys.get("repo", ()))
    if hash_workspace:
        return build_data_index(view, repo.root_dir, repo.fs, compute_hash=True), keys
    return view.data["repo"], keys


def _flat_values(results: Mapping[str, Any]) -> Values:
    return {path: flat(result["data"], path) for path, result in results.items() if "data" in result}


def _unreadable(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns the reason for each file that cannot be read. A file that does not exist is not one of them."""
    errors = {path: result.get("error") for path, result in results.items()}
    return {
        path: _reason(error) for path, error in errors.items() if error and not isinstance(error, FileNotFoundError)
    }


def _reason(error: Exception) -> str:
    """Returns why a file cannot be read: without its path, and with the place of the error if it is known."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    # Python refuses to read integers with more than 4,300 digits, and its message is about Python.
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "it has a number with too many digits"
    text = re.sub(r"^unable to read: '.*', ", "", one_line(error))
    where = one_line(error.__cause__).split(" (char ")[0] if isinstance(error.__cause__, json.JSONDecodeError) else ""
    return f"{text} ({where})" if where else text


def flat(data: Any, path: str) -> dict[str, Value]:
    """Returns dotted name -> value of nested data. A file that is one bare value has it under the file's name."""
    if not isinstance(data, dict):
        return {Path(path).name: data}
    found: dict[str, Value] = {}

    def add(prefix: str, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            # An empty mapping is a value: without it the name would look as if it did not exist.
            if isinstance(value, dict) and value:
                add(name, value)
            elif name:
                is_plain = value is None or isinstance(value, bool | int | float | str)
                # Interned: hundreds of files have the same names, in every commit.
                found[intern(name)] = value if is_plain else json.dumps(value, default=str, ensure_ascii=False)

    add("", data)
    return found
