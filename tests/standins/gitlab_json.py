"""The JSON of the stand-in GitLab: the fields that clients read, with GitLab's names. Nothing is decided here."""

from __future__ import annotations

from typing import Any

from standins.git_http import git, is_ancestor, resolve
from standins.gitlab_model import LEVELS, Job, MergeRequest, Note, Pipeline, Project, Release, Status, Token, Upload
from standins.gitlab_state import State

Json = dict[str, Any]
IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
FINAL = ("success", "failed", "canceled", "skipped")


def user(state: State, login: str) -> Json:
    return {
        "id": state.user_id(login),
        "username": login,
        "public_email": "",
        "name": login.capitalize(),
        "state": "active",
        "locked": False,
        "avatar_url": None,
        "web_url": f"{state.base}/{login}",
    }


def me(state: State, token: Token) -> Json:
    """A user in its own eyes."""
    email = f"{token.login}@example.invalid"
    more = {
        "bot": token.kind != "personal",
        "email": email,
        "commit_email": email,
        "is_admin": False,
        "two_factor": True,
    }
    return {**user(state, token.login), **more, "created_at": "2024-01-01T00:00:00.000Z"}


def project(state: State, item: Project, token: Token | None = None) -> Json:
    url, role = state.url(item), token.role_in(item.path) if token else None
    access = {"access_level": LEVELS[role], "notification_level": 3} if role else None
    parent = state.projects[item.parent] if item.parent else None
    data: Json = {
        "id": item.id,
        "description": None,
        "name": item.name,
        "name_with_namespace": item.path.replace("/", " / "),
        "path": item.name,
        "path_with_namespace": item.path,
        "created_at": "2024-01-01T00:00:00.000Z",
        "default_branch": item.default_branch,
        "visibility": "private" if item.private else "public",
        "archived": False,
        "web_url": url,
        "http_url_to_repo": f"{url}.git",
        "readme_url": None,
        "namespace": {"full_path": item.namespace, "path": item.namespace.rpartition("/")[2], "kind": "group"},
        "empty_repo": not item.branches(),
        "merge_requests_enabled": True,
        "jobs_enabled": True,
        "public_jobs": True,
        "ci_default_git_depth": 20,
        "permissions": {"project_access": access, "group_access": None},
    }
    if parent:
        data["forked_from_project"] = {
            "id": parent.id,
            "path_with_namespace": parent.path,
            "web_url": state.url(parent),
        }
    if LEVELS[role] >= LEVELS["maintainer"]:
        data["ci_push_repository_for_job_token_allowed"] = item.job_token_may_push
    return data


def commit(state: State, item: Project, sha: str) -> Json:
    form = "--format=%H%x00%P%x00%aI%x00%an%x00%ae%x00%cI%x00%cn%x00%ce%x00%s%x00%B"
    text = git("show", "--no-patch", form, sha, cwd=item.bare)
    full, parents, authored, author, author_email, committed, committer, committer_email, title, message = text.split(
        "\0"
    )
    return {
        "id": full,
        "short_id": full[:8],
        "created_at": committed,
        "parent_ids": parents.split(),
        "title": title,
        "message": message.rstrip("\n") + "\n",
        "author_name": author,
        "author_email": author_email,
        "authored_date": authored,
        "committer_name": committer,
        "committer_email": committer_email,
        "committed_date": committed,
        "trailers": {},
        "web_url": f"{state.url(item)}/-/commit/{full}",
    }


def branch(state: State, item: Project, name: str, sha: str, token: Token | None) -> Json:
    level, developer = LEVELS[token.role_in(item.path) if token else None], LEVELS["developer"]
    push, merge = item.level(name, "push"), item.level(name, "merge")
    is_protected = bool(item.branch_rules(name))
    default = resolve(item.bare, f"refs/heads/{item.default_branch}")
    is_merged = name != item.default_branch and default is not None and is_ancestor(item.bare, sha, default)
    return {
        "name": name,
        "commit": commit(state, item, sha),
        "merged": is_merged,
        "protected": is_protected,
        "developers_can_push": is_protected and developer >= push,
        "developers_can_merge": is_protected and developer >= merge,
        "can_push": level >= push,
        "default": name == item.default_branch,
        "web_url": f"{state.url(item)}/-/tree/{name}",
    }


def tag(state: State, item: Project, name: str, sha: str) -> Json:
    release = item.releases.get(name)
    release_data = {"tag_name": name, "description": release.description} if release else None
    data = {"name": name, "message": "", "target": sha, "commit": commit(state, item, sha), "release": release_data}
    return {**data, "protected": bool(item.tag_rules(name)), "created_at": None}


def merge_request(state: State, item: Project, one: MergeRequest, *, single: bool = False) -> Json:
    source = state.projects[one.source_project]
    notes = sum(note.merge_request == one.iid and not note.is_system for note in item.notes)
    data = {
        "id": one.id,
        "iid": one.iid,
        "project_id": item.id,
        "title": one.title,
        "description": one.description,
        "state": one.state,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "merged_at": one.merged_at,
        "closed_at": one.closed_at,
        "source_branch": one.source_branch,
        "target_branch": one.target_branch,
        "source_project_id": source.id,
        "target_project_id": item.id,
        "author": user(state, one.login),
        "assignees": [],
        "reviewers": [],
        "labels": [],
        "draft": one.draft,
        "work_in_progress": one.draft,
        "merge_status": "can_be_merged" if one.merge_sha else "cannot_be_merged",
        "detailed_merge_status": "mergeable" if one.merge_sha else "conflict",
        "has_conflicts": one.merge_sha is None,
        "sha": one.sha,
        "merge_commit_sha": one.merge_sha if one.state == "merged" else None,
        "squash_commit_sha": None,
        "user_notes_count": notes,
        "references": {"short": f"!{one.iid}", "relative": f"!{one.iid}", "full": f"{item.path}!{one.iid}"},
        "web_url": f"{state.url(item)}/-/merge_requests/{one.iid}",
    }
    if single:
        base = git("merge-base", one.sha, one.target_sha, cwd=item.bare)
        data["diff_refs"] = {"base_sha": base, "head_sha": one.sha, "start_sha": base}
        data["diverged_commits_count"] = None
    return data


