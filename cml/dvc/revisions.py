"""What commits hold: metrics, params, plots and tracked data of a revision, read in one look with one index."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING, Any

from cml.dvc.listing import Blob, Listing, list_metrics
from cml.dvc.logging import one_line
from cml.dvc.patches.caching import at_revision
from cml.dvc.plots import Collected, collect_plots
from cml.dvc.project import Project
from cml.dvc.pull import LEGACY
from cml.model.report import DataChanges, DataEntry, Value

if TYPE_CHECKING:
    from dvc.repo import Repo

BIGGEST = 5
MOST_VALUES = 50_000  # of a metrics file: more would cost minutes, and nobody reads them
Values = dict[str, dict[str, Value]]
Key = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """One revision: file -> dotted name -> value, why a file was unreadable, DVC's index of tracked data, plots as DVC
    collects them, and of a commit which files hold its metrics.
    """

    metrics: Values = field(default_factory=dict)
    params: Values = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    data: Any = None
    data_keys: frozenset[Key] = frozenset()
    plots: Collected | None = None
    listing: Listing | None = None


def snapshot(
    project: Project,
    revision: str | None,
    *,
    metrics: tuple[str, ...] | None,
    params: tuple[str, ...] | None = None,
    plots: tuple[str, ...] | None = None,
    with_data: bool = False,
    hash_workspace: bool = False,
) -> Snapshot:
    """Reads one revision (None is the work tree). Targets that are None leave that part out, empty ones mean all.

    Tracked data is what the lock files name; `hash_workspace` looks at the files themselves instead.
    """
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo.index import build_data_index
    from dvc.repo.metrics.show import _gather_metrics
    from dvc.repo.params.show import _gather_params

    repo = project.repo
    root = repo.root_dir

    def in_project(paths: tuple[str, ...]) -> list[str]:
        return [os.path.relpath(os.path.abspath(path), root) for path in paths]

    listing = None
    try:
        with at_revision(repo, revision), _whole_metrics():
            measured = {} if metrics is None else _gather_metrics(repo, targets=in_project(metrics))
            if revision is not None and metrics is not None:
                listing = list_metrics(repo, revision, measured, targets=in_project(metrics), prefix=project.prefix)
            chosen = {} if params is None else _gather_params(repo, targets=in_project(params) or None)
            view = repo.index.targets_view(None) if with_data else None
            data = None
            if view:
                data = build_data_index(view, root, repo.fs, compute_hash=True) if hash_workspace else view.data["repo"]
            return Snapshot(
                metrics={path: flat(result["data"], path) for path, result in measured.items() if "data" in result},
                params={path: flat(result["data"], path) for path, result in chosen.items() if "data" in result},
                unreadable={
                    path: _reason(result["error"])
                    for path, result in {**chosen, **measured}.items()
                    if not isinstance(result.get("error"), (type(None), FileNotFoundError))
                },
                data=data,
                data_keys=frozenset(view.data_keys.get("repo", ())) if view else frozenset(),
                plots=None if plots is None else collect_plots(repo, plots),
                listing=listing,
            )
    except NotDvcRepoError:
        return Snapshot()


@contextlib.contextmanager
def _whole_metrics() -> Iterator[None]:
    """While inside, DVC reads metrics files as they are. It would drop 0 and false where they stand alone, and lists
    and nulls everywhere. A plain file is not looked up among all that DVC tracks, to see whether it is a folder.
    """
    from dvc.repo.metrics import show

    read, expand = show._read_metric, show.try_expand_paths

    def expanded(fs: Any, paths: Iterable[str]) -> Iterator[str]:
        here = fs.repo.fs
        for path in paths:
            is_file = here.isfile(here.join(fs.repo.root_dir, path.lstrip(fs.root_marker)))
            yield from (path,) if is_file else expand(fs, (path,))

    show._read_metric, show.try_expand_paths = _read_metric, expanded
    try:
        yield
    finally:
        show._read_metric, show.try_expand_paths = read, expand


def _read_metric(fs: Any, path: str, **options: Any) -> Any:
    from dvc.utils.serialize import load_path

    value = None
    if path.endswith(".json"):  # most are: DVC's own way makes an error for each, in case it needs one
        with contextlib.suppress(ValueError), fs.open(path, encoding="utf-8", **options) as file:
            value = json.load(file)
    value = value or load_path(path, fs, **options)
    if not value:  # its parsers, too, make {} of what is false
        with contextlib.suppress(ValueError):
            value = json.loads(fs.read_text(path))
    if isinstance(value, list):
        raise ValueError("it holds a list, where names with numbers are expected")
    if (count := _count(value)) > MOST_VALUES:
        raise ValueError(f"it holds {count:,} values, and a report has room for {MOST_VALUES:,} of a file")
    return value if isinstance(value, dict) else {} if value is None else {Path(path).name: value}


def read_metrics(files: Mapping[str, bytes]) -> Values | None:
    """Returns the metrics of a commit from the bytes of its files in git, by DVC's paths; None where one of them is not
    plainly a metrics file: a link, a pointer of LFS, broken.
    """
    values: Values = {}
    for path, data in files.items():
        try:
            read = _read_metric(Blob(data), f"/{path}")
        except Exception:  # every parser raises its own
            return None
        if isinstance(read.get(Path(path).name), str):
            return None  # a text alone, for all we know
        values[path] = flat(read, path)
    return values


def _count(value: Any) -> int:
    """Returns how many values there are in nested data."""
    count, pending = 0, [value]
    while pending:
        each = pending.pop()
        if isinstance(each, dict):
            pending += each.values()
        else:
            count += 1
    return count


def _reason(error: Exception) -> str:
    """Returns why a file cannot be read, without DVC's own path to it, and with the place in it where known."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ValueError) and "integer string conversion" in str(error):
        return "it holds a number of too many digits"
    text = re.sub(r"^unable to read: '.*', ", "", one_line(error))
    where = one_line(error.__cause__).split(" (char ")[0] if isinstance(error.__cause__, json.JSONDecodeError) else ""
    return f"{text} ({where})" if where else text


