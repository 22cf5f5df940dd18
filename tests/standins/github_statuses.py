"""Commit statuses of the stand-in GitHub, and the workflow runs and jobs that a test has set up."""

from __future__ import annotations

import re
from collections.abc import Callable

from standins import github_json as write
from standins.github_call import Call, found, page
from standins.github_rules import invalid, not_found, refuse
from standins.github_state import Run, Status
from standins.web import Response, json_response

DESCRIPTION_LIMIT = 140
FIELDS = {
    "state!": ("error", "failure", "pending", "success"),
    "target_url": str,
    "description": str,
    "context": str,
}


def create(call: Call) -> Response:
    sha, body = call.parameters["sha"], call.body
    if not re.fullmatch(r"[0-9a-f]{40}", sha) or call.repository.resolve(sha) != sha:
        raise refuse(422, f"No commit found for SHA: {sha}")
    if len(body.get("description", "")) > DESCRIPTION_LIMIT:
        raise invalid("Status", "description", f"description is too long (maximum is {DESCRIPTION_LIMIT} characters)")
    if not body.get("target_url", "http://").startswith(("http://", "https://")):
        raise invalid("Status", "target_url", "target_url must use http(s) scheme")
    status = Status(
        id=call.state.next_id(),
        sha=sha,
        state=body["state"],
        context=body.get("context", "default"),
        description=body.get("description"),
        target_url=body.get("target_url"),
        login=call.login,
        created_at=call.state.now(),
    )
    call.repository.statuses.append(status)
    return json_response(write.status(call.state, call.repository, status), status=201)


def _statuses(call: Call) -> tuple[str, list[Status]]:
    sha = call.commit(call.parameters["ref"])
    return sha, [status for status in reversed(call.repository.statuses) if status.sha == sha]


def list_for_ref(call: Call) -> Response:
    return page(call, _statuses(call)[1], lambda status: write.status(call.state, call.repository, status))


def get_combined(call: Call) -> Response:
    sha, statuses = _statuses(call)
    latest = list({status.context: status for status in reversed(statuses)}.values())
    states = {status.state for status in latest}
    bad = bool(states & {"error", "failure"})
    url = f"{call.state.api}/repos/{call.repository.full_name}/commits/{sha}"
    data = {
        "state": "failure" if bad else "pending" if "pending" in states or not states else "success",
        "statuses": [write.status(call.state, call.repository, status) for status in latest],
        "sha": sha,
        "total_count": len(latest),
        "repository": write.repository(call.state, call.repository),
        "commit_url": url,
        "url": f"{url}/status",
    }
    return json_response(data)


def _run(call: Call) -> Run:
    return found(next((run for run in call.repository.runs if str(run.id) == call.parameters["id"]), None))


def list_runs(call: Call) -> Response:
    query = call.request.query
    tests: dict[str, Callable[[Run, str], bool]] = {
        "head_sha": lambda run, value: run.head_sha == value,
        "branch": lambda run, value: run.head_branch == value,
        "event": lambda run, value: run.event == value,
        "status": lambda run, value: value in (run.status, run.conclusion),
    }
    wanted = [(test, query[name]) for name, test in tests.items() if name in query]
    runs = [run for run in reversed(call.repository.runs) if all(test(run, value) for test, value in wanted)]
    return page(call, runs, lambda run: write.run(call.state, call.repository, run), key="workflow_runs")


def get_run(call: Call) -> Response:
    return json_response(write.run(call.state, call.repository, _run(call)))


def list_jobs(call: Call) -> Response:
    run = _run(call)
    attempt = int(call.parameters.get("attempt", run.attempt))
    every = call.request.query.get("filter") == "all" and "attempt" not in call.parameters
    jobs = [job for job in run.jobs if every or job.attempt == attempt]
    return page(call, jobs, lambda job: write.job(call.state, call.repository, run, job), key="jobs")


def get_job(call: Call) -> Response:
    for run in call.repository.runs:
        for job in run.jobs:
            if str(job.id) == call.parameters["id"]:
                return json_response(write.job(call.state, call.repository, run, job))
    raise not_found()
