"""Whether stages are stale, decided without their data: from the outputs that their inputs are made of.

DVC takes an input that is not in the work tree for unchanged, unless it is exactly one output of another stage.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from itertools import takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING

from dvc.dependency.param import ParamsDependency
from dvc_data.hashfile.tree import Tree

if TYPE_CHECKING:
    from dvc.dependency import Dependency
    from dvc.output import Output
    from dvc.stage import Stage

UNKNOWN = ""  # no file has this hash


class OutputIndex:
    """The outputs that DVC tracks, by their paths."""

    def __init__(self, outs: Iterable[Output]) -> None:
        self.by_path = {out.fs_path: out for out in outs}
        self._sorted = sorted(path for path, out in self.by_path.items() if out.use_cache)

    def above(self, path: str) -> Output | None:
        """Returns the output that contains a path."""
        parents = (self.by_path.get(str(parent)) for parent in PurePath(path).parents)
        return next((out for out in parents if out), None)

    def inside(self, path: str) -> list[Output]:
        """Returns the cached outputs in a folder."""
        start = f"{path}{os.sep}"
        rest = self._sorted[bisect_left(self._sorted, start) :]
        return [self.by_path[each] for each in takewhile(lambda each: each.startswith(start), rest)]

    def hash_of(self, dep: Dependency) -> str | None:
        """Returns the hash of a dependency that is an output, is part of one, or contains outputs that are not in the
        work tree; UNKNOWN if one of these was never made. None for all others: DVC can look at those itself.
        """
        # dvc.lock has the values of params, not a hash of their file, also where a stage writes that file.
        if dep.protocol != "local" or isinstance(dep, ParamsDependency):
            return None
        if out := self.by_path.get(dep.fs_path):
            return str(out.hash_info.value) if out.hash_info else UNKNOWN
        if out := self.above(dep.fs_path):
            return _hash_of_part(out, dep.fs_path)
        # A folder that contains outputs: DVC hashes what is there, and misses outputs that were not pulled.
        inside = self.inside(dep.fs_path)
        return None if all(out.exists for out in inside) else _hash_of_folder(dep, inside)


def _hash_of_part(out: Output, path: str) -> str:
    """Returns the hash of a file or folder inside an output that is a directory."""
    tree = out.get_dir_cache() if out.hash_info and out.is_dir_checksum else None
    if tree is None:
        return UNKNOWN
    key = PurePath(path).relative_to(out.fs_path).parts
    if found := tree.get(key):
        return str(found[1].value)
    # Not a file of the output but a folder in it. Its hash is that of a listing with its files only.
    part = Tree()
    for name, (meta, oid) in tree.iteritems():
        if name[: len(key)] == key:
            part.add(name[len(key) :], meta, oid)
    return _digest(part)


def _hash_of_folder(dep: Dependency, inside: list[Output]) -> str:
    """Returns the hash of a folder that consists of files in the work tree and of outputs that are not there."""
    keys = {PurePath(out.fs_path).relative_to(dep.fs_path).parts: out for out in inside}
    whole = Tree()
    if dep.exists:
        # DVC's own function to hash a folder, without writing anything to the cache.
        found = dep._build(dep.local_cache, dep.fs_path, dep.fs, dep.hash_name, ignore=dep.dvcignore, dry_run=True)[2]
        for name, (meta, oid) in found.iteritems() if isinstance(found, Tree) else ():
            if not any(name[: len(key)] == key for key in keys):
                whole.add(name, meta, oid)
    # And the outputs, as dvc.lock has them.
    for key, out in keys.items():
        tree = out.get_dir_cache() if out.hash_info and out.is_dir_checksum else None
        if not out.hash_info or (tree is None and out.is_dir_checksum):
            return UNKNOWN
        if tree is None:
            whole.add(key, out.meta, out.hash_info)
            continue
        for name, (meta, oid) in tree.iteritems():
            whole.add((*key, *name), meta, oid)
    return _digest(whole)


def _digest(tree: Tree) -> str:
    if not len(tree):
        return UNKNOWN
    tree.digest()
    return str(tree.hash_info.value)


def was_never_made(stage: Stage) -> bool:
    """Whether dvc.lock has no result of a stage."""
    return any(not out.hash_info for out in stage.outs)


def is_stale(stage: Stage, outputs: OutputIndex, *, with_always_changed: bool = True) -> bool:
    """Whether a stage must run, no matter which of its data is in the work tree. The project must be locked.

    `with_always_changed` counts the stages that DVC runs each time.
    """
    # The command, the lists of inputs and outputs, or the whole stage is new.
    if stage.changed_stage() or was_never_made(stage):
        return True
    if with_always_changed and not stage.frozen and (stage.is_callback or stage.always_changed):
        return True
    has_changed_input = not stage.frozen and any(_is_changed(dep, outputs) for dep in stage.deps)
    return has_changed_input or bool(stage.changed_outs(allow_missing=True))


def _is_changed(dep: Dependency, outputs: OutputIndex) -> bool:
    if (now := outputs.hash_of(dep)) is not None:
        # An output that somebody edited in the work tree counts too; a folder of outputs was hashed with its files.
        is_edited = dep.exists and not outputs.inside(dep.fs_path) and dep.workspace_status()
        return bool(not dep.hash_info or now != dep.hash_info.value or is_edited)
    status = dep.status()
    # DVC calls an input "deleted" that is not in the work tree: it counts if dvc.lock has no hash of it.
    return bool(status and (status[str(dep)] != "deleted" or not dep.hash_info))
