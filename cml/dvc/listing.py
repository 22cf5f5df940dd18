"""Which files hold the metrics of a commit, where git alone holds them: other commits with the same listing are then
read straight from git's objects, all in one process, instead of by an index of DVC's each.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The metrics files of the commit `sha`: their paths as git names them -> as DVC names them."""

    sha: str
    paths: Mapping[str, str]
    folder: str

    def holds_after(self, changed: Iterable[str]) -> bool:
        """Whether a commit that differs in those paths, as git names them, has the same metrics files."""
        return not any(
            path.startswith(f"{self.folder}.dvc/") or path.endswith((".dvc", ".dvcignore", "/dvc.yaml"))
            for path in (f"/{path}" for path in changed)
        )


def list_metrics(repo: Repo, sha: str, measured: Iterable[str], *, targets: list[str], prefix: str) -> Listing | None:
    """Returns the listing of the commit that DVC reads now; None where files alone do not tell what the metrics of a
    commit are. `measured` are the paths that DVC read, `prefix` is where the project lies in git.
    """
    index, root = repo.index, repo.root_dir
    declared = set(targets) or {
        *(repo.fs.relpath(out.fs_path, root) for out in index.metrics),
        *(
            repo.fs.normpath(repo.fs.join(repo.fs.relpath(repo.fs.parent(file), root), name))
            for file, names in index._metrics.items()
            for name in names
        ),
    }
    found = set(measured)
    pipelines = {stage.path for stage in index.stages if stage.cmd} | index._metrics.keys()
    if (
        declared != found  # a folder's files are found anew in each commit
        or any("\n" in path for path in found)
        or any(_is_in_dvc(index, path) for path in found)
        or any("${" in repo.fs.read_text(path) for path in pipelines)  # then values of other files are part of it
    ):
        return None
    folder = "/" if prefix == "." else f"/{prefix}/"
    paths = {os.path.normpath(os.path.join(prefix, path)): path for path in measured}
    return Listing(sha=sha, paths=paths, folder=folder)


def _is_in_dvc(index: Any, path: str) -> bool:
    parts = tuple(path.split("/"))
    keys = index.data_keys["repo"]
    return any(parts[:length] in keys for length in range(1, len(parts) + 1))


class Blob:
    """One file of git's as much of a file system as DVC's parsers ask for."""

    def __init__(self, data: bytes) -> None:
        self._text = data.decode("utf-8")

    def open(self, path: str, *_: Any, **__: Any) -> io.StringIO:
        return io.StringIO(self._text)

    def suffix(self, path: str) -> str:
        return os.path.splitext(path)[1]

    def read_text(self, path: str) -> str:
        return self._text
