"""Talks to `origin`: its branches, fetch and push. Only these commands get the token."""

from __future__ import annotations

import re
from typing import NamedTuple

from cml.git.command import REMOTE, GitFailed
from cml.git.history import History

FETCH_OPTIONS = ("--quiet", "--no-recurse-submodules", "--no-auto-maintenance")
# What git prints where a server is in trouble or a connection broke. A rejected token is not among it.
UNANSWERED = (
    r"returned error: (429|5\d\d)|RPC failed|hung up unexpectedly|unexpected disconnect|early EOF|Empty reply|"
    r"Connection (reset|timed out)|Could not resolve host|Failed to connect|Recv failure|Operation timed out|"
    r"Couldn't connect"
)
# What git prints where the branch on origin has commits that we do not know.
BEHIND = r"\[rejected\] \((fetch first|non-fast-forward|stale info)\)|failed to update ref|cannot lock ref"
# Of two atomic pushes at the same instant, only the server's own message identifies the loser.
LOST_RACE = r"^remote: error: cannot lock ref '[^']+': is at [0-9a-f]+ but expected [0-9a-f]+"


class PushOutcome(NamedTuple):
    """How a push ended.

    `is_done` (with `is_new` if it created the branch); `is_behind` if origin's branch has newer commits;
    `is_unanswered` if the connection broke, so that the push may have been done or not. Otherwise it was refused, and
    `reason` is why.
    """

    is_done: bool
    is_unanswered: bool = False
    is_behind: bool = False
    is_new: bool = False
    reason: str = ""


class Remote(History):
    """The remote `origin`."""

    def default_branch(self) -> str | None:
        """Returns origin's default branch, as this clone knows it, else as origin answers."""
        try:
            return self._git("symbolic-ref", "--quiet", f"refs/remotes/{REMOTE}/HEAD").strip().split("/", 3)[3]
        except GitFailed:
            pass
        try:
            answer = self._git("ls-remote", "--symref", REMOTE, "HEAD", is_remote=True)
        except GitFailed:
            return None
        found = re.match(r"ref: refs/heads/(\S+)\tHEAD", answer)
        return found[1] if found else None

    def remote_tip(self, branch: str) -> str | None:
        """Asks origin for the newest commit of a branch. Returns None where there is no such branch."""
        name = f"refs/heads/{branch}"
        for line in self._git("ls-remote", REMOTE, name, is_remote=True).splitlines():
            sha, _, ref = line.partition("\t")
            if ref == name:  # git also lists refs that end with the name
                return sha
        return None

    def fetch(self, *refspecs: str, deepen: int | None = None, tip_only: bool = False) -> bool:
        """Fetches from origin; returns whether that worked. `tip_only` fetches one commit if the clone is shallow; in a
        complete clone that would make it shallow.
        """
        depth = []
        if deepen:
            depth = [f"--deepen={deepen}"]
        elif tip_only and self.is_shallow():
            depth = ["--depth=1"]
        return self._fetch("--no-tags", *depth, REMOTE, *refspecs)

    def deepen(self, branch: str, commits: int) -> bool:
        """Fetches so many more commits of a branch's history, with the tags on them; returns whether that worked."""
        # Git fetches the tags on the way only if the fetch stores the branch.
        refspec = f"+refs/heads/{branch}:refs/remotes/{REMOTE}/{branch}"
        return self._fetch(f"--deepen={commits}", REMOTE, refspec)

    def _fetch(self, *arguments: str) -> bool:
        # In a shallow clone, commits have parents after a fetch that they did not show before.
        self._known_commits.clear()
        return self._succeeds("fetch", *FETCH_OPTIONS, *arguments, is_remote=True)

    def try_push(self, sha: str, branch: str) -> PushOutcome:
        """Asks origin whether a commit may be pushed to a branch. Changes nothing."""
        # --no-verify: the hooks of the clone are for the push itself.
        return self._push([f"{sha}:refs/heads/{branch}"], "--dry-run", "--no-verify")

    def push(self, sha: str, *, branch: str, tag: str | None) -> PushOutcome:
        """Pushes a commit to a branch and as a tag, both or none. Never forces."""
        refspecs = [f"{sha}:refs/heads/{branch}"]
        if tag:
            refspecs.append(f"{sha}:refs/tags/{tag}")
        return self._push(refspecs, "--atomic", "--no-follow-tags")

    def _push(self, refspecs: list[str], *options: str) -> PushOutcome:
        done = self._call(
            "push", "--porcelain", "--no-recurse-submodules", *options, REMOTE, *refspecs, env=self._authorized
        )
        stdout, stderr = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        if done.returncode == 0:
            return PushOutcome(is_done=True, is_new="[new branch]" in stdout)
        return _why_not_pushed(stdout, stderr)


def _why_not_pushed(stdout: str, stderr: str) -> PushOutcome:
    """Reads what `git push --porcelain` printed when it failed."""
    # One line for each ref that was not updated: `!<TAB>from:to<TAB>[rejected] (reason)`.
    reasons = [line.split("\t")[-1] for line in stdout.splitlines() if line.startswith("!")]
    if any(re.search(BEHIND, reason) for reason in reasons) or re.search(LOST_RACE, stderr, re.MULTILINE):
        return PushOutcome(is_done=False, is_behind=True, reason="the branch has new commits")
    lines = [line.strip() for line in stderr.splitlines()]
    of_server = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    of_server = [line for line in of_server if line]
    # Where the server printed nothing, a hook of this clone did, or git itself.
    noise = ("remote:", "To ", "hint:", "error: failed to push")
    of_clone = [line for line in lines if line and not line.startswith(noise)]
    # In an atomic push, the refs beside the refused one are reported as failed too.
    own_reasons = [reason for reason in reasons if "atomic" not in reason]
    return PushOutcome(
        is_done=False,
        is_unanswered=not reasons and re.search(UNANSWERED, stderr) is not None,
        reason="; ".join([*own_reasons[:1], *(of_server[-2:] or of_clone[-2:])]),
    )
