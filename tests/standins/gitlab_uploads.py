"""Files that are uploaded to a project of the stand-in GitLab. As by default, everybody with the address gets the file."""

from __future__ import annotations

import hashlib
import mimetypes

from standins import gitlab_json as write
from standins.gitlab_call import Call
from standins.gitlab_model import Upload
from standins.gitlab_rules import refuse
from standins.gitlab_state import State
from standins.web import Response, json_response

FIELDS = {"avatar": str}  # python-gitlab sends this empty field with every file


def create_upload(call: Call) -> Response:
    if "file" not in call.files:
        raise refuse(400, "file is missing", key="error", note="no file")
    name, content = call.files["file"]
    if len(content) > call.state.upload_limit:
        raise refuse(413, "413 Request Entity Too Large")
    number = call.state.next_id()
    secret = hashlib.sha256(f"upload {number}".encode()).hexdigest()[:32]
    upload = Upload(id=number, secret=secret, name=name, content=content, login=call.login)
    call.project.uploads.append(upload)
    return json_response(write.upload(call.state, call.project, upload), status=201)


def serve_upload(state: State, place: str, secret: str, name: str) -> Response | None:
    """Returns an uploaded file, or None; `place` is the project's id or path."""
    for project in state.projects.values():
        for upload in project.uploads:
            if place in (str(project.id), project.path) and (upload.secret, upload.name) == (secret, name):
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                return Response(body=upload.content, headers={"Content-Type": kind})
    return None