def note(state: State, item: Project, one: Note) -> Json:
    return {
        "id": one.id,
        "type": None,
        "body": one.body,
        "author": user(state, one.login),
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "system": one.is_system,
        "noteable_id": item.merge_requests[one.merge_request].id,
        "noteable_type": "MergeRequest",
        "project_id": item.id,
        "resolvable": False,
        "confidential": False,
        "internal": False,
        "imported": False,
        "imported_from": "none",
        "noteable_iid": one.merge_request,
        "commands_changes": {},
    }


def release(state: State, item: Project, one: Release) -> Json:
    sha, url = item.tags().get(one.tag_name), state.url(item)
    return {
        "tag_name": one.tag_name,
        "name": one.name,
        "description": one.description,
        "created_at": one.created_at,
        "released_at": one.released_at,
        "upcoming_release": False,
        "author": user(state, one.login),
        "commit": commit(state, item, sha) if sha else None,
        "commit_path": f"/{item.path}/-/commit/{sha}" if sha else None,
        "tag_path": f"/{item.path}/-/tags/{one.tag_name}",
        "assets": {"count": 0, "sources": [], "links": []},
        "evidences": [],
        "_links": {"self": f"{url}/-/releases/{one.tag_name}", "edit_url": f"{url}/-/releases/{one.tag_name}/edit"},
    }


def status(state: State, one: Status) -> Json:
    kept = (
        "id",
        "sha",
        "ref",
        "name",
        "target_url",
        "description",
        "created_at",
        "started_at",
        "finished_at",
        "coverage",
    )
    data = {name: getattr(one, name) for name in kept}
    more = {"status": one.state, "stage": "external", "allow_failure": False, "pipeline_id": one.pipeline}
    return {**data, **more, "author": user(state, one.login)}


def job_status(state: State, item: Project, one: Job) -> Json:
    """A job in the list of a commit's statuses."""
    run = item.pipelines[one.pipeline]
    kept = ("id", "name", "stage", "status", "created_at", "started_at", "finished_at")
    data = {name: getattr(one, name) for name in kept}
    more = {"sha": run.sha, "ref": run.ref, "target_url": None, "description": None, "coverage": None}
    return {**data, **more, "allow_failure": False, "pipeline_id": run.id, "author": user(state, one.login)}


def pipeline_status(item: Project, one: Pipeline) -> str:
    """The status of a pipeline, by its jobs and statuses."""
    states = [job.status for job in item.jobs.values() if job.pipeline == one.id and not job.is_retried]
    states += [status.state for status in item.statuses if status.pipeline == one.id and not status.is_retried]
    for word in ("running", "pending", "failed", "canceled", "success"):
        if word in states:
            return "running" if word == "pending" and set(states) & set(FINAL) else word
    return "skipped" if states else "created"


def pipeline(state: State, item: Project, one: Pipeline, *, single: bool = False) -> Json:
    finished = [job.finished_at for job in item.jobs.values() if job.pipeline == one.id and job.finished_at]
    word = pipeline_status(item, one)
    data = {
        "id": one.id,
        "iid": one.iid,
        "project_id": item.id,
        "sha": one.sha,
        "ref": one.ref,
        "status": word,
        "source": one.source,
        "created_at": one.created_at,
        "updated_at": max([one.created_at, *finished]),
        "web_url": f"{state.url(item)}/-/pipelines/{one.id}",
    }
    if single:
        data |= {"before_sha": one.before_sha, "tag": one.is_tag, "user": user(state, one.login), "coverage": None}
        data |= {"started_at": one.created_at, "finished_at": max(finished) if word in FINAL and finished else None}
    return data


def job(state: State, item: Project, one: Job) -> Json:
    run = item.pipelines[one.pipeline]
    return {
        "id": one.id,
        "status": one.status,
        "stage": one.stage,
        "name": one.name,
        "ref": run.ref,
        "tag": run.is_tag,
        "coverage": None,
        "allow_failure": False,
        "created_at": one.created_at,
        "started_at": one.started_at,
        "finished_at": one.finished_at,
        "erased_at": None,
        "duration": None,
        "user": user(state, one.login),
        "commit": commit(state, item, run.sha),
        "pipeline": pipeline(state, item, run),
        "web_url": f"{state.url(item)}/-/jobs/{one.id}",
        "project": {"ci_job_token_scope_enabled": False},
        "artifacts": [],
        "runner": None,
        "tag_list": [],
    }


def upload(state: State, item: Project, one: Upload) -> Json:
    """`full_path` is a path on the host; it begins with the path of GitLab, if there is one."""
    image = one.name.lower().endswith(IMAGES)
    alt = one.name.rpartition(".")[0] if image else one.name
    url, root = f"/uploads/{one.secret}/{one.name}", "/".join(state.base.split("/")[3:])
    data = {"id": one.id, "alt": alt, "url": url, "markdown": f"{'!' if image else ''}[{alt}]({url})"}
    return {**data, "full_path": f"{'/' + root if root else ''}/-/project/{item.id}{url}"}
