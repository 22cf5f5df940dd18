"""Whether GitLab allows a push to a branch."""

from __future__ import annotations

from cml.forges.gitlab.client import NO_WAIT, GitLabClient


def find_push_refusal(client: GitLabClient, name: str) -> str | None:
    """Returns why the token may not push to a branch, or None if it may or if GitLab does not say. Raises the errors of
    the API.
    """
    # The list, and not the branch itself: a job token may read only the list.
    branches = client.project.branches.list(search=f"^{name}", iterator=True, **NO_WAIT)
    branch = next((each for each in branches if each.name == name), None)
    if branch is None or branch.attributes.get("can_push") is not False:
        return None
    if branch.attributes.get("protected"):
        return "the branch is protected, and the role of the token may not push to it"
    return "the role of the token may not push"
