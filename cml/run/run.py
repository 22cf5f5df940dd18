"""The class Run: the steps of a run, and what is known of its results. `workflow` calls it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from cml.dvc.project import Project
from cml.errors import WorkFailed, show_traceback
from cml.git.remote import PushOutcome
from cml.model.report import Failure
from cml.plan.messages import list_names
from cml.process.signals import in_background, run_in_thread
from cml.run.context import Command
from cml.run.origin import (
    ResultsExist,
    ask_push,
    branch_missing,
    check_existing_results,
    fetch_branch,
    push_refused,
    unreachable,
)
from cml.run.outcome import Outcome, Saved
from cml.run.preflight import AUTO, Preparation, find_uncommitted
from cml.run.publish import publish
from cml.run.save import Results, Saver, save_data
from cml.run.steps import GIT_ERRORS, NoRemoteAccess, Steps, is_fork


class Run(Steps):
    """One execution of `cml run` for one commit. A step that fails raises WorkFailed, which `work` reports."""

    # False if other jobs make the data: then they have uploaded it, too.
    _makes_data = True

    def __init__(self, command: Command, project: Project, preparation: Preparation) -> None:
        super().__init__(command, project)
        self._preparation = preparation
        self._push_answer: Callable[[], PushOutcome] | None = None
        self._is_new_branch = False
        self._is_up_to_date = False
        self._changed_paths: list[str] = []
        self._saved: Saved | None = None
        self._failure: Failure | None = None
        self._shown = preparation.head  # the commit that the report is about
        self._is_report_only = False

    @property
    def steps(self) -> Sequence[Callable[[], None]]:
        """The steps in order: data first, then commit and tag. The report follows, also after a failure."""
        return (self.check_push, self.set_up, self.pull, self.reproduce, self.save)

    @contextlib.contextmanager
    def asking_origin(self) -> Iterator[None]:
        """Asks origin in the background whether we may push, while the forge's API is asked; `check_push` waits for the
        answer.
        """
        preparation = self._preparation
        branch = preparation.branch
        if not branch:
            yield
            return
        with in_background(lambda: ask_push(self._repository, head=preparation.head, branch=branch)) as answer:
            self._push_answer = answer
            yield

    def work(self) -> None:
        """Runs the steps. Their outcome is kept for `publish`, whether they succeed or fail."""
        try:
            for step in self.steps:
                step()
        except WorkFailed as error:
            message = self._log.masks.mask(str(error))
            self._failure = Failure(step=error.step, message=message, log_tail=error.log_tail)
            self._log.error(f"{error.step}: {error}")
        except ResultsExist as found:
            self._use_existing_results(found.sha)
        except NoRemoteAccess as error:
            self._log.warning(
                "the run of a fork's pull request gets no secrets and cannot read the DVC remote, so nothing is run; "
                f"the report shows what git contains: {error}"
            )
            self._is_report_only = True
        except Exception as error:  # a defect of CML or of a library must not cost people their report and outputs
            show_traceback(error)
            message = f"unexpected {type(error).__name__}: {' '.join(str(error).split())}"
            self._failure = Failure(step="run", message=self._log.masks.mask(message))
            self._log.error(f"{message}. CML_DEBUG=1 shows where it happened; please report it")

    def publish(self) -> int:
        """Reports the outcome and publishes it. Returns the exit code."""
        outcome = Outcome(
            head=self._shown,
            baseline=self._preparation.baseline,
            template=self._preparation.template,
            changed_paths=tuple(self._changed_paths),
            saved=self._saved,
            failure=self._failure,
            is_report_only=self._is_report_only,
        )
        return publish(self._command, self._project, outcome)

    # The steps

    def check_push(self) -> None:
        """Stops the run before anything that takes time if the push at the end would be refused. Raises ResultsExist if
        a duplicate run has pushed the results.
        """
        branch, head = self._preparation.branch, self._preparation.head
        if not branch or not self._push_answer:
            return
        advice = self._context.push_advice
        # The forge's API tells more than git: protected branches, for example, are refused only at the real push.
        if reason := self._command.forge.push_refusal(branch):
            raise push_refused(reason, branch, advice)
        outcome = self._push_answer()
        self._is_new_branch = outcome.is_new
        if outcome.is_done:
            # The branch of the event was deleted since: a push must not create it again.
            if outcome.is_new and self._context.push_branch:
                raise branch_missing(branch)
        elif outcome.is_behind:
            tip = fetch_branch(self._repository, branch=branch, head=head)
            # A schedule or a person asked for this run, perhaps because the data has changed: it runs again.
            if not self._context.is_requested:
                check_existing_results(self._repository, head=head, tip=tip, key=self._preparation.key)
        else:
            raise push_refused(outcome.reason, branch, advice)

    def pull(self) -> None:
        """Pulls data from the DVC remotes."""
        self._log.step("pull", self._pull())

    def _pull(self) -> str:
        targets = self._preparation.pull_targets
        if targets is None:
            return "skipped: dvc_pull is `-`"
        if not self._project.has_cached_outputs():
            return "nothing to pull: all outputs are in git"
        if targets == AUTO:
            return "auto: only inputs of stages that must run"
        if self._check_up_to_date():
            return "all data is already in the work tree"
        try:
            with self._transfer("pull"):
                return run_in_thread(lambda: self._project.pull(targets, may_overwrite=self._context.is_ci))
        except WorkFailed as error:
            # A fork without secrets is no failure. In all other runs it is.
            if is_fork(self._context):
                raise NoRemoteAccess(str(error)) from error
            raise

    def _check_up_to_date(self) -> bool:
        """Whether the whole project is up to date, with its data in place. Then there is nothing to pull either, and
        `reproduce` need not check again.
        """
        if self._preparation.targets == ():
            self._is_up_to_date = run_in_thread(lambda: self._project.is_up_to_date((), allow_missing=False))
        return self._is_up_to_date

    def reproduce(self) -> None:
        """Runs the stages that are not up to date."""
        targets = self._preparation.targets
        is_auto = self._preparation.pull_targets == AUTO
        if targets is None:
            self._log.step("reproduce", "skipped: repro_targets is `-`")
        elif is_auto and self._project.is_up_to_date(targets, allow_missing=True):
            self._log.step("reproduce", "all stages are up to date, and nothing was pulled")
        elif self._is_up_to_date:
            self._log_stages()
        else:
            self.run_stages(targets, pull_missing=is_auto)

    def save(self) -> None:
        """Saves new results: the data, then one commit, then one push of branch and tag."""
        head, branch = self._preparation.head, self._preparation.branch
        changed = self._repository.changed_files()
        self._changed_paths = self._project.written_by_dvc(changed, lambda path: self._repository.read_file(head, path))
        if not self._changed_paths:
            if branch:
                # Results that somebody committed by hand may not be on a DVC remote yet: that is checked here, too.
                has_news = any(stage.status in ("ran", "restored") for stage in self._project.runs)
                self._save_data(upload=has_news and self._makes_data)
            self._log.step("save", "nothing changed, nothing to commit")
        elif not branch:
            self._log.step(
                "save", f"{self._preparation.no_push}, so these stay here: {list_names(self._changed_paths)}"
            )
        else:
            # The order matters: whoever finds the commit must find its data.
            self._require_same_sources()
            self._save_data(upload=self._makes_data)
            try:
                self._saved = self._saver(branch).save()
            except GIT_ERRORS as error:
                raise unreachable(error) from error

    def _require_same_sources(self) -> None:
        edited = find_uncommitted(self._repository, self._project)
        if edited := [path for path in edited if path not in self._changed_paths]:
            raise WorkFailed(
                f"{list_names(edited)} changed during the run, and stages depend on it, so no commit contains what "
                "the results were made from. Commit it and run again",
                step="push",
            )

    def _save_data(self, *, upload: bool) -> None:
        with self._transfer("push"):
            run_in_thread(lambda: save_data(self._project, self._log, head=self._preparation.head, upload=upload))

    def _saver(self, branch: str) -> Saver:
        results = Results(
            head=self._preparation.head,
            paths=tuple(self._changed_paths),
            branch=branch,
            is_new_branch=self._is_new_branch,
            tag_prefix=self._settings.tag_prefix,
            subject=self._settings.commit_message,
            key=self._preparation.key,
            scope=self._settings.scope,
            use_existing=not self._context.is_requested,
            identity=self._context.identity,
            advice=self._context.push_advice,
        )
        return Saver(self._repository, self._project, self._log, results)

    def _use_existing_results(self, sha: str) -> None:
        """Uses the results that a duplicate run has pushed, or this run itself before it was killed: the report is
        about them, and the work tree is moved to them if possible.
        """
        repository, prefix, head = self._repository, self._settings.tag_prefix, self._preparation.head
        tag = f"{prefix}{repository.short_sha(sha)}" if prefix else ""
        changed = sorted(repository.changed_between(head, sha))
        # Files that a killed run has written already need no checkout, and must not be in its way.
        same = repository.unchanged_in_work_tree(sha, changed)
        is_updated = repository.move_head_to(
            sha, branch=self._preparation.branch or "", head=head, paths=same, tag=tag or None
        )
        rest = "" if is_updated else "; your work tree was not updated: git pull"
        self._log.step("duplicate", f"another run has already saved the results of this commit in {sha[:7]}{rest}")
        self._saved = Saved(sha=sha, tag=tag)
        self._changed_paths = changed
        self._shown, self._is_report_only = sha, True
