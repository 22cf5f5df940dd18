"""The JSON of the stand-in GitHub: the fields that clients read, with GitHub's names. Nothing is decided here."""

from __future__ import annotations

from typing import Any

from standins.git_http import git
from standins.github_state import ACTIONS_APP, CheckRun, Comment, Job, Pull, Repository, Run, State, Status, Token

Json = dict[str, Any]
ROLES = {"read": ("pull",), "write": ("pull", "triage", "push")}
ALL_ROLES = ("admin", "maintain", "push", "triage", "pull")


def user(state: State, login: str) -> Json:
    number = sum(login.encode()) + 1000
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {
        "login": login,
        "id": number,
        "node_id": f"U_{number}",
        "type": kind,
        "site_admin": False,
        "url": f"{state.api}/users/{login}",
        "html_url": f"{state.base}/{login.replace('[bot]', '')}",
        "avatar_url": f"{state.base}/avatars/u/{number}",
    }


def app(app_id: int, slug: str) -> Json:
    name = "GitHub Actions" if app_id == ACTIONS_APP else slug
    return {"id": app_id, "slug": slug, "node_id": f"A_{app_id}", "name": name, "owner": None, "permissions": {}}


def repository(state: State, repo: Repository, token: Token | None = None) -> Json:
    """`permissions` are the roles of a person: for an installation token all are false, whatever it may do."""
    url = f"{state.api}/repos/{repo.full_name}"
    html = f"{state.base}/{repo.full_name}"
    data: Json = {
        "id": repo.id,
        "node_id": f"R_{repo.id}",
        "name": repo.name,
        "full_name": repo.full_name,
        "private": repo.private,
        "visibility": "private" if repo.private else "public",
        "owner": user(state, repo.owner),
        "html_url": html,
        "url": url,
        "clone_url": f"{html}.git",
        "git_url": f"git://{html.partition('//')[2]}.git",
        "description": None,
        "fork": repo.parent is not None,
        "default_branch": repo.default_branch,
        "archived": False,
        "disabled": False,
        "has_issues": True,
    }
    if token:
        roles = ALL_ROLES if token.access == "admin" else ROLES[token.access]
        held = roles if token.kind != "installation" else ()
        data["permissions"] = {role: role in held for role in ALL_ROLES}
    return data


def commit(state: State, repo: Repository, sha: str) -> Json:
    text = git(
        "show", "--no-patch", "--format=%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B", sha, cwd=repo.bare
    )
    tree, parents, *who, message = text.split("\0")
    url = f"{state.api}/repos/{repo.full_name}"
    git_commit = {
        "author": dict(zip(("name", "email", "date"), who[:3], strict=True)),
        "committer": dict(zip(("name", "email", "date"), who[3:], strict=True)),
        "message": message.strip("\n"),
        "tree": {"sha": tree, "url": f"{url}/git/trees/{tree}"},
        "url": f"{url}/git/commits/{sha}",
        "comment_count": 0,
        "verification": {"verified": False, "reason": "unsigned", "signature": None, "payload": None},
    }
    return {
        "sha": sha,
        "node_id": f"C_{sha}",
        "commit": git_commit,
        "url": f"{url}/commits/{sha}",
        "html_url": f"{state.base}/{repo.full_name}/commit/{sha}",
        "author": None,
        "committer": None,
        "parents": [{"sha": parent, "url": f"{url}/commits/{parent}"} for parent in parents.split()],
    }


def git_commit(state: State, repo: Repository, sha: str) -> Json:
    """The commit in the form of the git database."""
    data = commit(state, repo, sha)
    inner: Json = data["commit"]
    return {**inner, "sha": sha, "node_id": data["node_id"], "html_url": data["html_url"], "parents": data["parents"]}


def branch(state: State, repo: Repository, name: str, sha: str) -> Json:
    url = f"{state.api}/repos/{repo.full_name}"
    return {
        "name": name,
        "commit": {"sha": sha, "url": f"{url}/commits/{sha}"},
        "protected": name in repo.protected,
        "protection_url": f"{url}/branches/{name}/protection",
    }


def _side(state: State, repo: Repository, branch_name: str, sha: str) -> Json:
    return {
        "label": f"{repo.owner}:{branch_name}",
        "ref": branch_name,
        "sha": sha,
        "user": user(state, repo.owner),
        "repo": repository(state, repo),
    }


def pull(state: State, repo: Repository, item: Pull) -> Json:
    url = f"{state.api}/repos/{repo.full_name}"
    return {
        "id": item.id,
        "node_id": f"PR_{item.id}",
        "number": item.number,
        "url": f"{url}/pulls/{item.number}",
        "html_url": f"{state.base}/{repo.full_name}/pull/{item.number}",
        "issue_url": f"{url}/issues/{item.number}",
        "comments_url": f"{url}/issues/{item.number}/comments",
        "statuses_url": f"{url}/statuses/{item.head_sha}",
        "state": item.state,
        "locked": False,
        "draft": item.draft,
        "title": item.title,
        "body": item.body,
        "user": user(state, item.login),
        "labels": [],
        "author_association": "NONE" if item.head_repository != repo.full_name else "MEMBER",
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "closed_at": item.closed_at,
        "merged_at": item.closed_at if item.is_merged else None,
        "merge_commit_sha": item.merge_sha,
        "merged": item.is_merged,
        "mergeable": item.merge_sha is not None if item.state == "open" else None,
        "head": _side(state, state.repositories[item.head_repository], item.head_branch, item.head_sha),
        "base": _side(state, repo, item.base_branch, item.base_sha),
    }


