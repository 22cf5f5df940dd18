"""Releases and tags of the stand-in GitLab. Not modelled: assets, milestones, evidence, custom release dates."""

from __future__ import annotations

from standins import gitlab_json as write
from standins.git_http import git
from standins.gitlab_call import Call, found, page
from standins.gitlab_model import Release, Started
from standins.gitlab_rules import forbidden, not_found, refuse
from standins.web import Response, json_response

LIMIT = 1_000_000
CREATE = {"tag_name!": str, "name": str, "description": str, "ref": str, "tag_message": str}
UPDATE = {"name": str, "description": str}


def list_releases(call: Call) -> Response:
    releases = list(call.project.releases.values())[::-1]
    return page(call, releases, lambda one: write.release(call.state, call.project, one))


def get_release(call: Call) -> Response:
    release = call.project.releases.get(call.parameters["tag"])
    if release is None:
        raise not_found()
    return json_response(write.release(call.state, call.project, release))


def create_release(call: Call) -> Response:
    tag, now = str(call.body["tag_name"]), call.state.now()
    if not _may_tag(call, tag):
        raise refuse(403, "You are not allowed to create this tag as it is protected.")
    if tag in call.project.releases:
        raise refuse(409, "Release already exists")
    is_new = tag not in call.project.tags()
    target = _target(call) if is_new else ""
    description = call.body.get("description")
    if len(description or "") > LIMIT:
        raise refuse(400, f"Validation failed: Description is too long (maximum is {LIMIT} characters)")
    if is_new:
        git("update-ref", f"refs/tags/{tag}", target, "", cwd=call.project.bare)
        if call.token and call.token.kind != "job":
            call.state.started.append(Started(target, tag, "tag"))
    release = Release(
        tag_name=tag,
        name=call.body.get("name") or tag,
        description=description,
        login=call.login,
        created_at=now,
        released_at=now,
    )
    call.project.releases[tag] = release
    return json_response(write.release(call.state, call.project, release), status=201)


def update_release(call: Call) -> Response:
    tag = call.parameters["tag"]
    release = call.project.releases.get(tag)
    if release is None:
        raise not_found()
    if not _may_tag(call, tag):
        raise forbidden()
    if len(call.body.get("description") or "") > LIMIT:
        raise refuse(400, {"description": [f"is too long (maximum is {LIMIT} characters)"]})
    for name in UPDATE:
        if name in call.body:
            setattr(release, name, call.body[name])
    return json_response(write.release(call.state, call.project, release))


def list_tags(call: Call) -> Response:
    tags = sorted(call.project.tags().items(), reverse=True)
    return page(call, tags, lambda pair: write.tag(call.state, call.project, *pair))


def get_tag(call: Call) -> Response:
    name = call.parameters["tag"]
    sha = call.project.tags().get(name)
    if sha is None:
        raise not_found("Tag")
    return json_response(write.tag(call.state, call.project, name, found(sha)))


def _may_tag(call: Call, tag: str) -> bool:
    assert call.token
    return call.project.may_create_tag(call.token.role_in(call.project.path), tag)


def _target(call: Call) -> str:
    if "ref" not in call.body:
        raise refuse(422, "Ref is not specified")
    sha = call.project.resolve(str(call.body["ref"]))
    if sha is None:
        raise refuse(400, f"Target {call.body['ref']} is invalid")
    return sha
