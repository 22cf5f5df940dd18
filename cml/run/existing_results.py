"""Runs whose results exist already: a run that is skipped, and a run that has a duplicate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cml.forges.base import DuplicateRun, Outputs, Published
from cml.git.repository import Repository
from cml.git.trailers import head_of_results
from cml.run.origin import fetch_descendant
from cml.run.report_folder import report_path, set_outputs

if TYPE_CHECKING:
    from cml.run.context import Command
    from cml.run.head import Skip


def skip_run(command: Command, head: str, skip: Skip) -> int:
    """Ends a run that is skipped, and returns the exit code."""
    command.log.step("skip", skip.reason)
    # A pull request that was opened after its branch had its results does not show a report yet.
    if command.context.pull and skip.results:
        _publish_results(command, skip.results)
    set_outputs(command.repository, command.forge, Outputs(skipped=True, sha=head))
    return 0


def use_duplicate(command: Command, duplicate: DuplicateRun, head: str) -> int:
    """Uses the results of a duplicate run, or leaves the work to it if it is still running. Returns the exit code."""
    log, forge, repository = command.log, command.forge, command.repository
    if duplicate.outputs is None:
        log.step("duplicate", f"another run is already processing this commit: {duplicate.url}")
        set_outputs(repository, forge, Outputs(skipped=True, sha=head, report_url=duplicate.url))
        return 0
    log.step("duplicate", f"another run has already processed this commit, and its results are used: {duplicate.url}")
    outputs = duplicate.outputs
    duplicate = _add_report(command, duplicate, outputs.sha)
    published = _publish(command, duplicate)
    outputs = outputs._replace(report=report_path(repository), report_url=published.url or outputs.report_url)
    set_outputs(repository, forge, outputs, markdown=duplicate.markdown)
    return duplicate.exit_code


def are_results_on_branch(repository: Repository, duplicate: DuplicateRun, branch: str | None) -> bool:
    """Whether the results of a duplicate run are on the branch where this run would push them: somebody may have reset
    the branch since.
    """
    outputs = duplicate.outputs
    # Without new results there is no results commit that could be missing.
    if outputs is None or not outputs.changed or not branch:
        return True
    return fetch_descendant(repository, branch=branch, sha=outputs.sha) is not None


def _publish_results(command: Command, results: str) -> None:
    """Publishes the report of a results commit to the pull request, unless it shows one already."""
    forge = command.forge
    duplicate = forge.find_results(results) or DuplicateRun(url="", has_open_check=True)
    previous = head_of_results(command.repository.commit(results).message)
    if duplicate.has_open_check and previous:
        forge.end_abandoned(previous)
    if not duplicate.markdown and not forge.has_report():
        duplicate = _add_report(command, duplicate, results)
    _publish(command, duplicate)


def _add_report(command: Command, duplicate: DuplicateRun, sha: str) -> DuplicateRun:
    # It needs DVC and Jinja, and most skipped runs do not get here.
    from cml.run.publish import add_report

    return add_report(command, duplicate, sha)


def _publish(command: Command, duplicate: DuplicateRun) -> Published:
    published = command.forge.publish_existing_results(duplicate)
    for warning in published.warnings:
        command.log.warning(warning)
    return published
