"""The save order, which makes a run safe against `kill -9`: data before commits, commits before words.

`dvc push`, then every object asked for, then one commit of DVC's own files, then one atomic push of branch and tag.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cml.dvc.lockfile import changed_stages, merge_locks
from cml.errors import WorkFailed
from cml.git.command import REMOTE, GitFailed
from cml.git.commits import Identity
from cml.git.remote import PushOutcome
from cml.git.repository import Repository
from cml.git.trailers import head_of_results, key_of_results, results_message
from cml.process.log import Log
from cml.process.retry import PAUSES, retry, retry_until

if TYPE_CHECKING:
    from cml.dvc.project import Project

ATTEMPTS = 16
LONGEST_WAIT_SECONDS = 4.0


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The results commit that origin holds, and its tag ("" without a prefix)."""

    sha: str
    tag: str


class AlreadySaved(Exception):
    """Another run has saved the results of the same work, in this commit."""

    def __init__(self, sha: str) -> None:
        super().__init__(sha)
        self.sha = sha


def save_data(project: Project, log: Log, *, head: str, sends: bool) -> None:
    """Puts every object that the work tree's lock files name on the DVC remotes, and makes sure; without `sends` it
    only makes sure. Raises WorkFailed and StorageTrouble.
    """
    sent = project.push() if sends else 0
    verified = project.verify(head)
    for path in verified.lost:
        log.warning(
            f"{path}: its objects are missing from the cache and from the DVC remote, and were missing before this run"
        )
    if sent or verified.checked:
        uploaded = f"{sent + verified.uploaded} files uploaded"
        log.step("data", f"{uploaded}; {verified.checked} objects are on the DVC remote")


def save_commit(
    repository: Repository,
    project: Project,
    log: Log,
    *,
    head: str,
    paths: list[str],
    branch: str,
    is_new_branch: bool,
    tag_prefix: str,
    subject: str,
    key: str,
    scope: str,
    may_follow: bool,
    identity: Identity | None,
    advice: str,
) -> Saved:
    """Commits the paths on top of `head`, or of what others pushed meanwhile, and pushes commit and tag together.

    Raises WorkFailed when origin refuses, or when the branch moved on so that the results are not for its tree;
    AlreadySaved when it moved on by a twin's results and `may_follow` them.
    """
    message = results_message(subject, head=head, key=key, scope=scope)
    ours = repository.commit_files(paths, parent=head, message=message, identity=identity)
    commit = ours
    for attempt in range(ATTEMPTS):
        tag = f"{tag_prefix}{repository.short_sha(commit)}" if tag_prefix else ""
        if tag and repository.commit_of_tag(tag) not in (None, commit):
            raise WorkFailed(f"the tag {tag} exists at another commit, and tags are never moved", step="push")
        there = _remote_tip(repository, branch)
        if there is None and not is_new_branch:
            raise WorkFailed(f"{branch} is gone from {REMOTE}, so the results have no place to go", step="push")
        # A push whose answer was lost may have been done.
        outcome = (
            PushOutcome(is_done=True) if there == commit else repository.push(commit, branch=branch, tag=tag or None)
        )
        if outcome.is_unanswered and attempt < len(PAUSES):
            log.note(f"{REMOTE} gave no answer to the push ({outcome.reason}): asked again")
            time.sleep(PAUSES[attempt])
            continue
        if outcome.is_done:
            is_adopted = repository.move_head_to(commit, branch=branch, head=head, paths=paths, tag=tag or None)
            rest = "" if is_adopted else "; your work tree stays behind it: git pull"
            tagged = f", tag {tag}," if tag else ""
            log.step("commit", f"{repository.short_sha(commit)}{tagged} pushed to {branch}{rest}")
            return Saved(sha=commit, tag=tag)
        if not outcome.is_behind:
            raise refused(outcome.reason, branch, advice)
        time.sleep(random.uniform(0, min(LONGEST_WAIT_SECONDS, 0.1 * 2**attempt)))
        tip = check_history(repository, branch=branch, head=head)
        if may_follow:
            check_existing_results(repository, head=head, tip=tip, key=key)
        commit = _rebase(
            repository,
            project,
            log,
            ours=ours,
            head=head,
            tip=tip,
            paths=paths,
            branch=branch,
            identity=identity,
        )
    raise WorkFailed(f"{branch} moved on {ATTEMPTS} times while the results were being pushed: run again", step="push")


def refused(reason: str, branch: str, advice: str) -> WorkFailed:
    """Returns the failure of a push that origin refuses."""
    if re.search(r"Access denied|Authentication failed|error: 401|invalid username", reason, re.IGNORECASE):
        advice = "a token that is accepted: has this one expired, or is it of another host?"
    return WorkFailed(
        f"{REMOTE} refuses a push to {branch}: {reason.rstrip('.')}. What helps: {advice}; or set push to "
        "false for a report only",
        step="push",
    )


