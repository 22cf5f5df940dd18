"""The work tree: what differs from HEAD, and what moves HEAD."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

from cml.git.command import GitFailed
from cml.git.commits import Commits


class WorkTree(Commits):
    """The files that are checked out."""

    def has_tracked_files(self, folder: str) -> bool:
        """Whether git tracks a file in a folder below the current one."""
        path = os.path.relpath(os.path.abspath(folder), self.top)
        return bool(self._git("ls-files", "-z", "--", f":(literal,top){path}"))

    def changed_files(self) -> set[str]:
        """Returns the paths, relative to the top, that differ from HEAD or are new and not ignored."""
        # -z: git quotes no path. A rename is a removed and a new file. No diff program of the user is started.
        changed = self._git("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", "HEAD")
        new = self._git("ls-files", "--others", "--exclude-standard", "-z")
        return {path for path in (changed + new).split("\0") if path}

    def unchanged_in_work_tree(self, sha: str, paths: Iterable[str]) -> list[str]:
        """Returns those of the paths that are the same in the work tree as in a commit."""
        return [path for path in paths if self._blob_in_commit(sha, path) == self._blob_in_work_tree(path)]

    def _blob_in_commit(self, sha: str, path: str) -> str | None:
        entry = self._tree_entry(sha, path)
        return entry.blob if entry else None

    def _blob_in_work_tree(self, path: str) -> str | None:
        """Returns the sha of what git would store for a file, None where there is no regular file."""
        file = Path(self.top, path)
        # Git stores a link as its target, and hash-object would read the file behind it.
        if not file.is_file() or file.is_symlink():
            return None
        # --path: line endings and filters (LFS) as for this path.
        return self._git("hash-object", "--path", path, "--stdin", stdin=file.read_bytes()).strip()

    def check_out(self, sha: str) -> bool:
        """Checks out a commit, detached. Returns False where changes in the work tree prevent it."""
        return self._succeeds("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", sha)

    def exclude(self, pattern: str) -> None:
        """Adds a pattern to git's info/exclude, once, so that no commit contains such files."""
        path = self._git_path("info/exclude")
        lines = path.read_text(errors="surrogateescape").splitlines() if path.exists() else []
        if pattern in lines:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        # An atomic write: after a kill, the file still has all lines of the user.
        new = path.with_name(f"{path.name}.cml")
        new.write_text("\n".join([*lines, pattern]) + "\n", errors="surrogateescape")
        if path.exists():
            new.chmod(stat.S_IMODE(path.stat().st_mode))
        new.replace(path)

    def move_head_to(self, sha: str, *, branch: str, head: str, paths: Collection[str], tag: str | None) -> bool:
        """Moves HEAD, its branch and the index from `head` to the results commit that was pushed, and writes the tag.

        `paths` are the files of the commit that the work tree already has. The user's own changes stay. Returns False,
        with HEAD not moved, where the user has moved it meanwhile or a change is in the way: the results are on origin.
        """
        try:
            if tag and not self.commit_of_tag(tag):
                self._git("update-ref", f"refs/tags/{tag}", sha)
            if self.head() != head or self.current_branch() not in (None, branch):
                return False
            has_only_results = self.commit(sha).parents == (head,) and set(paths) == self.changed_between(head, sha)
            # Where others pushed too, git merges their files into the work tree, as a pull does.
            ours = None if has_only_results else self._tree_with_files(paths, parent=head)
            self._add_to_index(paths)
            if ours:
                self._git("read-tree", "-m", "-u", ours, sha)
            # Last, and only if HEAD is still `head`: until here, a failure leaves the branch as it was.
            self._git("update-ref", "-m", "cml run", "HEAD", sha, head)
        except (GitFailed, OSError):
            return False
        return True
