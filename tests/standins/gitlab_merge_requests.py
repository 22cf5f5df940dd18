"""Merge requests of the stand-in GitLab."""

from __future__ import annotations

from collections.abc import Callable

from standins import gitlab_json as write
from standins.git_http import is_ancestor
from standins.gitlab_call import Call, page
from standins.gitlab_model import MergeRequest
from standins.gitlab_rules import refuse
from standins.web import Response, json_response

STATES = ("opened", "closed", "locked", "merged", "all")
FILTERS = ("state", "source_branch", "target_branch", "iids[]", "author_username", "scope", "order_by", "sort")


def get(call: Call) -> Response:
    return json_response(write.merge_request(call.state, call.project, call.merge_request(), single=True))


def list_all(call: Call) -> Response:
    """Lists the newest first. A source branch may be in any project, so in a fork, too."""
    query = dict(call.request.query)
    if query.get("state", "all") not in STATES:
        raise refuse(400, "state does not have a valid value", key="error", note="wrong state")
    iids = [value for name, value in call.request.pairs if name == "iids[]"]
    tests: dict[str, Callable[[MergeRequest, str], bool]] = {
        "state": lambda one, value: value in ("all", one.state),
        "source_branch": lambda one, value: value == one.source_branch,
        "target_branch": lambda one, value: value == one.target_branch,
        "iids[]": lambda one, _: str(one.iid) in iids,
        "author_username": lambda one, value: value == one.login,
    }
    if query.get("scope", "all").replace("-", "_") == "created_by_me":
        query["author_username"] = call.login if call.token else ""
    wanted = [(test, query[name]) for name, test in tests.items() if name in query]
    items = [one for one in call.project.merge_requests.values() if all(test(one, value) for test, value in wanted)]
    order, sort = call.order("created_at", "updated_at")
    items.sort(key=lambda one: (getattr(one, order), one.id), reverse=sort == "desc")
    return page(call, items, lambda one: write.merge_request(call.state, call.project, one))


def list_of_commit(call: Call) -> Response:
    """Lists the merge requests that contain a commit."""
    sha, bare = call.commit(call.parameters["sha"]), call.project.bare
    items = [
        one
        for one in call.project.merge_requests.values()
        if is_ancestor(bare, sha, one.sha) and (one.state == "merged" or not is_ancestor(bare, sha, one.target_sha))
    ]
    return page(call, items[::-1], lambda one: write.merge_request(call.state, call.project, one))