def check_history(repository: Repository, *, branch: str, head: str) -> str:
    """Returns the tip of origin's branch, fetched, which has `head` in its history. Raises WorkFailed where it has not:
    results for a commit that the branch does not hold have no place on it.
    """
    tracking = f"refs/remotes/{REMOTE}/{branch}"
    refspec = f"+refs/heads/{branch}:{tracking}"
    if not repository.fetch(refspec):
        if _remote_tip(repository, branch) is None:
            raise WorkFailed(f"{branch} is gone from {REMOTE}, so the results have no place to go", step="push")
        if not repository.fetch(refspec):
            raise WorkFailed(f"{branch} cannot be fetched from {REMOTE}: run again", step="push")
    tip = repository.resolve(tracking)
    if tip is None or not repository.is_ancestor(head, tip):
        raise WorkFailed(
            f"{branch} on {REMOTE} does not hold {head[:7]}, the commit that this run is for: bring the two together "
            f"(git pull --rebase {REMOTE} {branch}) and run again",
            step="push",
        )
    return tip


def may_push(repository: Repository, *, head: str, branch: str) -> PushOutcome:
    """Asks origin whether a push will be allowed; retried while origin does not answer."""
    return retry_until(lambda outcome: not outcome.is_unanswered, lambda: repository.try_push(head, branch))


def _remote_tip(repository: Repository, branch: str) -> str | None:
    """Returns the tip of origin's branch; retried while origin does not answer. Raises WorkFailed."""
    try:
        return retry(lambda: repository.remote_tip(branch), pause_after=_pause_after_git_error)
    except GitFailed as error:
        raise unreachable(error) from error


def _pause_after_git_error(error: Exception, pause: float) -> float | None:
    return pause if isinstance(error, GitFailed) else None


def unreachable(error: Exception) -> WorkFailed:
    """Returns the failure of a save whose origin gives no answer."""
    message = f"{REMOTE} cannot be reached: {error}. The data is on the DVC remote, so the next run is cheap"
    return WorkFailed(message, step="push")


def check_existing_results(repository: Repository, *, head: str, tip: str, key: str) -> None:
    """Raises AlreadySaved where a commit between the two holds the results of the same work."""
    for commit in repository.commits_between(head, tip):
        if head_of_results(commit.message) == head and key_of_results(commit.message) == key:
            raise AlreadySaved(commit.sha)


def _rebase(
    repository: Repository,
    project: Project,
    log: Log,
    *,
    ours: str,
    head: str,
    tip: str,
    paths: list[str],
    branch: str,
    identity: Identity | None,
) -> str:
    changed = repository.changed_between(head, tip)
    contents: dict[str, bytes] = {}
    for path in sorted(changed & set(paths)):
        base, mine, theirs = (repository.read_file(sha, path) for sha in (head, ours, tip))
        if mine == theirs:
            continue
        if path.endswith(".gitignore") and mine is not None and theirs is not None:
            contents[path] = repository.merge_lines(mine, base or b"", theirs)
        elif path.endswith("dvc.lock") and mine is not None and theirs is not None:
            contents[path] = merge_locks(base or b"", mine, theirs, path=path)
        else:
            raise WorkFailed(f"{branch} moved on and holds another {path}: run again on its new head", step="push")
    stages = _stages_between(repository, paths, head, ours) & _stages_between(repository, paths, tip, ours)
    differing = changed & repository.changed_between(ours, tip)
    if stale := project.stages_with_other_inputs(stages, ours=ours, tip=tip, changed=differing):
        raise WorkFailed(
            f"{branch} moved on and changed what {', '.join(stale)} depends on, so the results are not for its tree: "
            "run again on its new head (the data is on the DVC remote, so that run is cheap)",
            step="push",
        )
    log.step("rebase", f"{branch} moved on to {tip[:7]}; the results go on top of it")
    return repository.rebase_commit(
        ours, paths, onto=tip, contents=contents, message=repository.commit(ours).message + "\n", identity=identity
    )


def _stages_between(repository: Repository, paths: list[str], old: str, new: str) -> set[tuple[str, str]]:
    """Returns (dvc.yaml, stage name) of every stage whose lock entry differs between two commits."""
    return {
        (path.removesuffix(".lock") + ".yaml", name)
        for path in paths
        if path.endswith("dvc.lock")
        for name in changed_stages(repository.read_file(old, path) or b"", repository.read_file(new, path) or b"")
    }
