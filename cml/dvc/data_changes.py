"""How tracked data differs between two revisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dvc_data.hashfile.tree import Tree
from dvc_data.index import DataIndex, DataIndexEntry, Meta
from dvc_data.index.diff import ADD, DELETE, MODIFY, RENAME, Change
from dvc_data.index.diff import diff as index_diff
from dvc_objects.errors import ObjectFormatError

from cml.dvc.revisions import Key, Snapshot
from cml.dvc.run_cache import LEGACY
from cml.model.report import DataChanges, DataEntry

if TYPE_CHECKING:
    from dvc.repo import Repo

MAX_BIGGEST = 5  # files that are named of a changed directory


def data_changes(repo: Repo, old: Snapshot, new: Snapshot) -> DataChanges:
    """Returns how tracked data differs between two snapshots; for a directory the number of its changed files."""
    if old.data is None or new.data is None:
        return DataChanges()
    # Outputs that did not change are left out here: DVC would read the listing of each directory, from the remote too.
    roots = {key for key in old.data_keys | new.data_keys if not _is_same(old.data, new.data, key)}
    if not roots:
        return DataChanges()
    sides = _only_differences(repo, old.data, new.data, roots) or (old.data, new.data)
    outputs: dict[str, list[Change]] = {ADD: [], MODIFY: [], DELETE: [], RENAME: []}
    inside: dict[Key, list[Change]] = {}  # of an output that is a directory: its changed files
    for found in index_diff(
        *sides,
        with_renames=True,
        with_unknown=True,
        # Hashes say whether content differs. Other metadata (times, version ids) may differ without a change.
        meta_cmp_key=lambda meta: meta.isdir if meta else meta,
        roots=roots,
    ):
        # An output that was never made is no change, whatever DVC calls it.
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
        found = (_entry(change, inside.get((change.new or change.old).key, [])) for change in outputs[kind])
        return tuple(sorted(found, key=lambda entry: entry.path))

    return DataChanges(added=entries(ADD), modified=entries(MODIFY), deleted=entries(DELETE), renamed=entries(RENAME))


def _only_differences(repo: Repo, old: Any, new: Any, roots: set[Key]) -> tuple[Any, Any] | None:
    """Returns both sides with only the files that differ, so that their comparison has the same result; None where a
    listing is not in the cache.

    DVC loads and compares each file of a directory in which one file has changed.
    """
    sides = DataIndex(), DataIndex()
    for root in roots:
        listings: list[dict[Key, Any]] = []
        for index, side in zip((old, new), sides, strict=True):
            entry = index.info(root)["entry"] if index.has_node(root) else None
            listing = _read_listing(repo, entry)
            if listing is None:
                return None
            if entry:
                side[root] = DataIndexEntry(
                    key=root, meta=entry.meta, hash_info=entry.hash_info, loaded=bool(listing) or None
                )
            listings.append(listing)
        _add_differing(sides[0], root, listings[0], listings[1])
        _add_differing(sides[1], root, listings[1], listings[0])
    return sides


def _read_listing(repo: Repo, entry: Any) -> dict[Key, Any] | None:
    """Returns the files of a tracked directory, none for a file; None where the listing cannot be read."""
    if not entry:
        return {}
    if entry.hash_info and entry.hash_info.isdir:
        cache = repo.cache.legacy if entry.hash_info.name == LEGACY else repo.cache.local
        try:
            tree = Tree.load(cache, entry.hash_info, hash_name=entry.hash_info.name)
        except (FileNotFoundError, ObjectFormatError):
            return None
        return {key: (meta, info) for key, meta, info in tree}
    # A directory without a hash was imported file by file, or contains several outputs.
    return None if entry.isdir else {}


def _add_differing(side: Any, root: Key, listing: dict[Key, Any], other: dict[Key, Any]) -> None:
    """Adds the files of a listing that the other one does not have, or has with another hash, and their folders."""
    for key, (meta, info) in listing.items():
        if key in other and other[key][1] == info:
            continue
        for length in range(1, len(key)):
            folder = (*root, *key[:length])
            side[folder] = DataIndexEntry(key=folder, meta=Meta(isdir=True), loaded=True)
        path = (*root, *key)
        side[path] = DataIndexEntry(key=path, meta=meta, hash_info=info)


def _is_same(old: Any, new: Any, key: Key) -> bool:
    try:
        hashes = [index.info(key)["entry"].hash_info for index in (old, new)]
    except (KeyError, AttributeError):  # it is only on one side, or is a folder with several outputs
        return False
    return bool(hashes[0]) and hashes[0] == hashes[1]


def _made(entry: Any) -> Any:
    """Returns an entry of DVC's index; None for an output that was never made."""
    return entry if entry and (entry.hash_info or entry.isdir) else None


def _entry(change: Any, children: list[Any]) -> DataEntry:
    old, new = change.old, change.new
    is_dir = bool((new or old).meta and (new or old).meta.isdir)
    files = [child for child in children if not (child.new or child.old).isdir]
    biggest = sorted(files, key=lambda child: (-_weight(child), (child.new or child.old).key))[:MAX_BIGGEST]
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
