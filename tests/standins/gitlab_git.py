"""Git and the pages of the stand-in GitLab: who may fetch and push, with GitLab's own messages, and the pipelines that a
push starts.
"""

from __future__ import annotations

import re
import threading
import urllib.parse
from pathlib import Path

from standins import gitlab_rules as rules
from standins.base import git_refusal, html_page
from standins.git_http import SERVICES, git, serve
from standins.gitlab_hooks import refusals
from standins.gitlab_model import LEVELS, Project, Started, Token
from standins.gitlab_state import State
from standins.gitlab_uploads import serve_upload
from standins.web import Exchange, Request, Response

DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or you're "
    "required to use a token instead of a password. If a token was provided, it was either incorrect, expired, or "
    "improperly scoped."
)
UNSEEN = "The project you were looking for could not be found or you don't have permission to view it."
HIDDEN = ("refs/merge-requests", "refs/pipelines", "refs/keep-around", "refs/environments")
SKIP = re.compile(r"\[(ci[ _-]skip|skip[ _-]ci)\]", re.IGNORECASE)


def answer(state: State, request: Request, exchange: Exchange, *, hooks: Path) -> Response:
    """Answers requests under BASE/GROUP/NAME: git if the path has .git, else a page."""
    service = next((service for service in SERVICES if request.path.endswith(service)), None)
    root = urllib.parse.urlsplit(state.base).path
    path = urllib.parse.unquote(request.path.removeprefix(root))
    if not service:
        return _page(state, path, exchange)
    name = path.removesuffix(service).strip("/")
    if not name.endswith(".git"):
        query = urllib.parse.urlencode(request.query)
        return Response(status=301, headers={"Location": f"{state.base}/{name}.git{service}?{query}"})
    project = state.projects.get(name.removesuffix(".git"))
    is_push = "git-receive-pack" in (service + request.query.get("service", ""))
    token, refusal = _admit(state, request, project, is_push=is_push)
    if refusal:
        return refusal
    assert project
    state.refresh(project)
    pushed = hooks / f"pushed-{threading.get_ident()}"
    return serve(
        request,
        project.bare,
        service,
        user=token.login if token else "",
        hooks=hooks,
        hidden=HIDDEN,
        settings=[("receive.advertisePushOptions", "true")],
        variables={
            "STANDIN_RULES": refusals(project, token.role_in(project.path) if token else None),
            "STANDIN_PUSHED": str(pushed),
        },
        after_push=lambda: _follow(state, project, token, pushed),
    )


def _admit(
    state: State, request: Request, project: Project | None, *, is_push: bool
) -> tuple[Token | None, Response | None]:
    """Returns the token of a git request, and the refusal, if it is refused."""
    if len(request.authorizations) > 1:
        return None, _refuse(400, "Bad Request")
    pair = rules.basic(request)
    token = _token(state, *pair) if pair else None
    if pair and token is None:
        return None, _refuse(401, DENIED)
    if token is None and (is_push or project is None or project.private):
        return None, _refuse(401, DENIED)
    if token and token.kind == "job" and project and not rules.sees(token, project):
        here = state.projects[token.project or ""].path
        return token, _refuse(403, f"Authentication by CI/CD job token not allowed from {here} to {project.path}.")
    if project is None or not rules.sees(token, project):
        return token, _refuse(404, UNSEEN)
    if is_push and token and not _may_upload(token, project):
        return token, _refuse(403, "You are not allowed to upload code.")
    if not rules.allows(token, project, "read_code"):
        return token, _refuse(403, "You are not allowed to download code from this project.")
    if is_push and token and LEVELS[token.role_in(project.path)] < LEVELS["developer"]:
        return token, _refuse(403, "You are not allowed to push code to this project.")
    return token, None


def _token(state: State, user: str, password: str) -> Token | None:
    """Returns the token of a password: a job token only with its own user name, other tokens with any name."""
    token = state.tokens.get(password)
    if token is None or token.is_expired or token.is_revoked or rules.is_over(state, token):
        return None
    if token.kind == "job":
        return token if user == "gitlab-ci-token" else None
    return token if user and {"read_repository", "write_repository", "api"} & set(token.scopes) else None


def _may_upload(token: Token, project: Project) -> bool:
    if token.kind == "job":
        return project.job_token_may_push and token.project == project.path
    return bool({"write_repository", "api"} & set(token.scopes))


def _refuse(status: int, text: str) -> Response:
    return git_refusal(status, text, realm="GitLab")


# Pushes


def _follow(state: State, pushed: Project, token: Token | None, record: Path) -> None:
    """Updates the merge requests after a push, and records the pipelines that it starts: none for a job token."""
    lines = record.read_text().splitlines() if record.exists() else []
    record.unlink(missing_ok=True)
    for project in state.projects.values():
        if any(item.source_project == pushed.path for item in project.merge_requests.values()) or project is pushed:
            state.refresh(project)
    if token is None or token.kind == "job":
        return
    options = {line.removeprefix("option ") for line in lines if line.startswith("option ")}
    for _, new, ref in (line.split(" ", 2) for line in lines if not line.startswith("option ")):
        if set(new) != {"0"}:
            _start(state, pushed, new, ref, is_skipped=bool({"ci.skip", "ci.no_pipeline"} & options))


def _start(state: State, project: Project, new: str, ref: str, *, is_skipped: bool) -> None:
    sha = git("rev-parse", f"{new}^{{commit}}", cwd=project.bare)
    message = git("show", "--no-patch", "--format=%B", sha, cwd=project.bare)
    kind, name = ("tag", ref.removeprefix("refs/tags/")) if ref.startswith("refs/tags/") else ("branch", ref[11:])
    if not is_skipped and not SKIP.search(message):
        state.started.append(Started(sha, name, "tag" if kind == "tag" else "branch"))
    for other in state.projects.values():
        for item in other.merge_requests.values():
            is_of_it = (item.source_project, item.source_branch) == (project.path, name)
            if kind == "branch" and is_of_it and item.state == "opened":
                state.started.append(Started(sha, f"refs/merge-requests/{item.iid}/head", "merge_request"))


# Pages


def _page(state: State, path: str, exchange: Exchange) -> Response:
    """Answers for uploads, and for the pages of a public project. Nobody can sign in."""
    if match := re.fullmatch(r"/(?:-/project/(\d+)|(.+?))/uploads/([0-9a-f]{32})/([^/]+)", path):
        upload = serve_upload(state, match[1] or match[2], match[3], match[4])
        if upload:
            return upload
    name, _, rest = path.strip("/").partition("/-/")
    project = state.projects.get(name)
    is_public = project is not None and not project.private
    is_there = bool(project and is_public and _has_page(project, rest.split("/") if rest else []))
    return html_page(exchange, path, is_there=is_there)


def _has_page(project: Project, parts: list[str]) -> bool:
    match parts:
        case []:
            return True
        case ["commit" | "tree" | "tags" | "compare", *ref]:
            return project.resolve("/".join(ref)) is not None
        case ["merge_requests", number]:
            return number in map(str, project.merge_requests)
        case ["jobs", number]:
            return number in map(str, project.jobs)
        case ["pipelines", number]:
            return number in map(str, project.pipelines)
        case ["releases", tag]:
            return tag in project.releases
    return False
