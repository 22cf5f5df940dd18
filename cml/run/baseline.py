"""Which commit a run is compared with: found before any work, fetching no more than its tip."""

from __future__ import annotations

import re

from cml.config.settings import Settings
from cml.errors import BadInput
from cml.forges.base import Context
from cml.git.command import REMOTE
from cml.git.repository import Repository
from cml.model.report import Baseline

DEEPEN = 50


def find_baseline(repository: Repository, settings: Settings, context: Context, head: str) -> Baseline | None:
    """Returns the baseline, or None where no commit is before the head. Raises BadInput for one the user named that is
    nowhere.
    """
    wanted = settings.baseline
    refresh = context.is_ci
    if sha := _locate(repository, wanted, head, refresh=refresh):
        reason = "the default" if settings.is_default_baseline else "as set"
        return Baseline(name=wanted, sha=sha, reason=reason)
    if not settings.is_default_baseline:
        raise BadInput(
            f"baseline is {wanted!r}, which is no commit here or on {REMOTE}: expected a branch such as "
            f"{REMOTE}/main, a tag, HEAD~1 or a commit"
        )
    absent = f"{wanted} does not exist"
    if context.target_branch and (
        sha := _locate(repository, f"{REMOTE}/{context.target_branch}", head, refresh=refresh)
    ):
        return Baseline(name=f"{REMOTE}/{context.target_branch}", sha=sha, reason=f"the target branch; {absent}")
    branch = context.push_branch or repository.current_branch()
    default = context.default_branch or (repository.default_branch() if repository.origin_url() else None)
    if default and default != branch and (sha := _locate(repository, f"{REMOTE}/{default}", head, refresh=refresh)):
        return Baseline(name=f"{REMOTE}/{default}", sha=sha, reason=f"the default branch; {absent}")
    if sha := _locate(repository, f"{head}~1", head, refresh=False):
        return Baseline(name="HEAD~1", sha=sha, reason=f"the commit before; {absent}")
    return None


def _locate(repository: Repository, revision: str, head: str, *, refresh: bool) -> str | None:
    """Returns the sha that a revision names, fetching what may be missing: `HEAD` in it is the run's head."""
    revision = re.sub(r"^(HEAD|@)(?=$|[~^])", head, revision)
    has_origin = repository.origin_url() is not None
    branch = revision.removeprefix(f"{REMOTE}/") if revision.startswith(f"{REMOTE}/") else None
    if branch:
        tracking = f"refs/remotes/{REMOTE}/{branch}"
        known = None if refresh else repository.resolve(tracking)
        if not known and has_origin and _is_branch_name(branch):
            repository.fetch(f"+refs/heads/{branch}:{tracking}", tip_only=True)
        return known or repository.resolve(tracking) or repository.resolve(revision)
    if sha := repository.resolve(revision):
        return sha
    if not has_origin:
        return None
    for step in _fetches(revision):
        if step is None:
            if repository.is_shallow():
                repository.fetch(deepen=DEEPEN)
        else:
            repository.fetch(step, tip_only=True)
        if sha := repository.resolve(revision):
            return sha
    return None


def _fetches(revision: str) -> list[str | None]:
    """Returns what to fetch for a revision that is not here; None stands for more history of what is."""
    if re.search(r"[~^]", revision):
        return [None]
    if re.fullmatch(r"[0-9a-f]{40,64}", revision):
        return [revision, None]
    if re.fullmatch(r"[0-9a-f]{7,39}", revision):
        return [None]
    if _is_branch_name(revision):
        return [f"refs/tags/{revision}:refs/tags/{revision}"]
    return []


def _is_branch_name(name: str) -> bool:
    return not re.search(r"[\x00-\x20~^:?*\[\\]|\.\.|@\{|^[-/]|//|\.lock$|/$", name)
