"""Jobs and pipelines of the stand-in GitLab. Not modelled: artifacts, logs, retrying, cancelling."""

from __future__ import annotations

from standins import gitlab_json as write
from standins.gitlab_call import Call, found, page
from standins.gitlab_model import Job, Pipeline
from standins.gitlab_rules import not_found, refuse
from standins.web import Response, json_response

PIPELINE_FILTERS = ("sha", "ref", "source", "status")
JOB_FILTERS = ("scope[]", "scope")
JOB_STATES = ("created", "pending", "running", "success", "failed", "canceling", "canceled", "skipped", "manual")


def _number(call: Call) -> int:
    if not call.parameters["id"].isdecimal():
        raise refuse(400, "id is invalid", key="error")
    return int(call.parameters["id"])


def _pipeline(call: Call) -> Pipeline:
    return found(call.project.pipelines.get(_number(call)))


def _show(call: Call, job: Job) -> write.Json:
    return write.job(call.state, call.project, job)


def get_job(call: Call) -> Response:
    return json_response(_show(call, found(call.project.jobs.get(_number(call)))))


def list_jobs(call: Call) -> Response:
    """Lists jobs of the states in `scope[]`, the newest first, without a count. Some versions accept a job token, too."""
    wanted = [value for name, value in call.request.pairs if name in JOB_FILTERS]
    if not set(wanted) <= set(JOB_STATES):
        raise refuse(400, "scope does not have a valid value", key="error", note="wrong scope")
    jobs = [one for one in call.project.jobs.values() if not wanted or one.status in wanted]
    return page(call, jobs[::-1], lambda one: _show(call, one), is_counted=False)


def get_own_job(call: Call) -> Response:
    """Returns the job of a job token."""
    if call.token is None or call.token.job is None:
        raise not_found("Job")
    project = call.state.projects[call.token.project or ""]
    return json_response(write.job(call.state, project, project.jobs[call.token.job]))


def get_pipeline(call: Call) -> Response:
    return json_response(write.pipeline(call.state, call.project, _pipeline(call), single=True))


def list_pipelines(call: Call) -> Response:
    """Lists the newest first."""
    rows = [write.pipeline(call.state, call.project, one) for one in reversed(call.project.pipelines.values())]
    wanted = {name: call.request.query[name] for name in PIPELINE_FILTERS if name in call.request.query}
    return page(call, [row for row in rows if all(row[name] == value for name, value in wanted.items())])


def list_pipeline_jobs(call: Call) -> Response:
    """Lists the newest first, without retried jobs."""
    number, everything = _pipeline(call).id, call.request.query.get("include_retried") == "true"
    jobs = [one for one in call.project.jobs.values() if one.pipeline == number and (everything or not one.is_retried)]
    return page(call, jobs[::-1], lambda one: _show(call, one))