def flat(data: Any, path: str) -> dict[str, Value]:
    """Returns dotted name -> value of nested data. A file that is one bare value goes by the file's name."""
    if not isinstance(data, dict):
        return {Path(path).name: data}
    found: dict[str, Value] = {}

    def add(prefix: str, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            name = f"{prefix}.{key}" if prefix else str(key)
            if isinstance(value, dict) and value:
                add(name, value)
            elif name:
                is_plain = value is None or isinstance(value, bool | int | float | str)
                # Hundreds of files have the same names, in every commit.
                found[intern(name)] = value if is_plain else json.dumps(value, default=str, ensure_ascii=False)

    add("", data)
    return found


def data_changes(repo: Repo, old: Snapshot, new: Snapshot) -> DataChanges:
    """Returns how tracked data differs between two snapshots, directories folded to counts."""
    from dvc_data.index.diff import ADD, DELETE, MODIFY, RENAME, Change
    from dvc_data.index.diff import diff as index_diff

    if old.data is None or new.data is None:
        return DataChanges()
    # An output that did not change is left out here: DVC would read the listing of every directory, from afar too.
    roots = {key for key in old.data_keys | new.data_keys if not _is_same(old.data, new.data, key)}
    if not roots:
        return DataChanges()
    sides = _differing(repo, old.data, new.data, roots) or (old.data, new.data)
    outputs: dict[str, list[Any]] = {ADD: [], MODIFY: [], DELETE: [], RENAME: []}
    inside: dict[Key, list[Any]] = {}
    for found in index_diff(
        *sides,
        with_renames=True,
        with_unknown=True,
        meta_cmp_key=lambda meta: meta.isdir if meta else meta,
        roots=roots,
    ):
        before, after = _made(found.old), _made(found.new)
        if found.typ not in outputs or not (before or after):
            continue
        kind = found.typ if before and after else ADD if after else DELETE
        change = Change(kind, before, after)
        key = (change.new or change.old).key
        root = next((key[:length] for length in range(1, len(key)) if key[:length] in roots), None)
        if root is None:
            outputs[change.typ].append(change)
        else:
            inside.setdefault(root, []).append(change)

    def entries(kind: str) -> tuple[DataEntry, ...]:
        folded = (_entry(change, inside.get((change.new or change.old).key, [])) for change in outputs[kind])
        return tuple(sorted(folded, key=lambda entry: entry.path))

    return DataChanges(added=entries(ADD), modified=entries(MODIFY), deleted=entries(DELETE), renamed=entries(RENAME))


def _differing(repo: Repo, old: Any, new: Any, roots: set[Key]) -> tuple[Any, Any] | None:
    """Returns both sides with nothing but what differs in them, which makes no difference to how they differ: DVC
    would load and walk every file of a directory in which one has changed. None where a listing is not in the cache.
    """
    from dvc_data.hashfile.tree import Tree
    from dvc_data.index import DataIndex, DataIndexEntry, Meta
    from dvc_objects.errors import ObjectFormatError

    sides = DataIndex(), DataIndex()
    for root in roots:
        listings: list[dict[Key, Any]] = []
        for index, side in zip((old, new), sides, strict=True):
            entry = index.info(root)["entry"] if index.has_node(root) else None
            listing = {}
            if entry and entry.hash_info and entry.hash_info.isdir:
                cache = repo.cache.legacy if entry.hash_info.name == LEGACY else repo.cache.local
                try:
                    tree = Tree.load(cache, entry.hash_info, hash_name=entry.hash_info.name)
                except (FileNotFoundError, ObjectFormatError):
                    return None
                listing = {key: (meta, info) for key, meta, info in tree}
            elif entry and entry.isdir:
                return None  # imported file by file, or a folder of several outputs
            if entry:
                side[root] = DataIndexEntry(
                    key=root, meta=entry.meta, hash_info=entry.hash_info, loaded=bool(listing) or None
                )
            listings.append(listing)
        for side, listing, other in ((sides[0], *listings), (sides[1], *reversed(listings))):
            for key, (meta, info) in listing.items():
                if key in other and other[key][1] == info:
                    continue
                for length in range(1, len(key)):
                    folder = (*root, *key[:length])
                    side[folder] = DataIndexEntry(key=folder, meta=Meta(isdir=True), loaded=True)
                path = (*root, *key)
                side[path] = DataIndexEntry(key=path, meta=meta, hash_info=info)
    return sides


def _is_same(old: Any, new: Any, key: Key) -> bool:
    try:
        hashes = [index.info(key)["entry"].hash_info for index in (old, new)]
    except (KeyError, AttributeError):  # only in one of them, or the folder of several
        return False
    return bool(hashes[0]) and hashes[0] == hashes[1]


def _made(entry: Any) -> Any:
    """Returns an entry of DVC's index, or None for an output that is declared and was never made."""
    return entry if entry and (entry.hash_info or entry.isdir) else None


def _entry(change: Any, children: list[Any]) -> DataEntry:
    old, new = change.old, change.new
    is_dir = bool((new or old).meta and (new or old).meta.isdir)
    files = [child for child in children if not (child.new or child.old).isdir]
    biggest = sorted(files, key=lambda child: (-_weight(child), (child.new or child.old).key))[:BIGGEST]
    return DataEntry(
        path=_path(new or old, is_dir=is_dir),
        old_path=_path(old, is_dir=is_dir) if old and new and old.key != new.key else None,
        old_size=_size(old),
        new_size=_size(new),
        files=len(files),
        biggest=tuple(_path(child.new or child.old, is_dir=False) for child in biggest),
    )


def _path(entry: Any, *, is_dir: bool) -> str:
    return "/".join(entry.key) + ("/" if is_dir else "")


def _size(entry: Any) -> int | None:
    return entry.meta.size if entry and entry.meta else None


def _weight(change: Any) -> int:
    return abs((_size(change.new) or 0) - (_size(change.old) or 0)) or _size(change.new) or 0
