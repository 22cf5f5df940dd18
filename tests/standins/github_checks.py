"""Check runs of the stand-in GitHub: who may write them, their limits, and which of them are listed."""

from __future__ import annotations

from typing import Any

from standins import github_json as write
from standins.github_call import Call, found, page
from standins.github_rules import check_length, invalid, malformed, refuse
from standins.github_state import CheckRun
from standins.web import Response, json_response

OUTPUT_LIMIT = 65535
ANNOTATIONS, ACTIONS = 50, 3
ANNOTATION_TEXT = 65536
TITLE_LIMIT = 255
CONCLUSIONS = ("action_required", "cancelled", "failure", "neutral", "success", "skipped", "timed_out")
ANNOTATION = {
    "path!": str,
    "start_line!": int,
    "end_line!": int,
    "start_column": int,
    "end_column": int,
    "annotation_level!": ("notice", "warning", "failure"),
    "message!": str,
    "title": str,
    "raw_details": str,
}
OUTPUT = {
    "summary!": str,
    "text": str,
    "annotations": [ANNOTATION],
    "images": [{"alt!": str, "image_url!": str, "caption": str}],
}
COMMON: dict[str, Any] = {
    "details_url": str,
    "external_id": str,
    "status": ("queued", "in_progress", "completed"),
    "started_at": str,
    "conclusion": CONCLUSIONS,
    "completed_at": str,
    "actions": [{"label!": str, "description!": str, "identifier!": str}],
}
CREATE = {"name!": str, "head_sha!": str, **COMMON, "output": {"title!": str, **OUTPUT}}
UPDATE = {"name": str, **COMMON, "output": {"title": str, **OUTPUT}}


def create(call: Call) -> Response:
    sha = call.body["head_sha"]
    if call.repository.resolve(sha) != sha:
        raise malformed(f"No commit found for SHA: {sha}")
    assert call.token
    check = CheckRun(
        id=call.state.next_id(),
        name=call.body["name"],
        head_sha=sha,
        app_id=call.token.app_id,
        app_slug=call.token.app_slug,
    )
    _apply(call, check)
    call.repository.check_runs.append(check)
    return json_response(write.check_run(call.state, call.repository, check), status=201)


def update(call: Call) -> Response:
    check = _check(call)
    if check.app_id != call.app_id:
        text = f"Invalid app_id `{check.app_id}` - check run can only be modified by the GitHub App that created it."
        raise refuse(403, text)
    if check.is_job and {"status", "conclusion"} & set(call.body):
        raise refuse(403, "The status of a check run that Actions created cannot be changed.")
    _apply(call, check)
    return json_response(write.check_run(call.state, call.repository, check))


def _apply(call: Call, check: CheckRun) -> None:
    """Writes the fields of a body into a check run: all of them, or none."""
    body = call.body
    _check_texts(body)
    conclusion = body.get("conclusion")
    status = "completed" if conclusion or "completed_at" in body else body.get("status", check.status)
    if status == "completed" and not (conclusion or check.conclusion):
        raise malformed('"conclusion" wasn\'t supplied.', note="missing: conclusion")
    output = dict(body.get("output", {}))
    check.annotations += output.pop("annotations", [])
    check.output |= output
    check.name = body.get("name", check.name)
    check.details_url = body.get("details_url", check.details_url)
    check.external_id = body.get("external_id", check.external_id)
    check.actions = body.get("actions", check.actions)
    check.started_at = body.get("started_at", check.started_at or call.state.now())
    check.status = status
    check.conclusion = (conclusion or check.conclusion) if status == "completed" else None
    check.completed_at = body.get("completed_at", check.completed_at or call.state.now()) if check.conclusion else None


def _check_texts(body: dict[str, Any]) -> None:
    output = body.get("output", {})
    for name in ("summary", "text"):
        text = output.get(name, "")
        check_length(text, OUTPUT_LIMIT)
        if len(text.encode("utf-8", "surrogatepass")) > OUTPUT_LIMIT:  # github/docs issue 35252
            raise invalid("CheckRun", name, f"{name} exceeds a maximum bytesize of {OUTPUT_LIMIT}")
    for items, most in ((output.get("annotations", []), ANNOTATIONS), (body.get("actions", []), ACTIONS)):
        if len(items) > most:
            raise malformed(f"No more than {most} items are allowed; {len(items)} were supplied.", note="too many")
    for annotation in output.get("annotations", []):
        check_length(annotation.get("title", ""), TITLE_LIMIT)
        check_length(annotation["message"], ANNOTATION_TEXT)
        check_length(annotation.get("raw_details", ""), ANNOTATION_TEXT)
    if not body.get("details_url", "http://").startswith(("http://", "https://")):
        raise malformed("details_url must use http or https scheme")
    if not body.get("name", "name").strip():
        raise invalid("CheckRun", "name", "name can't be blank", code="missing_field")


def _check(call: Call) -> CheckRun:
    return found(next((one for one in call.repository.check_runs if str(one.id) == call.parameters["id"]), None))


def get(call: Call) -> Response:
    return json_response(write.check_run(call.state, call.repository, _check(call)))


def list_annotations(call: Call) -> Response:
    return page(call, _check(call).annotations)


def list_for_ref(call: Call) -> Response:
    """Lists the newest first. Without filter=all, only the latest of each app and name."""
    sha, query = call.commit(call.parameters["ref"]), call.request.query
    checks = [check for check in reversed(call.repository.check_runs) if check.head_sha == sha]
    if query.get("filter", "latest") == "latest":
        latest = {(check.app_id, check.name): check.id for check in reversed(checks)}
        checks = [check for check in checks if check.id in latest.values()]
    for name, value in (("check_name", "name"), ("status", "status"), ("app_id", "app_id")):
        if name in query:
            checks = [check for check in checks if str(getattr(check, value)) == query[name]]
    return page(call, checks, lambda check: write.check_run(call.state, call.repository, check), key="check_runs")
