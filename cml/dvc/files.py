"""Which files stages read, and which files DVC writes, as git names them: relative to the top of the work tree."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc.dependency.param import ParamsDependency
from dvc.utils.serialize import load_yaml

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage


class ProjectFiles:
    """The files of a project in a work tree of git, whose root is `top`."""

    def __init__(self, repo: Repo, top: Path) -> None:
        self._repo = repo
        self._top = top
        # By dvc.yaml: the files that it takes `${...}` from.
        self._variable_files: dict[str, set[str]] = {}
        self.prefix = os.path.relpath(os.path.realpath(repo.root_dir), top)

    def from_top(self, path: str) -> str:
        """Returns an absolute path inside the project as git names it."""
        return os.path.normpath(os.path.join(self.prefix, os.path.relpath(path, self._repo.root_dir)))

    def forget(self) -> None:
        """Forgets what was read of files that may have changed."""
        self._variable_files.clear()

    def sources(self) -> set[str]:
        """Returns the files and folders in git that stages depend on."""
        outs = {out.fs_path for out in self._repo.index.outs}
        found = set()
        for stage in self._repo.index.stages:
            if stage.cmd:
                found.add(stage.path)
            for dep in stage.deps:
                # Not in git: a URL, a path outside of the repository, and the output of another stage.
                is_file = isinstance(dep, ParamsDependency) or dep.protocol == "local"
                if is_file and dep.is_in_repo and dep.fs_path not in outs:
                    found.add(dep.fs_path)
            found |= self._read_variable_files(stage)
        return {self.from_top(path) for path in found}

    def _read_variable_files(self, stage: Stage) -> set[str]:
        """Returns the files that the dvc.yaml of a stage takes `${...}` from."""
        if not stage.cmd or stage.path in self._variable_files:
            return self._variable_files.get(stage.path, set())
        text = Path(stage.path).read_text(encoding="utf-8")
        # Most pipelines use no templates, and parsing a large dvc.yaml takes long.
        document = load_yaml(stage.path) if "vars" in text or "${" in text else None
        names = {name for name in _vars_of(document) if isinstance(name, str)}
        if "${" in json.dumps(document, default=str):
            names.add("params.yaml")  # DVC reads it without being told
        folder = os.path.dirname(stage.path)
        paths = {os.path.join(folder, name.partition(":")[0]) for name in names}
        self._variable_files[stage.path] = {path for path in paths if Path(path).exists()}
        return self._variable_files[stage.path]

    def written_by_dvc(self, changed: Iterable[str], at_head: Callable[[str], bytes | None]) -> list[str]:
        """Returns those of the changed paths that DVC writes: dvc.lock, .dvc files, outputs with `cache: false`, and a
        .gitignore in which nothing but outputs was added. `at_head` reads a file at HEAD.
        """
        own: set[str] = set()
        ignored: dict[str, set[str]] = {}  # .gitignore -> the lines that DVC adds
        for stage in self._repo.index.stages:
            lock_file = f"{os.path.splitext(stage.path)[0]}.lock"
            own.add(self.from_top(lock_file if stage.cmd else stage.path))
            for out in stage.outs:
                if not out.is_in_repo:
                    continue
                if out.use_cache:
                    folder, name = os.path.split(self.from_top(out.fs_path))
                    ignored.setdefault(os.path.join(folder, ".gitignore"), set()).add(f"/{name}")
                else:
                    own.add(self.from_top(out.fs_path))

        def is_own(path: str) -> bool:
            is_output = path in own or bool(own & {str(parent) for parent in Path(path).parents})
            return is_output or (path in ignored and self._only_adds(path, at_head(path), ignored[path]))

        return sorted(path for path in changed if is_own(path))

    def _only_adds(self, path: str, old: bytes | None, names: set[str]) -> bool:
        """Whether a .gitignore has all its old lines, and no new ones but these names."""
        file = self._top / path
        now = set(file.read_text(encoding="utf-8", errors="replace").splitlines()) if file.exists() else set()
        before = set((old or b"").decode(errors="replace").splitlines())
        # DVC escapes names, and writes one with a line break as two lines.
        expected = {line.replace("\\", "") for name in names for line in name.splitlines()}
        added = {line.replace("\\", "") for line in now - before}
        return before <= now and added <= expected


def _vars_of(document: Any) -> Iterator[Any]:
    """Yields the items of each `vars` list in a dvc.yaml."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "vars" and isinstance(value, list):
                yield from value
            else:
                yield from _vars_of(value)


def is_saved(out: Output) -> bool:
    """Whether the objects of an output belong on a DVC remote: not those of `cache: false`, `push: false`, imports."""
    return bool(out.use_cache and out.can_push and not out.stage.is_import and not out.stage.is_repo_import)
