"""Everything that a run does with GitHub's API. A run that needs no API does not import this module."""

from __future__ import annotations

from cml.forges.base import Context
from cml.forges.github.checks import CheckRuns
from cml.forges.github.client import GitHubClient
from cml.forges.github.comments import Comments
from cml.forges.github.context import GitHubJob
from cml.forges.github.errors import read_error, warnings_of
from cml.forges.github.statuses import GitHubStatuses
from cml.forges.retry import ApiCalls


class GitHubApi:
    """The check runs, statuses and comments of one report name, and the calls to them, retried by `calls`."""

    def __init__(self, context: Context, job: GitHubJob, token: str, *, report_name: str, comment_mode: str) -> None:
        client = GitHubClient(job, context.slug, token)
        url = context.run_url or ""
        self.calls = ApiCalls(read_error)
        self.statuses = GitHubStatuses(client, name=report_name, target_url=url)
        self.check_runs = CheckRuns(client, job, self.statuses, name=report_name, details_url=url)
        self.comments = Comments(client, context, job, name=report_name, mode=comment_mode)

    def warnings(self) -> tuple[str, ...]:
        return warnings_of(self.calls.problems)