def issue(state: State, repo: Repository, item: Pull) -> Json:
    """A pull request as an issue."""
    data = pull(state, repo, item)
    kept: tuple[str, ...] = ("number", "html_url", "comments_url", "state", "locked", "title", "body", "user", "labels")
    kept += ("author_association", "created_at", "updated_at", "closed_at", "id")
    links = {name: data[name] for name in ("url", "html_url")}
    total = sum(comment.issue == item.number for comment in repo.comments)
    return {**{name: data[name] for name in kept}, "url": data["issue_url"], "pull_request": links, "comments": total}


def comment(state: State, repo: Repository, item: Comment) -> Json:
    url = f"{state.api}/repos/{repo.full_name}/issues"
    html = f"{state.base}/{repo.full_name}/pull/{item.issue}"
    slug = item.login.removesuffix("[bot]")
    return {
        "id": item.id,
        "node_id": f"IC_{item.id}",
        "url": f"{url}/comments/{item.id}",
        "html_url": f"{html}#issuecomment-{item.id}",
        "issue_url": f"{url}/{item.issue}",
        "body": item.body,
        "user": user(state, item.login),
        "author_association": "CONTRIBUTOR",
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "performed_via_github_app": app(item.app_id, slug) if item.app_id else None,
    }


def check_run(state: State, repo: Repository, item: CheckRun) -> Json:
    url = f"{state.api}/repos/{repo.full_name}/check-runs/{item.id}"
    html = f"{state.base}/{repo.full_name}/runs/{item.id}"
    output = {name: item.output.get(name) for name in ("title", "summary", "text")}
    return {
        "id": item.id,
        "node_id": f"CR_{item.id}",
        "name": item.name,
        "head_sha": item.head_sha,
        "external_id": item.external_id,
        "url": url,
        "html_url": html,
        "details_url": item.details_url or html,
        "status": item.status,
        "conclusion": item.conclusion,
        "started_at": item.started_at,
        "completed_at": item.completed_at,
        "output": {**output, "annotations_count": len(item.annotations), "annotations_url": f"{url}/annotations"},
        "check_suite": {"id": item.app_id},
        "app": app(item.app_id, item.app_slug),
        "pull_requests": [],
    }


def status(state: State, repo: Repository, item: Status) -> Json:
    return {
        "id": item.id,
        "node_id": f"SC_{item.id}",
        "url": f"{state.api}/repos/{repo.full_name}/statuses/{item.sha}",
        "state": item.state,
        "context": item.context,
        "description": item.description,
        "target_url": item.target_url,
        "avatar_url": None,
        "creator": user(state, item.login),
        "created_at": item.created_at,
        "updated_at": item.created_at,
    }


def run(state: State, repo: Repository, item: Run) -> Json:
    url = f"{state.api}/repos/{repo.full_name}/actions/runs/{item.id}"
    pulls = [repo.pulls[number] for number in item.pull_numbers]
    return {
        "id": item.id,
        "node_id": f"WFR_{item.id}",
        "name": item.name,
        "display_title": item.name,
        "event": item.event,
        "status": item.status,
        "conclusion": item.conclusion,
        "head_branch": item.head_branch,
        "head_sha": item.head_sha,
        "path": ".github/workflows/cml.yml",
        "run_number": item.number,
        "run_attempt": item.attempt,
        "workflow_id": repo.id,
        "url": url,
        "html_url": f"{state.base}/{repo.full_name}/actions/runs/{item.id}",
        "jobs_url": f"{url}/jobs",
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "run_started_at": item.created_at,
        "pull_requests": [_reference(state, repo, pull) for pull in pulls],
        "repository": repository(state, repo),
        "head_repository": repository(state, state.repositories[item.head_repository]),
    }


def _reference(state: State, repo: Repository, item: Pull) -> Json:
    """A pull request as workflow runs name it, with few fields."""
    full = pull(state, repo, item)
    sides = {
        side: {
            "ref": full[side]["ref"],
            "sha": full[side]["sha"],
            "repo": {name: full[side]["repo"][name] for name in ("id", "name", "url")},
        }
        for side in ("head", "base")
    }
    return {"id": item.id, "number": item.number, "url": full["url"], **sides}


def job(state: State, repo: Repository, item: Run, one: Job) -> Json:
    url = f"{state.api}/repos/{repo.full_name}/actions"
    return {
        "id": one.id,
        "run_id": item.id,
        "run_attempt": one.attempt,
        "run_url": f"{url}/runs/{item.id}",
        "url": f"{url}/jobs/{one.id}",
        "html_url": f"{state.base}/{repo.full_name}/actions/runs/{item.id}/job/{one.id}",
        "name": one.name,
        "workflow_name": item.name,
        "head_sha": item.head_sha,
        "head_branch": item.head_branch,
        "status": one.status,
        "conclusion": one.conclusion,
        "started_at": one.started_at,
        "completed_at": one.completed_at,
        "check_run_url": f"{state.api}/repos/{repo.full_name}/check-runs/{one.id}",
        "steps": [],
    }
