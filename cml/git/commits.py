"""Builds commits, without a change of HEAD, of the user's index or of the work tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from cml.git.command import nul_separated
from cml.git.history import History


class Identity(NamedTuple):
    """Author and committer of the results commit."""

    name: str
    email: str


class Commits(History):
    """New commits on given parents."""

    def has_identity(self) -> bool:
        """Whether git is configured with a name and an address for commits."""
        return self._succeeds("var", "GIT_COMMITTER_IDENT")

    def commit_files(self, paths: Iterable[str], *, parent: str, message: str, identity: Identity | None) -> str:
        """Returns the sha of a new commit: the tree of the parent, with the paths as they are in the work tree."""
        tree = self._tree_with_files(paths, parent=parent)
        return self._commit_tree(tree, parent=parent, message=message, identity=identity)

    def rebase_commit(
        self,
        commit: str,
        paths: Iterable[str],
        *,
        onto: str,
        contents: Mapping[str, bytes],
        message: str,
        identity: Identity | None,
    ) -> str:
        """Returns the sha of a new commit: the tree of its parent `onto`, with the paths as `commit` has them.

        `contents` are the contents of paths that both sides changed, merged.
        """
        # Lines for `git update-index --index-info`: mode, blob, a tab, path. Mode 0 removes the path.
        entries = []
        for path in paths:
            entry = self._tree_entry(commit, path)
            if entry is None:
                entries.append(f"0 {'0' * len(commit)}\t{path}")
                continue
            blob = entry.blob
            if path in contents:
                blob = self._git("hash-object", "-w", "--stdin", stdin=contents[path]).strip()
            entries.append(f"{entry.mode} {blob}\t{path}")
        with _temporary_index() as index:
            self._git("read-tree", onto, env=index)
            self._git("update-index", "-z", "--index-info", stdin=nul_separated(entries), env=index)
            tree = self._git("write-tree", env=index).strip()
        return self._commit_tree(tree, parent=onto, message=message, identity=identity)

    def merge_lines(self, ours: bytes, base: bytes, theirs: bytes) -> bytes:
        """Returns the lines of both sides (git merge-file --union), for .gitignore."""
        with _temporary_folder() as folder:
            names = []
            for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
                (folder / name).write_bytes(data)
                names.append(str(folder / name))
            return self._git_bytes("merge-file", "-p", "--union", *names)

    def _tree_with_files(self, paths: Iterable[str], *, parent: str) -> str:
        """Returns the sha of a new tree: that of a commit, with the paths as they are in the work tree."""
        with _temporary_index() as index:
            self._git("read-tree", parent, env=index)
            self._add_to_index(paths, env=index)
            return self._git("write-tree", env=index).strip()

    def _add_to_index(self, paths: Iterable[str], *, env: Mapping[str, str] | None = None) -> None:
        self._git("update-index", "--add", "--remove", "-z", "--stdin", stdin=nul_separated(paths), env=env)

    def _commit_tree(self, tree: str, *, parent: str, message: str, identity: Identity | None) -> str:
        """Returns the sha of a new commit of a tree, or the parent where it has the same tree."""
        # Nothing to commit: the results are those of the parent.
        if tree == self._git("rev-parse", f"{parent}^{{tree}}").strip():
            return parent
        # Not signed, even if git is configured to sign: in CI nobody can enter a passphrase.
        arguments = ("commit-tree", "--no-gpg-sign", tree, "-p", parent, "-F", "-")
        return self._git(*arguments, stdin=message.encode(), env=_identity_environment(identity)).strip()


def _identity_environment(identity: Identity | None) -> dict[str, str]:
    if identity is None:
        return {}
    environment = {}
    for role in ("AUTHOR", "COMMITTER"):
        environment[f"GIT_{role}_NAME"] = identity.name
        environment[f"GIT_{role}_EMAIL"] = identity.email
    return environment


@contextlib.contextmanager
def _temporary_index() -> Iterator[dict[str, str]]:
    """Yields the environment in which git uses an index of its own; the user's index stays as it is."""
    with _temporary_folder() as folder:
        yield {"GIT_INDEX_FILE": str(folder / "index")}


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    # A skipped run builds no commit, and tempfile costs it as much as the rest of git's modules.
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="cml-") as folder:
        yield Path(folder)
