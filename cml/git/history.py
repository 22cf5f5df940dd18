"""Questions about commits, trees and tags. Commits are named by full shas; `resolve` turns any revision into one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cml.git.command import Git, GitFailed

COMMIT_FIELDS = ("%H", "%P", "%an", "%aI", "%B")  # as in Commit
SHORTEST_SHA = 7


class Commit(NamedTuple):
    """What people see of a commit; `date` is ISO 8601 with its time zone."""

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    message: str

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]


class TreeEntry(NamedTuple):
    """A file of a commit: git's mode of it, and the sha of its contents."""

    mode: str
    blob: str


class History(Git):
    """What the repository knows of its commits."""

    def __init__(self, directory: Path, *, token: str | None = None, user: str = "x-access-token") -> None:
        super().__init__(directory, token=token, user=user)
        # Commits that git was asked for. A commit never changes, but after a fetch a shallow clone shows its parents.
        self._known_commits: dict[str, Commit] = {}

    def resolve(self, revision: str) -> str | None:
        """Returns the sha of the commit that a revision names in this clone, or None."""
        # `commits` remembers the answer, and most callers ask for the commit itself next.
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision):
            return next((commit.sha for commit in self.commits([revision])), None)
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
        except GitFailed:
            return None

    def head(self) -> str | None:
        return self.resolve("HEAD")

    def current_branch(self) -> str | None:
        """Returns the name of the branch that is checked out, or None where HEAD is detached."""
        try:
            return self._git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except GitFailed:
            return None

    def is_shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").strip() == "true"

    def short_sha(self, sha: str) -> str:
        """Returns the short form of a sha: 7 digits, more where that is ambiguous."""
        return self._git("rev-parse", f"--short={SHORTEST_SHA}", sha).strip()

    # Commits

    def commit(self, sha: str) -> Commit:
        """Returns a commit of this clone. Raises GitFailed where there is none."""
        found = self.commits([sha])
        if not found:
            raise GitFailed(f"no commit {sha} in this clone")
        return found[0]

    def commits(self, shas: Sequence[str]) -> list[Commit]:
        """Returns those of the commits, named by full shas, that are in this clone, in the same order."""
        unknown = [sha for sha in shas if sha not in self._known_commits]
        if unknown:
            # One process for all of them. A commit that is missing is no error, and signatures are not verified.
            options = ("--no-walk=unsorted", "--ignore-missing", "--no-show-signature", "-z")
            fields = f"--format={'%x00'.join(COMMIT_FIELDS)}"
            texts = self._git("log", *options, fields, "--end-of-options", *unknown).split("\0")
            columns = (texts[number :: len(COMMIT_FIELDS)] for number in range(len(COMMIT_FIELDS)))
            for sha, parents, author, date, message in zip(*columns, strict=False):
                self._known_commits[sha] = Commit(
                    sha=sha, parents=tuple(parents.split()), author=author, date=date, message=message.strip()
                )
        return [self._known_commits[sha] for sha in shas if sha in self._known_commits]

    def commits_between(self, old: str, new: str) -> list[Commit]:
        """Returns the commits in the history of `new` that are not in the history of `old`, the newest first."""
        return self.commits(self._git("rev-list", f"{old}..{new}").split())

    def is_ancestor(self, old: str, new: str) -> bool:
        return self._succeeds("merge-base", "--is-ancestor", old, new)

    # Files of commits

    def changed_between(self, old: str, new: str) -> set[str]:
        """Returns the paths that differ between two commits."""
        return {path for path in self._git("diff-tree", "-r", "--name-only", "-z", old, new).split("\0") if path}

    def read_file(self, sha: str, path: str) -> bytes | None:
        """Returns the contents of a file at a commit, or None where the commit does not have it."""
        try:
            return self._git_bytes("cat-file", "blob", f"{sha}:{path}")
        except GitFailed:
            return None

    def _tree_entry(self, sha: str, path: str) -> TreeEntry | None:
        # (literal,top): the path is no pattern, and is relative to the top also in a sub-folder.
        entry = self._git("ls-tree", "-z", "--full-tree", sha, "--", f":(literal,top){path}")
        if not entry:
            return None
        mode, _, blob = entry.partition("\t")[0].split(" ")
        return TreeEntry(mode, blob)

    # Tags

    def commit_of_tag(self, tag: str) -> str | None:
        return self.resolve(f"refs/tags/{tag}")

    def tagged_commits(self, sha: str, prefix: str, count: int) -> list[tuple[str, str]]:
        """Returns up to `count` (tag, sha), the newest first: the commits in the history of `sha` that have a tag made
        of the prefix and their own short sha.
        """
        # --simplify-by-decoration: git walks the history, but prints only commits with a matching tag.
        lines = self._git(
            "log",
            "--topo-order",
            "--simplify-by-decoration",
            f"--decorate-refs=refs/tags/{prefix}*",
            "--decorate=full",
            "--format=%H%x00%D",
            sha,
        ).splitlines()
        found: list[tuple[str, str]] = []
        for line in lines:
            commit, _, decorations = line.partition("\0")
            tags = (text.removeprefix("tag: ").removeprefix("refs/tags/") for text in decorations.split(", "))
            own = next((tag for tag in tags if _is_tag_of(tag, prefix, commit)), None)
            if own:
                found.append((own, commit))
            if len(found) == count:
                break
        return found


def _is_tag_of(tag: str, prefix: str, sha: str) -> bool:
    suffix = tag.removeprefix(prefix)
    return tag.startswith(prefix) and len(suffix) >= SHORTEST_SHA and sha.startswith(suffix)
