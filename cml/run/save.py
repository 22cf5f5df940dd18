"""Saves the results in the order that makes a run safe against `kill -9`: data first, then commit and tag.

`dvc push`, then a check that each object is on the remote, then one commit of the files that DVC wrote, then one atomic
push of branch and tag.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from cml.dvc.lockfile import changed_stages, merge_locks
from cml.dvc.project import Project
from cml.dvc.push import Verified
from cml.errors import WorkFailed
from cml.git.command import REMOTE
from cml.git.commits import Identity
from cml.git.remote import PushOutcome
from cml.git.repository import Repository
from cml.git.trailers import results_message
from cml.plan.messages import count
from cml.process.log import Log
from cml.process.retry import PAUSES
from cml.run.origin import branch_missing, check_existing_results, fetch_branch, find_tip, push_refused
from cml.run.outcome import Saved

ATTEMPTS = 16
LONGEST_PAUSE_SECONDS = 4.0


def save_data(project: Project, log: Log, *, head: str, upload: bool) -> None:
    """Checks that each object in the work tree's lock files is on its DVC remote, and uploads missing ones; with
    `upload` after a `dvc push`. Raises WorkFailed and StorageError.
    """
    pushed = project.push() if upload else 0
    verified = project.verify(head)
    for path in verified.lost:
        log.warning(f"{path}: its data is missing from the cache and from the DVC remote, since before this run")
    if pushed or verified.checked:
        log.step("data", _describe_upload(pushed, verified, is_pushed=upload))


def _describe_upload(pushed: int, verified: Verified, *, is_pushed: bool) -> str:
    uploaded = pushed + verified.uploaded
    if not uploaded:
        return "nothing to upload" + ("" if verified.lost else f": all {verified.checked} files are on the DVC remote")
    text = f"{count(uploaded, 'file')} uploaded"
    if is_pushed and verified.uploaded:
        # `dvc push` takes a directory for complete if its listing is on the remote, and does not check its files.
        text += f", including {verified.uploaded} that the DVC remote had lost"
    return text


@dataclass(frozen=True, kw_only=True)
class Results:
    """The results to commit: `paths` of the work tree, made from `head`.

    `subject` is the first line of the commit message; `key` and `scope` identify the run in its trailers. With
    `use_existing` the results of a duplicate run, found on the branch, are used instead of these. `advice` is what to
    do if the push is refused.
    """

    head: str
    paths: tuple[str, ...]
    branch: str
    is_new_branch: bool
    tag_prefix: str
    subject: str
    key: str
    scope: str
    use_existing: bool
    identity: Identity | None
    advice: str


class Saver:
    """Commits results, and pushes the commit and its tag together."""

    def __init__(self, repository: Repository, project: Project, log: Log, results: Results) -> None:
        self._repository = repository
        self._project = project
        self._log = log
        self._results = results
        self._attempted = ""  # the commit of the last push

    def save(self) -> Saved:
        """Saves the results on top of `head`, or on top of what others pushed in the meantime.

        Raises WorkFailed if origin refuses, or if new commits on the branch change the inputs of the results;
        ResultsExist if a duplicate run was faster.
        """
        results = self._results
        # The commit is made before the branch is known to be unchanged: if it has changed, only the parent is replaced.
        message = results_message(results.subject, head=results.head, key=results.key, scope=results.scope)
        ours = self._repository.commit_files(
            results.paths, parent=results.head, message=message, identity=results.identity
        )
        commit = ours
        for attempt in range(ATTEMPTS):
            tag = self._tag(commit)
            outcome = self._push(commit, tag)
            # The push may have been done: the next attempt asks for the tip of the branch first.
            if outcome.is_unanswered and attempt < len(PAUSES):
                self._log.note(f"{REMOTE} did not answer ({outcome.reason}): pushing again")
                time.sleep(PAUSES[attempt])
                continue
            if outcome.is_done:
                return self._update_clone(commit, tag)
            # Only new commits on the branch are worth another attempt. A refusal stays a refusal.
            if not outcome.is_behind:
                raise push_refused(outcome.reason, results.branch, results.advice)
            # Of several runs that push at the same time each waits for another random time, so that all get their turn.
            time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.1 * 2**attempt)))
            tip = fetch_branch(self._repository, branch=results.branch, head=results.head)
            if results.use_existing:
                check_existing_results(self._repository, head=results.head, tip=tip, key=results.key)
            commit = self._rebase(ours, tip)
        raise WorkFailed(
            f"others pushed to {results.branch} before each of {ATTEMPTS} attempts to push the results: run again",
            step="push",
        )

    def _tag(self, commit: str) -> str:
        if not self._results.tag_prefix:
            return ""
        tag = f"{self._results.tag_prefix}{self._repository.short_sha(commit)}"
        # The name contains the sha of the commit, so only a tag that somebody made by hand can be in the way.
        if self._repository.commit_of_tag(tag) not in (None, commit):
            raise WorkFailed(f"the tag {tag} exists at another commit, and CML never moves a tag", step="push")
        return tag

    def _push(self, commit: str, tag: str) -> PushOutcome:
        results = self._results
        tip = find_tip(self._repository, results.branch)
        if tip is None and not results.is_new_branch:
            raise branch_missing(results.branch)
        # An earlier attempt succeeded, but its answer was lost. Without an earlier attempt, another run has pushed the
        # same commit, perhaps without our tag.
        if tip == commit and commit == self._attempted:
            return PushOutcome(is_done=True)
        self._attempted = commit
        return self._repository.push(commit, branch=results.branch, tag=tag or None)

    def _update_clone(self, commit: str, tag: str) -> Saved:
        """Moves the clone's branch to the results commit, and logs what was pushed."""
        results = self._results
        # If the user has gone on in the meantime, the work tree stays as it is: the results are on origin.
        is_updated = self._repository.move_head_to(
            commit, branch=results.branch, head=results.head, paths=list(results.paths), tag=tag or None
        )
        text = f"{self._repository.short_sha(commit)} pushed to {results.branch}"
        if tag:
            text += f" with tag {tag}"
        if not is_updated:
            text += "; your work tree was not updated: git pull"
        self._log.step("commit", text)
        return Saved(sha=commit, tag=tag)

    def _rebase(self, ours: str, tip: str) -> str:
        """Returns our results as a commit on top of `tip`. Raises WorkFailed if they do not belong there."""
        results, repository = self._results, self._repository
        changed = repository.changed_between(results.head, tip)
        contents = self._merge_files(ours, tip, changed)
        self._check_inputs(ours, tip, changed)
        self._log.step("rebase", f"{results.branch} has new commits: the results are committed on top of {tip[:7]}")
        return repository.rebase_commit(
            ours,
            results.paths,
            onto=tip,
            contents=contents,
            message=repository.commit(ours).message + "\n",
            identity=results.identity,
        )

    def _merge_files(self, ours: str, tip: str, changed: set[str]) -> dict[str, bytes]:
        """Returns the merged content of the files that both sides changed. Raises WorkFailed on a conflict."""
        repository, head = self._repository, self._results.head
        contents: dict[str, bytes] = {}
        for path in sorted(changed & set(self._results.paths)):
            base, mine, theirs = (repository.read_file(sha, path) for sha in (head, ours, tip))
            if mine == theirs:
                continue
            # Lines and stages of both sides can be kept. Of any other file one version would be lost.
            if mine is not None and theirs is not None and path.endswith(".gitignore"):
                contents[path] = repository.merge_lines(mine, base or b"", theirs)
            elif mine is not None and theirs is not None and path.endswith("dvc.lock"):
                contents[path] = merge_locks(base or b"", mine, theirs, path=path)
            else:
                raise WorkFailed(
                    f"{self._results.branch} has new commits that change {path}, and so does this run: "
                    "run again on the newest commit",
                    step="push",
                )
        return contents

    def _check_inputs(self, ours: str, tip: str, changed: set[str]) -> None:
        """Raises WorkFailed if the new commits change inputs of a stage whose results we want to save."""
        # Where the branch has our entry of dvc.lock already, whoever pushed it answers for it.
        stages = self._changed_stages(self._results.head, ours) & self._changed_stages(tip, ours)
        # A file that is the same on both sides now is no change, whoever made it.
        differing = changed & self._repository.changed_between(ours, tip)
        if stale := self._project.stages_with_other_inputs(stages, ours=ours, tip=tip, changed=differing):
            raise WorkFailed(
                f"{self._results.branch} has new commits that change inputs of {', '.join(stale)}, so the results do "
                "not belong there: run again on the newest commit (the data is on the DVC remote, so stages whose "
                "inputs are the same will not run again)",
                step="push",
            )

    def _changed_stages(self, old: str, new: str) -> set[tuple[str, str]]:
        """Returns (dvc.yaml, stage name) of each stage whose entry in dvc.lock differs between two commits."""
        found: set[tuple[str, str]] = set()
        for path in self._results.paths:
            if path.endswith("dvc.lock"):
                before, after = (self._repository.read_file(sha, path) or b"" for sha in (old, new))
                names = changed_stages(before, after)
                found |= {(path.removesuffix(".lock") + ".yaml", name) for name in names}
        return found
