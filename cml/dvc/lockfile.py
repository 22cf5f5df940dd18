"""dvc.lock meets another's: united by stage, refused where both sides changed the same one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cml.dvc.patches.caching import at_revision
from cml.dvc.project import Project
from cml.errors import WorkFailed


def unite(base: bytes, ours: bytes, theirs: bytes, *, path: str) -> bytes:
    """Returns a dvc.lock that holds both sides' stages. Raises WorkFailed where both changed the same stage."""
    from dvc.utils.serialize import dumps_yaml

    old, mine, other = (_stages(text) for text in (base, ours, theirs))
    united = dict(other)
    for name in changed_stages(base, ours):
        if other.get(name) not in (old.get(name), mine.get(name)):
            raise WorkFailed(
                f"the branch moved on and holds another result of the stage {name} ({path}): run again on its new head",
                step="push",
            )
        if name in mine:
            united[name] = mine[name]
        else:
            united.pop(name, None)
    document = {**_document(theirs), "stages": united}
    return str(dumps_yaml(document)).encode()


def put_entries(path: str, entries: Mapping[str, Any]) -> None:
    """Writes entries of stages, by their names, into a dvc.lock, or into a new one."""
    from dvc.utils.serialize import dump_yaml

    file = Path(path)
    text = file.read_bytes() if file.exists() else b""
    document = {
        "schema": "2.0",
        **(_document(text) if b"schema" in text else {}),
        "stages": {**_stages(text), **entries},
    }
    dump_yaml(path, document)


def changed_stages(base: bytes, ours: bytes) -> set[str]:
    """Returns the names of the stages whose entry differs between two states of a dvc.lock."""
    old, new = _stages(base), _stages(ours)
    return {name for name in old.keys() | new.keys() if old.get(name) != new.get(name)}


def _document(text: bytes) -> dict[str, Any]:
    from dvc.utils.serialize import parse_yaml

    return dict(parse_yaml(text.decode(), "dvc.lock") or {})


def _stages(text: bytes) -> dict[str, Any]:
    document = _document(text)
    # A lock of DVC 1 has its stages at the top.
    return dict(document.get("stages") or {}) if "schema" in document else document


@dataclass(frozen=True, kw_only=True)
class _Stage:
    definition: str
    needs: frozenset[str]
    makes: frozenset[str]


def stale_stages(
    project: Project, stages: Iterable[tuple[str, str]], *, ours: str, tip: str, changed: set[str]
) -> list[str]:
    """Returns those stages, as (dvc.yaml as git names it, name), whose results in the commit `ours` are not for `tip`:
    their definition, params or an input differ. `changed` are git's paths that differ.
    """
    wanted = set(stages)
    then, then_outs = _read(project, ours)
    now, now_outs = _read(project, tip)
    own = {out for key in wanted if key in then for out in then[key].makes}
    moved = {path for path in (then_outs.keys() | now_outs.keys()) - own if then_outs.get(path) != now_outs.get(path)}
    return [
        key[1]
        for key in sorted(wanted)
        if key not in then
        or key not in now
        or then[key].definition != now[key].definition
        or any(_overlap(need, path) for need in then[key].needs for path in changed | moved)
    ]


def _overlap(one: str, other: str) -> bool:
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")


def _read(project: Project, revision: str) -> tuple[Mapping[tuple[str, str], _Stage], Mapping[str, str | None]]:
    from dvc.dependency.param import ParamsDependency

    stages: dict[tuple[str, str], _Stage] = {}
    outs: dict[str, str | None] = {}
    with at_revision(project.repo, revision):
        for stage in project.repo.index.stages:
            for out in stage.outs:
                outs[project.from_top(out.fs_path)] = out.hash_info.value if out.hash_info else None
            if not stage.cmd:
                continue
            params = {dep.def_path: dep.read_params() for dep in stage.deps if isinstance(dep, ParamsDependency)}
            files = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
            definition = json.dumps(
                [stage.cmd, sorted(str(dep) for dep in stage.deps), sorted(str(out) for out in stage.outs), params],
                default=str,
                sort_keys=True,
            )
            key = (project.from_top(stage.path), stage.name or "")
            stages[key] = _Stage(
                definition=definition,
                needs=frozenset(project.from_top(dep.fs_path) for dep in files if dep.is_in_repo),
                makes=frozenset(project.from_top(out.fs_path) for out in stage.outs if out.is_in_repo),
            )
    return stages, outs
