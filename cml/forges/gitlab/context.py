"""The pipeline of a GitLab job: what to work on, and where to push. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from cml.errors import BadInput
from cml.forges.base import Context, PullRequest
from cml.git.commits import Identity

PUSH_ADVICE = (
    "set GITLAB_TOKEN to a project access token (role Developer, scopes api and write_repository), or allow job tokens "
    "to push (Settings > CI/CD > Job token permissions); for a protected branch the token needs a role that may push "
    "to it"
)
# Only these start two pipelines for the same work. Pipelines of other sources may have other variables.
DUPLICATE_EVENTS = ("push", "merge_request_event")


class GitLabJob(NamedTuple):
    """What the runner says about the job: the address of the API, and the ids of job, pipeline and project.

    `merge_project` is the project of the merge request; the pipeline of a fork runs in another project. `refs` are the
    refs of all pipelines for this job's branch: the branch itself, and its open merge requests.
    """

    url: str
    project: str
    merge_project: str
    merge_url: str
    id: str
    name: str
    pipeline: str
    sha: str
    refs: tuple[str, ...]
    ca_file: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> GitLabJob:
        project = environment.get("CI_PROJECT_ID") or environment.get("CI_PROJECT_PATH", "")
        return cls(
            url=environment.get("CI_API_V4_URL", "").rstrip("/").removesuffix("/api/v4"),
            project=project,
            merge_project=environment.get("CI_MERGE_REQUEST_PROJECT_ID") or project,
            merge_url=environment.get("CI_MERGE_REQUEST_PROJECT_URL") or environment.get("CI_PROJECT_URL", ""),
            id=environment.get("CI_JOB_ID", ""),
            name=environment.get("CI_JOB_NAME", ""),
            pipeline=environment.get("CI_PIPELINE_ID", ""),
            sha=environment.get("CI_COMMIT_SHA", ""),
            refs=_refs(environment),
            ca_file=environment.get("CI_SERVER_TLS_CA_FILE") or None,
        )


def read_context(environment: Mapping[str, str]) -> Context:
    """Returns the context of a GitLab job. Raises BadInput if the variables of a merge request are incomplete."""
    merge = _merge_request(environment)
    tag = environment.get("CI_COMMIT_TAG")
    name = environment.get("GITLAB_USER_NAME")
    return Context(
        forge_name="gitlab",
        event=_source(environment),
        head=merge.head if merge else environment.get("CI_COMMIT_SHA") or None,
        push_branch=merge.branch if merge else environment.get("CI_COMMIT_BRANCH") or None,
        no_push=_no_push(environment, merge, tag),
        target_branch=merge.target if merge else None,
        default_branch=environment.get("CI_DEFAULT_BRANCH") or None,
        identity=Identity(name=name, email=environment.get("GITLAB_USER_EMAIL", "")) if name else None,
        pull=merge,
        pull_query="" if merge else environment.get("CI_COMMIT_BRANCH", ""),
        job=environment.get("CI_JOB_NAME", ""),
        run=environment.get("CI_PIPELINE_ID", ""),
        machine=environment.get("CI_RUNNER_DESCRIPTION", ""),
        slug=environment.get("CI_PROJECT_PATH", ""),
        project_url=environment.get("CI_PROJECT_URL") or None,
        run_url=environment.get("CI_JOB_URL") or None,
        push_advice=PUSH_ADVICE,
    )


def _merge_request(environment: Mapping[str, str]) -> PullRequest | None:
    number = environment.get("CI_MERGE_REQUEST_IID", "")
    if not number:
        return None
    branch = environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "")
    target = environment.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", "")
    # In a merged-result pipeline CI_COMMIT_SHA is a merge commit that is on no branch. In other pipelines
    # CI_MERGE_REQUEST_SOURCE_BRANCH_SHA is empty.
    head = environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or environment.get("CI_COMMIT_SHA", "")
    if not number.isdecimal() or not branch or not target or not head:
        raise BadInput(
            f"CI_MERGE_REQUEST_IID is {number!r}: expected a number, and the source branch, target branch and commit "
            "of the merge request in the other CI_MERGE_REQUEST_ variables, as GitLab sets them"
        )
    source = environment.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
    return PullRequest(
        number=int(number),
        head=head,
        branch=branch,
        target=target,
        is_fork=source != environment.get("CI_MERGE_REQUEST_PROJECT_ID"),
        is_open=True,
        fetch_ref=f"refs/merge-requests/{number}/head",
    )


def _no_push(environment: Mapping[str, str], merge: PullRequest | None, tag: str | None) -> str | None:
    """Returns why nothing is pushed for this kind of pipeline, or None if results are pushed."""
    if merge and merge.is_fork:
        return "the merge request comes from a fork"
    if environment.get("CI_MERGE_REQUEST_EVENT_TYPE") == "merge_train":
        return "a merge train never pushes"
    if tag:
        return "the run is for a tag, not for a branch"
    if _source(environment) == "external_pull_request_event":
        return "the branch is on another host"
    return None


def _source(environment: Mapping[str, str]) -> str:
    """Returns what started the pipeline. For the child pipeline of a plan: what started its parent."""
    source = environment.get("CI_PIPELINE_SOURCE", "")
    return environment.get("CML_PIPELINE_SOURCE", source) if source == "parent_pipeline" else source


def _refs(environment: Mapping[str, str]) -> tuple[str, ...]:
    branch = environment.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or environment.get("CI_COMMIT_BRANCH")
    project = environment.get("CI_PROJECT_PATH", "")
    # It also lists merge requests of this branch in other projects, as GROUP/PROJECT!NUMBER with commas.
    merges = re.findall(rf"(?:^|,){re.escape(project)}!(\d+)(?=,|$)", environment.get("CI_OPEN_MERGE_REQUESTS", ""))
    if own := environment.get("CI_MERGE_REQUEST_IID"):
        merges.append(own)
    refs = [f"refs/merge-requests/{number}/{kind}" for number in dict.fromkeys(merges) for kind in ("head", "merge")]
    return (branch, *refs) if branch else ()
