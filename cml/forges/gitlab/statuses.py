"""Commit statuses, and the results of a run in their addresses: a duplicate run reads them from there.

The address of a status is that of the report, with `?cml=KEY-SHA-VERDICT-EXIT_CODE-CHANGED-TAG` in it: a status has no
other field that a reader does not see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote, unquote

from cml.forges.base import Context, DuplicateRun, Outputs, Publication
from cml.forges.gitlab.client import NO_WAIT, GitLabClient

LIMIT = 255  # characters of the description, and of the address
RESULTS = re.compile(
    r"\?cml=(?P<key>[0-9a-f]+)-(?P<sha>[0-9a-f]{40,64})-(?P<verdict>passed|failed|none)"
    r"-(?P<exit_code>[03])-(?P<changed>[01])-(?P<tag>[^#]*)"
)


class FinishedRun(NamedTuple):
    """A run that has set its status; the key says which work it did."""

    key: str
    run: DuplicateRun


class GitLabStatuses:
    """The statuses of one report name. Methods raise the errors of the API."""

    def __init__(self, client: GitLabClient, context: Context, *, name: str) -> None:
        self._client = client
        self._context = context
        self._name = name

    def find(self, sha: str) -> Iterator[FinishedRun]:
        """Yields the runs that set a status on a commit, without their reports."""
        wanted = {"name": self._name, "all": True}  # not as arguments: there, `all` is an option of the library
        for status in self._client.statuses(sha).list(query_parameters=wanted, iterator=True, **NO_WAIT):
            address = status.target_url or ""
            found = RESULTS.search(address)
            if found is None:
                # Set by another program under the same name, or by a run that must not be used.
                continue
            url = RESULTS.sub("", address)
            outputs = Outputs(
                changed=found["changed"] == "1",
                sha=found["sha"],
                tag=unquote(found["tag"]),
                verdict=found["verdict"],
                report_url=url,
            )
            yield FinishedRun(found["key"], DuplicateRun(url=url, outputs=outputs, exit_code=int(found["exit_code"])))

    def set(self, sha: str, verdict: str, description: str, url: str) -> None:
        """Sets the status of a commit."""
        fields = {
            "state": "failed" if verdict == "failed" else "success",
            "name": self._name,
            "description": description[:LIMIT],
            "target_url": url,
        }
        if sha == self._client.job.sha:
            # In this very pipeline the status decides about the merge request.
            fields["pipeline_id"] = self._client.job.pipeline
        elif self._context.push_branch:
            fields["ref"] = self._context.push_branch
        self._client.statuses(sha).create(fields, **NO_WAIT)

    def address(self, url: str, *, key: str = "", publication: Publication | None = None) -> str:
        """Returns the address of a status: the page with the results in it, else, if that is too long, the job's."""
        results = _results(key, publication) if publication and publication.is_complete else ""
        run_url = self._context.run_url or ""
        page, mark, anchor = url.partition("#")
        for address in (f"{page}{results}{mark}{anchor}", f"{run_url}{results}", run_url):
            if len(address) <= LIMIT:
                return address
        return ""


def _results(key: str, publication: Publication) -> str:
    outputs = publication.outputs
    fields = (
        key,
        outputs.sha,
        outputs.verdict,
        publication.exit_code,
        int(outputs.changed),
        quote(outputs.tag, safe=""),
    )
    return "?cml=" + "-".join(map(str, fields))
