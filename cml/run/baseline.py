"""Finds the baseline: the commit that a run is compared with. It fetches no more than the tip of a branch."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cml.config.settings import Settings
from cml.errors import BadInput
from cml.forges.base import Context
from cml.git.command import REMOTE
from cml.git.repository import Repository
from cml.model.report import Baseline

DEEPENING_COMMITS = 50


def find_baseline(repository: Repository, settings: Settings, context: Context, head: str) -> Baseline | None:
    """Returns the baseline, or None if `head` is the first commit. Raises BadInput if the user named a baseline that
    does not exist.
    """
    wanted = settings.baseline
    refresh = context.is_ci
    if sha := _find_commit(repository, wanted, head, refresh=refresh):
        reason = "the default" if settings.is_default_baseline else "as set"
        return Baseline(name=wanted, sha=sha, reason=reason)
    if not settings.is_default_baseline:
        raise BadInput(
            f"baseline is {wanted!r}, but there is no such commit in this clone or on {REMOTE}: expected a branch such "
            f"as {REMOTE}/main, a tag, HEAD~1 or a commit"
        )
    # The report translates these reasons: see cml.report.sections.header.
    absent = f"{wanted} does not exist"
    for branch, reason in _default_branches(repository, context):
        name = f"{REMOTE}/{branch}"
        if sha := _find_commit(repository, name, head, refresh=refresh):
            return Baseline(name=name, sha=sha, reason=f"{reason}; {absent}")
    if sha := _find_commit(repository, f"{head}~1", head, refresh=False):
        return Baseline(name="HEAD~1", sha=sha, reason=f"the previous commit; {absent}")
    return None


def _default_branches(repository: Repository, context: Context) -> Iterator[tuple[str, str]]:
    """Yields the branches to compare with if origin/master does not exist, each with the reason."""
    if context.target_branch:
        yield context.target_branch, "the target branch"
    branch = context.push_branch or repository.current_branch()
    default = context.default_branch
    if not default and repository.origin_url() is not None:
        default = repository.default_branch()
    # Compared with itself, a branch would never show a change.
    if default and default != branch:
        yield default, "the default branch"


def _find_commit(repository: Repository, revision: str, head: str, *, refresh: bool) -> str | None:
    """Returns the commit that a revision names, and fetches it if this clone lacks it. HEAD in it means `head`.

    With `refresh`, a branch of origin is always fetched: the clone of a CI job may be old.
    """
    # In a pull request HEAD may be the merge commit that the forge made, whose parent is the target branch.
    revision = re.sub(r"^(HEAD|@)(?=$|[~^])", head, revision)
    branch = revision.removeprefix(f"{REMOTE}/") if revision.startswith(f"{REMOTE}/") else ""
    if branch:
        return _find_remote_branch(repository, branch, refresh=refresh)
    if sha := repository.resolve(revision):
        return sha
    if repository.origin_url() is None:
        return None
    for refspec in _refspecs(revision):
        if refspec is not None:
            repository.fetch(refspec, tip_only=True)
        elif repository.is_shallow():
            repository.fetch(deepen=DEEPENING_COMMITS)
        if sha := repository.resolve(revision):
            return sha
    return None


def _find_remote_branch(repository: Repository, branch: str, *, refresh: bool) -> str | None:
    tracking = f"refs/remotes/{REMOTE}/{branch}"
    known = None if refresh else repository.resolve(tracking)
    if known:
        return known
    if repository.origin_url() is not None and _is_branch_name(branch):
        repository.fetch(f"+refs/heads/{branch}:{tracking}", tip_only=True)
    # Not a branch, but perhaps a tag of the user with such a name.
    return repository.resolve(tracking) or repository.resolve(f"{REMOTE}/{branch}")


def _refspecs(revision: str) -> list[str | None]:
    """Returns what to fetch for a revision, in order; None means more of the history."""
    if re.search(r"[~^]", revision):
        return [None]
    # Servers may refuse a commit that no branch or tag names. With more history it may still be found.
    if re.fullmatch(r"[0-9a-f]{40,64}", revision):
        return [revision, None]
    # No server finds a commit by its short sha.
    if re.fullmatch(r"[0-9a-f]{7,39}", revision):
        return [None]
    if _is_branch_name(revision):
        return [f"refs/tags/{revision}:refs/tags/{revision}"]
    return []


def _is_branch_name(name: str) -> bool:
    """Whether git accepts the name for a branch (git-check-ref-format)."""
    return not re.search(r"[\x00-\x20~^:?*\[\\]|\.\.|@\{|^[-/]|//|\.lock$|/$", name)
