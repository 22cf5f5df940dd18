"""The predefined variables that GitLab's runner gives to a job.

Paths are those of the machine. A test that starts a container maps them, and adds the variables of the user. Not
modelled: variables of the runner, of the registry and of deployments.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from standins.git_http import git
from standins.gitlab_model import Job, Pipeline, Project
from standins.gitlab_state import State


def environment(state: State, project: Project, pipeline: Pipeline, job: Job, *, builds: Path) -> dict[str, str]:
    """Returns the predefined variables of a job."""
    server, url = urlsplit(state.base), state.url(project)
    is_default_port = server.port in (None, 80, 443)
    credentials = f"gitlab-ci-token:{job.token}@{server.netloc}"
    target = state.projects[pipeline.merge_request_project] if pipeline.merge_request_project else None
    open_ones = _open_merge_requests(state, project, pipeline)
    return {
        "CI": "true",
        "GITLAB_CI": "true",
        "CI_API_V4_URL": state.api,
        "CI_API_GRAPHQL_URL": f"{state.base}/api/graphql",
        "CI_BUILDS_DIR": str(builds),
        "CI_DEFAULT_BRANCH": project.default_branch,
        "CI_JOB_ID": str(job.id),
        "CI_JOB_NAME": job.name,
        "CI_JOB_STAGE": job.stage,
        "CI_JOB_STARTED_AT": job.started_at,
        "CI_JOB_STATUS": "running",
        "CI_JOB_TOKEN": job.token,
        "CI_REGISTRY_USER": "gitlab-ci-token",
        "CI_REGISTRY_PASSWORD": job.token,
        "CI_DEPENDENCY_PROXY_USER": "gitlab-ci-token",
        "CI_DEPENDENCY_PROXY_PASSWORD": job.token,
        "CI_JOB_URL": f"{url}/-/jobs/{job.id}",
        "CI_PIPELINE_CREATED_AT": pipeline.created_at,
        "CI_PIPELINE_ID": str(pipeline.id),
        "CI_PIPELINE_IID": str(pipeline.iid),
        "CI_PIPELINE_SOURCE": pipeline.source,
        "CI_PIPELINE_URL": f"{url}/-/pipelines/{pipeline.id}",
        "CI_PROJECT_DIR": str(builds / project.path),
        "CI_PROJECT_ID": str(project.id),
        "CI_PROJECT_NAME": project.name,
        "CI_PROJECT_NAMESPACE": project.namespace,
        "CI_PROJECT_PATH": project.path,
        "CI_PROJECT_PATH_SLUG": _slug(project.path),
        "CI_PROJECT_ROOT_NAMESPACE": project.path.partition("/")[0],
        "CI_PROJECT_TITLE": project.name,
        "CI_PROJECT_URL": url,
        "CI_PROJECT_VISIBILITY": "private" if project.private else "public",
        "CI_REPOSITORY_URL": f"{server.scheme}://{credentials}{server.path}/{project.path}.git",
        "CI_SERVER": "yes",
        "CI_SERVER_FQDN": (server.hostname if is_default_port else server.netloc) or "",
        "CI_SERVER_HOST": server.hostname or "",
        "CI_SERVER_NAME": "GitLab",
        "CI_SERVER_PORT": str(server.port or 80),
        "CI_SERVER_PROTOCOL": server.scheme,
        "CI_SERVER_URL": state.base,
        "CI_SERVER_VERSION": "18.6.0",
        "GITLAB_USER_EMAIL": f"{pipeline.login}@example.invalid",
        "GITLAB_USER_ID": str(state.user_id(pipeline.login)),
        "GITLAB_USER_LOGIN": pipeline.login,
        "GITLAB_USER_NAME": pipeline.login.capitalize(),
        **_commit(project, pipeline),
        **({"CI_OPEN_MERGE_REQUESTS": ",".join(open_ones)} if open_ones else {}),
        **(_merge_request(state, target, pipeline) if target else {}),
    }


def _commit(project: Project, pipeline: Pipeline) -> dict[str, str]:
    form = "%aI%x00%an <%ae>%x00%s%x00%B"
    when, author, title, message = git("show", "--no-patch", f"--format={form}", pipeline.sha, cwd=project.bare).split(
        "\0"
    )
    name = pipeline.source_branch or pipeline.ref
    is_protected = bool(project.tag_rules(name) if pipeline.is_tag else project.branch_rules(pipeline.ref))
    variables = {
        "CI_COMMIT_AUTHOR": author,
        "CI_COMMIT_BEFORE_SHA": pipeline.before_sha,
        "CI_COMMIT_DESCRIPTION": message.partition("\n")[2].strip(),
        "CI_COMMIT_MESSAGE": f"{message}\n",
        "CI_COMMIT_REF_NAME": name,
        "CI_COMMIT_REF_PROTECTED": str(is_protected).lower(),
        "CI_COMMIT_REF_SLUG": _slug(name),
        "CI_COMMIT_SHA": pipeline.sha,
        "CI_COMMIT_SHORT_SHA": pipeline.sha[:8],
        "CI_COMMIT_TIMESTAMP": when,
        "CI_COMMIT_TITLE": title,
    }
    if pipeline.is_tag:
        return {**variables, "CI_COMMIT_TAG": name, "CI_COMMIT_TAG_MESSAGE": ""}
    return variables if pipeline.merge_request else {**variables, "CI_COMMIT_BRANCH": name}


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


def _open_merge_requests(state: State, project: Project, pipeline: Pipeline) -> list[str]:
    if pipeline.is_tag:
        return []
    branch = pipeline.source_branch or pipeline.ref
    return [
        f"{other.path}!{item.iid}"
        for other in state.projects.values()
        for item in other.merge_requests.values()
        if (item.state, item.source_project, item.source_branch) == ("opened", project.path, branch)
    ][:4]


def _merge_request(state: State, target: Project, pipeline: Pipeline) -> dict[str, str]:
    item = target.merge_requests[pipeline.merge_request or 0]
    source = state.projects[item.source_project]
    facts = {
        "APPROVED": "true",
        "DESCRIPTION": item.description,
        "DIFF_BASE_SHA": git("merge-base", item.sha, item.target_sha, cwd=target.bare),
        "DIFF_ID": str(item.id),
        "DRAFT": str(item.draft).lower(),
        "EVENT_TYPE": pipeline.event_type or "",
        "ID": str(item.id),
        "IID": str(item.iid),
        "PROJECT_ID": str(target.id),
        "PROJECT_PATH": target.path,
        "PROJECT_URL": state.url(target),
        "REF_PATH": f"refs/merge-requests/{item.iid}/head",
        "SOURCE_BRANCH_NAME": item.source_branch,
        "SOURCE_BRANCH_PROTECTED": str(bool(source.branch_rules(item.source_branch))).lower(),
        "SOURCE_BRANCH_SHA": pipeline.source_sha,
        "SOURCE_PROJECT_ID": str(source.id),
        "SOURCE_PROJECT_PATH": source.path,
        "SOURCE_PROJECT_URL": state.url(source),
        "SQUASH_ON_MERGE": "false",
        "TARGET_BRANCH_NAME": item.target_branch,
        "TARGET_BRANCH_PROTECTED": str(bool(target.branch_rules(item.target_branch))).lower(),
        "TARGET_BRANCH_SHA": pipeline.target_sha,
        "TITLE": item.title,
    }
    return {f"CI_MERGE_REQUEST_{name}": value for name, value in facts.items()}
