"""Pull requests of the stand-in GitHub, and the comments on them."""

from __future__ import annotations

from collections.abc import Sequence

from standins import github_json as write
from standins.git_http import is_ancestor
from standins.github_call import Call, found, page
from standins.github_rules import invalid, refuse
from standins.github_state import Comment, Pull
from standins.web import Response, json_response

COMMENT_LIMIT = 65536
COMMENT_FIELDS = {"body!": str}


def _show_pulls(call: Call, pulls: Sequence[Pull]) -> Response:
    return page(call, pulls, lambda pull: write.pull(call.state, call.repository, pull))


def list_pulls(call: Call) -> Response:
    """`head` must be owner:branch; GitHub ignores one without a colon."""
    query = call.request.query
    pulls = sorted(call.repository.pulls.values(), key=lambda pull: pull.number)
    if (wanted := query.get("state", "open")) != "all":
        pulls = [pull for pull in pulls if pull.state == wanted]
    if ":" in query.get("head", ""):
        pulls = [pull for pull in pulls if query["head"] == f"{pull.head_repository.split('/')[0]}:{pull.head_branch}"]
    if base := query.get("base"):
        pulls = [pull for pull in pulls if pull.base_branch == base]
    return _show_pulls(call, pulls if query.get("direction") == "asc" else pulls[::-1])


def list_commit_pulls(call: Call) -> Response:
    """Lists the merged ones if the commit is on the default branch, else all."""
    sha, repo = call.commit(call.parameters["ref"]), call.repository
    is_on_default = is_ancestor(repo.bare, sha, f"refs/heads/{repo.default_branch}")
    pulls = [
        pull
        for pull in repo.pulls.values()
        if (pull.is_merged or not is_on_default)
        and is_ancestor(repo.bare, sha, pull.head_sha)
        and (pull.is_merged or not is_ancestor(repo.bare, sha, pull.base_sha))
    ]
    return _show_pulls(call, pulls)


def _pull(call: Call) -> Pull:
    number = call.parameters["number"]
    return found(call.repository.pulls.get(int(number) if number.isdecimal() else 0))


def get_pull(call: Call) -> Response:
    return json_response(write.pull(call.state, call.repository, _pull(call)))


def get_issue(call: Call) -> Response:
    return json_response(write.issue(call.state, call.repository, _pull(call)))


def list_comments(call: Call) -> Response:
    number, since = _pull(call).number, call.request.query.get("since", "")
    comments = [one for one in call.repository.comments if one.issue == number and one.updated_at >= since]
    return page(call, comments, lambda comment: write.comment(call.state, call.repository, comment))


def _comment_text(call: Call) -> str:
    text: str = call.body["body"]
    if not text.strip():
        raise invalid("IssueComment", "data", "Body cannot be blank", code="unprocessable")
    if len(text) > COMMENT_LIMIT:
        message = f"Body is too long (maximum is {COMMENT_LIMIT} characters)"
        raise invalid("IssueComment", "data", message, code="unprocessable")
    return text


def create_comment(call: Call) -> Response:
    now = call.state.now()
    comment = Comment(
        id=call.state.next_id(),
        issue=_pull(call).number,
        body=_comment_text(call),
        login=call.login,
        app_id=call.app_id,
        created_at=now,
        updated_at=now,
    )
    call.repository.comments.append(comment)
    data = write.comment(call.state, call.repository, comment)
    return json_response(data, status=201, headers={"Location": data["url"]})


def _comment(call: Call) -> Comment:
    return found(next((one for one in call.repository.comments if str(one.id) == call.parameters["id"]), None))


def _own_comment(call: Call) -> Comment:
    """Returns a comment that the token may change: its own, or with write access anybody's."""
    comment = _comment(call)
    if call.token and call.token.kind == "personal" and call.token.access == "read" and comment.login != call.login:
        raise refuse(403, "Must have admin rights to Repository.")
    return comment


def get_comment(call: Call) -> Response:
    return json_response(write.comment(call.state, call.repository, _comment(call)))


def update_comment(call: Call) -> Response:
    comment = _own_comment(call)
    comment.body, comment.updated_at = _comment_text(call), call.state.now()
    return json_response(write.comment(call.state, call.repository, comment))


def delete_comment(call: Call) -> Response:
    call.repository.comments.remove(_own_comment(call))
    return Response(status=204)
