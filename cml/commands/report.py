"""The commands that only report: `cml report` (the work tree) and `cml compare` (two revisions)."""

from __future__ import annotations

from pathlib import Path

from cml.dvc.project import Project
from cml.errors import BadInput
from cml.model.report import Baseline
from cml.report.judgement import gates_failed
from cml.run import report_folder
from cml.run.baseline import find_baseline
from cml.run.collect import collect
from cml.run.context import Command
from cml.run.head import find_head
from cml.run.links import add_links
from cml.run.outcome import Subject
from cml.run.preflight import check_report_settings, has_changes
from cml.run.render import write_report

FOLDER = Path(report_folder.FOLDER)


def report(command: Command) -> int:
    """`cml report`: compares the work tree with the baseline. Returns the exit code."""
    repository = command.repository
    head = find_head(repository, command.context)
    project = command.open_project()
    template = check_report_settings(command.settings)
    baseline = find_baseline(repository, command.settings, command.context, head)
    # Outputs in the cache may be changed as well, and git does not see those.
    is_changed = has_changes(repository, project) or project.has_changed_outputs()
    subject = Subject(sha=head, has_workspace_changes=is_changed, hash_workspace=True)
    return _print(command, project, subject, baseline, template)


def compare(command: Command, old: str, new: str) -> int:
    """`cml compare A B`: compares two revisions; the work tree is not read. Returns the exit code."""
    old_sha, new_sha = _resolve(command, old), _resolve(command, new)
    project = command.open_project()
    template = check_report_settings(command.settings)
    baseline = Baseline(name=old, sha=old_sha, reason=f"against {new}")
    return _print(command, project, Subject(sha=new_sha, revision=new_sha), baseline, template)


def _resolve(command: Command, revision: str) -> str:
    # A leading dash would be an option for git.
    sha = None if revision.startswith("-") else command.repository.resolve(revision)
    if sha is None:
        raise BadInput(f"no commit {revision!r} in this clone: expected a branch, a tag or a commit")
    return sha


def _print(
    command: Command, project: Project, subject: Subject, baseline: Baseline | None, template: str | None
) -> int:
    repository, settings, log = command.repository, command.settings, command.log
    report_folder.check_folder(is_tracked=repository.has_tracked_files(report_folder.FOLDER))
    repository.exclude(f"{report_folder.FOLDER}/")
    report_folder.clear(FOLDER, keep_plots=True)
    found = collect(project, repository, settings, log, subject=subject, baseline=baseline, folder=FOLDER)
    found = add_links(found, command.context)
    command.stdout.write(write_report(found, FOLDER, settings=settings, template=template, log=log))
    command.stdout.flush()
    if found.verdict == "failed":
        log.error(gates_failed(found))
        return 3
    return 0
