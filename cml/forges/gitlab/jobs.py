"""The running jobs of the project, among them duplicate runs.

A status that says "running" would stay behind when a job is killed; the list of jobs is always right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cml.forges.base import DuplicateRun
from cml.forges.gitlab.client import NO_WAIT, GitLabClient
from cml.forges.gitlab.context import DUPLICATE_EVENTS

if TYPE_CHECKING:
    from gitlab.base import RESTObject


class Jobs:
    """Methods raise the errors of the API."""

    def __init__(self, client: GitLabClient) -> None:
        self._client = client

    def find_duplicate(self, head: str) -> DuplicateRun | None:
        """Returns the job of the same name, for the same commit and branch, if it started before this one."""
        job = self._client.job
        running = self._client.project.jobs.list(scope=["running"], iterator=True, **NO_WAIT)
        duplicates = [each for each in running if self._is_duplicate(each, head)]
        # Without this job the list is not complete, and so it does not tell which job is the first.
        if job.id not in [str(each.id) for each in duplicates]:
            return None
        first = min(duplicates, key=lambda each: (each.started_at or "", each.id))
        return None if str(first.id) == job.id else DuplicateRun(url=first.web_url)

    def _is_duplicate(self, other: RESTObject, head: str) -> bool:
        job = self._client.job
        # A pipeline for a tag has the tag as its ref, and a tag can have the name of a branch.
        return bool(
            other.name == job.name
            and other.ref in job.refs
            and not other.tag
            and other.pipeline.get("source", "push") in DUPLICATE_EVENTS
            and head in (other.commit["id"], *_merged_commits(other))
        )


def _merged_commits(job: RESTObject) -> list[str]:
    """Returns the commit that a merged-result pipeline merged: the commit of its jobs is the merge."""
    return list(job.commit.get("parent_ids", ()))[1:] if job.ref.endswith("/merge") else []
