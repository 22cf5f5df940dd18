"""dvc.lock as data: its entries, the merge of two versions, and which stages differ between two commits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency.param import ParamsDependency
from dvc.utils.serialize import dump_yaml, dumps_yaml, parse_yaml

from cml.dvc.switching import at_revision
from cml.errors import WorkFailed

if TYPE_CHECKING:
    from dvc.repo import Repo

StageKey = tuple[str, str]  # (dvc.yaml as git names it, name of the stage)


def merge_locks(base: bytes, ours: bytes, theirs: bytes, *, path: str) -> bytes:
    """Returns a dvc.lock with the stages of both sides. Raises WorkFailed where both changed the same stage."""
    old, mine, other = (_stages(text) for text in (base, ours, theirs))
    merged = dict(other)
    # Theirs is the newer one: ours adds and removes only what this run has changed.
    for name in changed_stages(base, ours):
        if other.get(name) not in (old.get(name), mine.get(name)):
            raise WorkFailed(
                f"the branch has new commits with another result of the stage {name} ({path}): run again on its new "
                "head",
                step="push",
            )
        if name in mine:
            merged[name] = mine[name]
        else:
            merged.pop(name, None)
    document = {**_document(theirs), "stages": merged}
    return str(dumps_yaml(document)).encode()


def put_entries(path: str, entries: Mapping[str, Any]) -> None:
    """Writes entries of stages, by their names, into a dvc.lock, or into a new one."""
    file = Path(path)
    text = file.read_bytes() if file.exists() else b""
    document = {
        "schema": "2.0",
        **(_document(text) if b"schema" in text else {}),
        "stages": {**_stages(text), **entries},
    }
    dump_yaml(path, document)


def changed_stages(base: bytes, ours: bytes) -> set[str]:
    """Returns the names of the stages whose entry differs between two versions of a dvc.lock."""
    old, new = _stages(base), _stages(ours)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _document(text: bytes) -> dict[str, Any]:
    return dict(parse_yaml(text.decode(), "dvc.lock") or {})


def _stages(text: bytes) -> dict[str, Any]:
    document = _document(text)
    # A dvc.lock from DVC 1 has its stages at the top.
    return dict(document.get("stages") or {}) if "schema" in document else document


@dataclass(frozen=True, kw_only=True)
class _Stage:
    definition: str
    needs: frozenset[str]
    makes: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class _Commit:
    """The stages of a commit, and its outputs (as git names them) with their hashes."""

    stages: Mapping[StageKey, _Stage]
    outs: Mapping[str, str | None]


def stages_with_other_inputs(
    repo: Repo,
    stages: Iterable[StageKey],
    *,
    ours: str,
    tip: str,
    changed: set[str],
    from_top: Callable[[str], str],
) -> list[str]:
    """Returns the names of those stages whose results in the commit `ours` do not fit the commit `tip`: the definition,
    params or an input differ. `changed` are the paths that differ, as git names them.
    """
    wanted = set(stages)
    then, now = _read_commit(repo, ours, from_top), _read_commit(repo, tip, from_top)
    # Outputs of the stages themselves differ, since both sides may have made them.
    own = {out for key in wanted if key in then.stages for out in then.stages[key].makes}
    others = (then.outs.keys() | now.outs.keys()) - own
    differing = changed | {path for path in others if then.outs.get(path) != now.outs.get(path)}

    def is_other(key: StageKey) -> bool:
        if key not in then.stages or key not in now.stages:
            return True
        if then.stages[key].definition != now.stages[key].definition:
            return True
        return any(_overlap(need, path) for need in then.stages[key].needs for path in differing)

    return [key[1] for key in sorted(wanted) if is_other(key)]


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _read_commit(repo: Repo, revision: str, from_top: Callable[[str], str]) -> _Commit:
    stages: dict[StageKey, _Stage] = {}
    outs: dict[str, str | None] = {}
    with at_revision(repo, revision):
        for stage in repo.index.stages:
            for out in stage.outs:
                outs[from_top(out.fs_path)] = out.hash_info.value if out.hash_info else None
            if not stage.cmd:
                continue
            params = {dep.def_path: dep.read_params() for dep in stage.deps if isinstance(dep, ParamsDependency)}
            files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
            # Text, so that two commits can be compared without their objects.
            definition = json.dumps(
                [stage.cmd, sorted(str(dep) for dep in stage.deps), sorted(str(out) for out in stage.outs), params],
                default=str,
                sort_keys=True,
            )
            stages[from_top(stage.path), stage.name or ""] = _Stage(
                definition=definition,
                needs=frozenset(from_top(dep.fs_path) for dep in files if dep.is_in_repo),
                makes=frozenset(from_top(out.fs_path) for out in stage.outs if out.is_in_repo),
            )
    return _Commit(stages=stages, outs=outs)
