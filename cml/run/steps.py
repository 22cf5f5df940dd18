"""The steps that a run and a job of a plan have in common: setup, stages, and access to DVC remotes."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator

from cml.dvc.logging import one_line
from cml.dvc.project import Project
from cml.dvc.reproduce import StageFailed
from cml.errors import WorkFailed
from cml.forges.base import Context
from cml.git.command import GitFailed
from cml.process.signals import run_in_thread
from cml.remotes.errors import StorageError, explain
from cml.run.context import Command

# What a git command raises that fails, or that takes too long.
GIT_ERRORS = (GitFailed, subprocess.TimeoutExpired)
MISSING_PACKAGE = re.compile(r"ModuleNotFoundError: No module named '([\w.-]{1,80})'")


class NoRemoteAccess(Exception):
    """The run of a fork's pull request gets no secrets, so that it cannot read the DVC remotes."""


class Steps:
    """Steps that work in an open project. Each raises WorkFailed if it fails."""

    def __init__(self, command: Command, project: Project) -> None:
        self._command = command
        self._settings = command.settings
        self._repository = command.repository
        self._context = command.context
        self._log = command.log
        self._project = project

    def set_up(self) -> None:
        """Runs the lines of `setup` in a shell."""
        if not self._settings.setup:
            return
        with self._log.capture_output("setup") as tail:
            # No stdin: a command that asks a question must fail, and not wait for an answer until the job times out.
            command = ["sh", "-e", "-c", self._settings.setup]
            code = run_in_thread(lambda: subprocess.run(command, stdin=subprocess.DEVNULL).returncode)
        if code:
            message = f"a command failed with exit code {code}: read its output"
            raise WorkFailed(message, step="setup", log_tail=tail.text)
        # It may have changed dvc.yaml, params or data.
        self._project.reload()
        self._log.step("setup", "done")

    def run_stages(self, targets: tuple[str, ...], *, pull_missing: bool, alone: bool = False) -> None:
        """Reproduces the targets and shows their output live; with `alone` without the stages that they depend on."""
        with self._log.capture_output("reproduce") as tail:
            try:
                run_in_thread(lambda: self._project.reproduce(targets, pull_missing=pull_missing, alone=alone))
            except Exception as error:
                # With `dvc_pull: auto` it is here that a fork's run finds that it has no access to the remote.
                has_failed_stage = any(run.status == "failed" for run in self._project.runs)
                if pull_missing and is_fork(self._context) and not has_failed_stage:
                    raise NoRemoteAccess(one_line(error)) from error
                if isinstance(error, StorageError):
                    raise self._storage_failed(error, step="pull") from error
                if not isinstance(error, StageFailed):
                    raise
                message = f"the stage {error.stage} failed: {error.reason}{_advice(tail.text)}"
                raise WorkFailed(message, step="reproduce", log_tail=tail.text) from error
        self._log_stages()

    def _log_stages(self) -> None:
        counts = {
            "ran": "ran",
            "restored": "restored from the run cache",
            "up to date": "up to date",
            "frozen": "frozen",
        }
        parts = []
        for status, text in counts.items():
            if count := sum(run.status == status for run in self._project.runs):
                parts.append(f"{count} {text}")
        self._log.step("reproduce", ", ".join(parts) or "the project has no stages")

    @contextlib.contextmanager
    def _transfer(self, step: str) -> Iterator[None]:
        """For code that reads or writes DVC remotes: masks what their libraries print, and turns a StorageError into
        WorkFailed.
        """
        try:
            with self._log.capture_output(step):
                yield
        except StorageError as error:
            raise self._storage_failed(error, step=step) from error

    def _storage_failed(self, error: StorageError, *, step: str) -> WorkFailed:
        check = self._command.credentials.check(error.remote)
        return WorkFailed(explain(error.remote, check, error.problem), step=step)


def is_fork(context: Context) -> bool:
    """Whether the run is for the pull request of a fork."""
    return context.pull is not None and context.pull.is_fork


def _advice(log_tail: str) -> str:
    """Returns advice for a stage that lacks a Python package: stages cannot use the packages that CML has installed."""
    missing = MISSING_PACKAGE.search(log_tail)
    if not missing:
        return ""
    name = missing[1].partition(".")[0]
    return f". The Python package {name} is missing: add it to your requirements, and install them in `setup`"
