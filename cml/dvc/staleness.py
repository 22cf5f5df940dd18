"""What stages depend on, as the outputs say that it is made of: without their data. Left alone, DVC takes what is not
in the work tree for unchanged, unless it is an output as a whole.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterable
from itertools import takewhile
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.dependency import Dependency
    from dvc.output import Output
    from dvc.stage import Stage
    from dvc_data.hashfile.tree import Tree

UNKNOWN = ""  # is no hash


class OutputIndex:
    """The outputs that DVC tracks, by their paths."""

    def __init__(self, outs: Iterable[Output]) -> None:
        self.by_path = {out.fs_path: out for out in outs}
        self._in_order = sorted(path for path, out in self.by_path.items() if out.use_cache)

    def above(self, path: str) -> Output | None:
        """Returns the output that a path lies in."""
        parents = (self.by_path.get(str(parent)) for parent in PurePath(path).parents)
        return next((out for out in parents if out), None)

    def inside(self, path: str) -> list[Output]:
        """Returns the cached outputs that lie in a path."""
        start = f"{path}{os.sep}"
        rest = self._in_order[bisect_left(self._in_order, start) :]
        return [self.by_path[each] for each in takewhile(lambda each: each.startswith(start), rest)]

    def hash_of(self, dep: Dependency) -> str | None:
        """Returns the hash of a dependency that is an output, lies in one, or has some in it that are not in the work
        tree; UNKNOWN where one of them was never made. None for all others, which DVC looks at itself.
        """
        if dep.protocol != "local":
            return None
        if out := self.by_path.get(dep.fs_path):
            return str(out.hash_info.value) if out.hash_info else UNKNOWN
        if out := self.above(dep.fs_path):
            return _part(out, dep.fs_path)
        inside = self.inside(dep.fs_path)
        return None if all(out.exists for out in inside) else _whole(dep, inside)


def _part(out: Output, path: str) -> str:
    """Returns the hash of a file or folder in an output that is a directory."""
    from dvc_data.hashfile.tree import Tree

    tree = out.get_dir_cache() if out.hash_info and out.is_dir_checksum else None
    if tree is None:
        return UNKNOWN
    key = PurePath(path).relative_to(out.fs_path).parts
    if found := tree.get(key):
        return str(found[1].value)
    part = Tree()
    for name, (meta, oid) in tree.iteritems():
        if name[: len(key)] == key:
            part.add(name[len(key) :], meta, oid)
    return _digest(part)


def _whole(dep: Dependency, inside: list[Output]) -> str:
    """Returns the hash of a folder: of what lies in the work tree, and of outputs that do not."""
    from dvc_data.hashfile.tree import Tree

    keys = {PurePath(out.fs_path).relative_to(dep.fs_path).parts: out for out in inside}
    whole = Tree()
    if dep.exists:
        here = dep._build(dep.local_cache, dep.fs_path, dep.fs, dep.hash_name, ignore=dep.dvcignore, dry_run=True)[2]
        for name, (meta, oid) in here.iteritems() if isinstance(here, Tree) else ():
            if not any(name[: len(key)] == key for key in keys):
                whole.add(name, meta, oid)
    for key, out in keys.items():
        tree = out.get_dir_cache() if out.hash_info and out.is_dir_checksum else None
        if not out.hash_info or (tree is None and out.is_dir_checksum):
            return UNKNOWN
        for name, (meta, oid) in tree.iteritems() if tree is not None else [((), (out.meta, out.hash_info))]:
            whole.add((*key, *name), meta, oid)
    return _digest(whole)


def _digest(tree: Tree) -> str:
    if not len(tree):
        return UNKNOWN
    tree.digest()
    return str(tree.hash_info.value)


def was_never_made(stage: Stage) -> bool:
    """Whether dvc.lock knows no result of a stage."""
    return any(not out.hash_info for out in stage.outs)


def is_stale(stage: Stage, outputs: OutputIndex, *, each_time: bool = True) -> bool:
    """Whether a stage is to run, whatever of its data is not in the work tree. `each_time` counts what DVC runs each
    time. The project is locked.
    """
    if stage.changed_stage() or was_never_made(stage):
        return True
    if each_time and not stage.frozen and (stage.is_callback or stage.always_changed):
        return True
    is_changed = not stage.frozen and any(_is_other(dep, outputs) for dep in stage.deps)
    return is_changed or bool(stage.changed_outs(allow_missing=True))


def _is_other(dep: Dependency, outputs: OutputIndex) -> bool:
    if (now := outputs.hash_of(dep)) is not None:
        is_edited = dep.exists and not outputs.inside(dep.fs_path) and dep.workspace_status()
        return bool(not dep.hash_info or now != dep.hash_info.value or is_edited)
    status = dep.status()
    return bool(status and (status[str(dep)] != "deleted" or not dep.hash_info))
