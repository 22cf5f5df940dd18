"""`cml plan`: lists the stages that must run, grouped into CI jobs, in the format of a CI."""

from __future__ import annotations

import os
from collections.abc import Callable

from cml.commands.parser import PlanOptions
from cml.errors import BadInput
from cml.forges.base import Context
from cml.git.repository import Repository
from cml.git.trailers import head_of_results, scope_of_results
from cml.model.plan import Plan
from cml.plan import formats
from cml.plan.grouping import NoPlan, jobs_of
from cml.plan.messages import count
from cml.plan.stale_stages import read_stale_stages
from cml.process.signals import run_in_thread
from cml.run.context import Command
from cml.run.head import checked_out, find_head, find_skip
from cml.run.origin import fetch_descendant
from cml.run.preflight import check_targets
from cml.run.steps import is_fork


def plan(command: Command, options: PlanOptions) -> int:
    """Prints the plan to stdout, and returns the exit code. Raises BadInput."""
    found = _make_plan(command, options)
    if stages := sum(len(job.stages) for job in found.jobs):
        jobs, waves = count(len(found.jobs), "job"), count(len(found.waves), "wave")
        command.log.step("plan", f"{count(stages, 'stage')} in {jobs}, {waves}")
    command.stdout.write(_format(found, command, options))
    command.stdout.flush()
    return 0


def _make_plan(command: Command, options: PlanOptions) -> Plan:
    head = find_head(command.repository, command.context)
    if reason := _find_reason_for_none(command, head):
        command.log.step("plan", f"no jobs: {reason}")
        return Plan(head=head)
    with checked_out(command.repository, head):
        project = command.open_project()
        targets = check_targets(command.settings, project)
        stale = [] if targets is None else run_in_thread(lambda: read_stale_stages(project.stale_stages(targets)))
        if not stale:
            command.log.step("plan", "no jobs: all stages are up to date")
        try:
            jobs = jobs_of(stale, max_jobs=options.max_jobs, max_waves=options.max_waves)
        except NoPlan as error:
            raise BadInput(str(error)) from None
    edges = tuple((need, stage.name) for stage in stale for need in stage.needs)
    return Plan(head=head, jobs=jobs, edges=edges)


def _find_reason_for_none(command: Command, head: str) -> str | None:
    """Returns why a commit needs no jobs, whatever its pipeline is, or None."""
    repository, context, settings = command.repository, command.context, command.settings
    if skip := find_skip(repository, context, settings, head):
        return skip.reason
    if not context.reproduces:
        return f"nothing is run for the event {context.event}"
    if is_fork(context):
        return "the run of a fork's pull request gets no secrets, so its jobs cannot exchange data on the DVC remote"
    if not context.is_ci or context.is_requested:
        return None
    results = _find_results(repository, context, head, scope=settings.scope)
    return f"the results of {head[:7]} exist already, in {results[:7]}" if results else None


def _find_results(repository: Repository, context: Context, head: str, *, scope: str) -> str | None:
    """Returns the commit on origin's branch that contains the results of this job already, or None."""
    branch = context.push_branch
    # Mostly nobody has pushed anything since, and then nothing need be fetched.
    if not branch or repository.remote_tip(branch) in (head, None):
        return None
    tip = fetch_descendant(repository, branch=branch, sha=head)
    for commit in repository.commits_between(head, tip) if tip else ():
        if head_of_results(commit.message) == head and scope_of_results(commit.message) == scope:
            return commit.sha
    return None


def _format(found: Plan, command: Command, options: PlanOptions) -> str:
    if options.format == "gitlab":
        return formats.as_gitlab(
            found,
            given=command.settings.given,
            source=command.context.event,
            defaults=_gitlab_defaults(options),
        )
    write: dict[str, Callable[[Plan], str]] = {
        "json": formats.as_json,
        "github": formats.as_github,
        "mermaid": formats.as_mermaid,
        "dvc": formats.as_dvc,
    }
    return write[options.format](found)


def _gitlab_defaults(options: PlanOptions) -> formats.GitLabDefaults:
    # The image with CUDA has the same name as the other, with this suffix.
    image = options.image or os.environ.get("CI_JOB_IMAGE", "")
    gpu_image = options.gpu_image or (f"{image}-gpu" if image else "")
    return formats.GitLabDefaults(image=image, gpu_image=gpu_image, tags=options.tags, gpu_tags=options.gpu_tags)
