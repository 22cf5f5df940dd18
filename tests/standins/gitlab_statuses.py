"""Commit statuses of the stand-in GitLab, with GitLab's state machine.

A status belongs to a pipeline: the given one, else the newest of its commit (and its ref, if given), else a new one with
the source "external". A pending or running status of the same name, pipeline and user changes its state. Otherwise a new
status replaces those of the same name. Possible changes: created to pending ("enqueue"), pending to running ("run"),
created or pending to skipped, and created, pending or running to success, failed or canceled. So the same state twice is
refused, and also the name of a job of the pipeline.
Not modelled: the limit of jobs in a pipeline, the lock of one commit's statuses, allow_failure.
"""

from __future__ import annotations

from typing import Any

from standins import gitlab_json as write
from standins.git_http import git
from standins.gitlab_call import TRUE, Call, page
from standins.gitlab_model import Pipeline, Status
from standins.gitlab_pipelines import may_update
from standins.gitlab_rules import forbidden, not_found, refuse
from standins.web import Response, json_response

STATES = ("pending", "running", "success", "failed", "canceled", "skipped")
FIELDS = {
    "state!": STATES,
    "ref": str,
    "name": str,
    "context": str,
    "target_url": str,
    "description": str,
    "coverage": float,
    "pipeline_id": int,
}
FILTERS = ("name", "ref", "stage", "pipeline_id", "all", "order_by", "sort")
LENGTH = 255
# The wanted state -> its event, and the states that it can follow.
MOVES = {
    "pending": ("enqueue", ("created",)),
    "running": ("run", ("created", "pending")),
    "success": ("success", ("created", "pending", "running")),
    "failed": ("drop", ("created", "pending", "running")),
    "canceled": ("cancel", ("created", "pending", "running")),
    "skipped": ("skip", ("created", "pending")),
}


def list_statuses(call: Call) -> Response:
    """Lists the statuses and jobs of a commit, the oldest first, without those that a later one has replaced."""
    sha, query = call.commit(call.parameters["sha"]), call.request.query
    everything = query.get("all", "").lower() in TRUE
    pipelines = {one.id for one in call.project.pipelines.values() if one.sha == sha}
    rows: list[dict[str, Any]] = [
        write.status(call.state, one)
        for one in call.project.statuses
        if one.pipeline in pipelines and (everything or not one.is_retried)
    ]
    rows += [
        write.job_status(call.state, call.project, one)
        for one in call.project.jobs.values()
        if one.pipeline in pipelines and (everything or not one.is_retried)
    ]
    for name in ("name", "ref", "stage", "pipeline_id"):
        if query.get(name):
            rows = [row for row in rows if str(row[name]) == query[name]]
    order, sort = call.order("id", "pipeline_id", sort="asc")
    return page(call, sorted(rows, key=lambda row: int(row[order]), reverse=sort == "desc"))


def create_status(call: Call) -> Response:
    sha, body = call.commit(call.parameters["sha"]), call.body
    pipeline = _pipeline(call, sha)
    assert call.token
    if not may_update(call.project, pipeline, call.token.role_in(call.project.path)):
        raise forbidden()
    name = str(body.get("name") or body.get("context") or "default")
    status = next((one for one in call.project.statuses if _is_open(one, call, pipeline, name)), None)
    is_new = status is None
    if status is None:
        status = Status(
            id=call.state.next_id(),
            sha=sha,
            ref=pipeline.ref,
            pipeline=pipeline.id,
            name=name,
            login=call.login,
            created_at=call.state.now(),
        )
    _check(call, status)
    _move(call, status)
    for field in ("target_url", "description", "coverage"):
        if field in body:
            setattr(status, field, body[field])
    if is_new:
        call.project.statuses.append(status)
    for other in call.project.statuses:
        other.is_retried |= other is not status and (other.pipeline, other.name) == (pipeline.id, name)
    return json_response(write.status(call.state, status), status=201)


def _is_open(one: Status, call: Call, pipeline: Pipeline, name: str) -> bool:
    is_same = (one.pipeline, one.name, one.login) == (pipeline.id, name, call.login)
    return is_same and one.state in ("pending", "running")


def _pipeline(call: Call, sha: str) -> Pipeline:
    """Returns the pipeline of a status; creates it if needed."""
    ref, wanted = call.body.get("ref"), call.body.get("pipeline_id")
    pipelines = [
        one
        for one in reversed(call.project.pipelines.values())
        if one.sha == sha and ref in (None, one.ref) and str(wanted or one.id) == str(one.id)
    ]
    if pipelines:
        return pipelines[0]
    ref = ref or next(iter(_branches_with(call, sha)), None)
    if ref is None:
        raise not_found("References for commit")
    if wanted:
        raise not_found("Pipeline for pipeline_id, sha and ref")
    pipeline = Pipeline(
        id=call.state.next_id(),
        iid=len(call.project.pipelines) + 1,
        source="external",
        ref=ref,
        sha=sha,
        login=call.login,
        created_at=call.state.now(),
    )
    call.project.pipelines[pipeline.id] = pipeline
    return pipeline


def _branches_with(call: Call, sha: str) -> list[str]:
    listed = git("for-each-ref", "--format=%(refname)", f"--contains={sha}", "refs/heads", cwd=call.project.bare)
    return [ref.removeprefix("refs/heads/") for ref in listed.splitlines()]


def _check(call: Call, status: Status) -> None:
    """Raises Refused for wrong fields, naming all of them."""
    wrong: dict[str, list[str]] = {}
    if any(job.pipeline == status.pipeline and job.name == status.name for job in call.project.jobs.values()):
        wrong["name"] = ["has already been taken"]
    for field in ("ref", "target_url", "description"):
        if len(str(call.body.get(field) or "")) > LENGTH:
            wrong[field] = [f"is too long (maximum is {LENGTH} characters)"]
    url = call.body.get("target_url")
    if url and not str(url).startswith(("http://", "https://")):
        wrong.setdefault("target_url", []).append("is blocked: Only allowed schemes are http, https")
    if wrong:
        raise refuse(400, wrong)


def _move(call: Call, status: Status) -> None:
    state, now = str(call.body["state"]), call.state.now()
    event, starts = MOVES[state]
    if status.state not in starts:
        reason = f'(Reason(s): Status cannot transition via "{event}")'
        raise refuse(400, f"Cannot transition status via :{event} from :{status.state} {reason}")
    status.state = state
    if state == "running":
        status.started_at = now
    if state in ("success", "failed", "canceled"):
        status.finished_at = now
