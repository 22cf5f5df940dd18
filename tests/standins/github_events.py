"""The event's JSON file, and the environment that the runner gives to every step of a job.

Paths are those of the machine. A test that starts a container maps them (/github/workspace, /github/home, ...) as the
runner does. Inputs, secrets and tokens are not here: the workflow passes them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from standins import github_json as write
from standins.git_http import git, is_ancestor
from standins.github_state import CheckRun, Job, Pull, Repository, Run, State

Json = dict[str, Any]
EventName = Literal[
    "push",
    "pull_request",
    "pull_request_target",
    "workflow_run",
    "workflow_dispatch",
    "schedule",
    "merge_group",
    "issue_comment",
]
NOBODY = "0" * 40


@dataclass(frozen=True, kw_only=True)
class Event:
    """`ref` and `sha` become GITHUB_REF and GITHUB_SHA; the workflow run is listed under `head_*`."""

    name: EventName
    payload: Json
    ref: str
    sha: str
    head_sha: str
    head_branch: str | None
    head_repository: str
    pull: Pull | None = None


def describe(
    state: State,
    repo: Repository,
    name: EventName,
    *,
    action: str | None = None,
    ref: str | None = None,
    before: str | None = None,
    pull: int | None = None,
    run: int | None = None,
    inputs: dict[str, str] | None = None,
    actor: str = "ada",
) -> Event:
    """Returns the event as GitHub would send it now.

    `ref`: of a push or dispatch; a branch, unless it begins with refs/. `before`: the commit before a push (default: the
    parent). `pull`: the number of the pull request. `run`: the workflow run that a workflow_run event is about.
    """
    default = f"refs/heads/{repo.default_branch}"
    full_ref = ref if ref and ref.startswith("refs/") else f"refs/heads/{ref or repo.default_branch}"
    common = {"repository": write.repository(state, repo), "sender": write.user(state, actor)}
    match name:
        case "pull_request" | "pull_request_target":
            assert pull, f"{name} needs a pull request"
            return _pull_request(state, repo, name, repo.pulls[pull], action or "synchronize", common, before)
        case "push":
            payload = _push(state, repo, full_ref, before, actor)
        case "workflow_dispatch":
            payload = {"inputs": inputs or {}, "ref": full_ref, "workflow": ".github/workflows/cml.yml"}
        case "workflow_run":
            about = next(one for one in repo.runs if one.id == run)
            full_ref = default
            payload = {"action": action or "completed", "workflow_run": write.run(state, repo, about)}
        case "issue_comment":
            assert pull, f"{name} needs a pull request"
            full_ref = default
            comment = next(one for one in reversed(repo.comments) if one.issue == pull)
            payload = {"action": action or "created", "issue": write.issue(state, repo, repo.pulls[pull])}
            payload["comment"] = write.comment(state, repo, comment)
        case "merge_group":
            assert pull, f"{name} needs a pull request"
            full_ref, payload = _merge_group(state, repo, repo.pulls[pull])
        case "schedule":
            return _on(repo, name, {"schedule": "0 6 * * *"}, default)  # GitHub sends nothing else
    return _on(repo, name, {**payload, **common}, full_ref)


def _on(repo: Repository, name: EventName, payload: Json, ref: str) -> Event:
    sha = payload.get("after") or git("rev-parse", f"{ref}^{{commit}}", cwd=repo.bare)
    branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    home = repo.full_name
    return Event(name=name, payload=payload, ref=ref, sha=sha, head_sha=sha, head_branch=branch, head_repository=home)


def _pull_request(
    state: State, repo: Repository, name: EventName, pull: Pull, action: str, common: Json, before: str | None
) -> Event:
    payload = {"action": action, "number": pull.number, "pull_request": write.pull(state, repo, pull), **common}
    if action == "synchronize":
        payload |= {"before": before or NOBODY, "after": pull.head_sha}
    ref, sha = f"refs/pull/{pull.number}/merge", pull.merge_sha or pull.head_sha
    if name == "pull_request_target":
        ref, sha = f"refs/heads/{pull.base_branch}", pull.base_sha
    elif pull.is_merged:
        ref, sha = f"refs/heads/{pull.base_branch}", git("rev-parse", f"refs/heads/{pull.base_branch}", cwd=repo.bare)
    return Event(
        name=name,
        payload=payload,
        ref=ref,
        sha=sha,
        head_sha=pull.head_sha,
        head_branch=pull.head_branch,
        head_repository=pull.head_repository,
        pull=pull,
    )


def _push(state: State, repo: Repository, ref: str, before: str | None, actor: str) -> Json:
    sha = git("rev-parse", f"{ref}^{{commit}}", cwd=repo.bare)
    parents = git("show", "--no-patch", "--format=%P", sha, cwd=repo.bare).split()
    before = before or (NOBODY if ref.startswith("refs/tags/") or not parents else parents[0])
    shas = [sha] if before == NOBODY else git("rev-list", "--reverse", f"{before}..{sha}", cwd=repo.bare).split()
    return {
        "ref": ref,
        "before": before,
        "after": sha,
        "created": before == NOBODY,
        "deleted": False,
        "forced": before != NOBODY and not is_ancestor(repo.bare, before, sha),
        "base_ref": None,
        "compare": f"{state.base}/{repo.full_name}/compare/{before[:12]}...{sha[:12]}",
        "commits": [_pushed(state, repo, one) for one in shas],
        "head_commit": _pushed(state, repo, sha),
        "pusher": {"name": actor, "email": f"{actor}@example.invalid"},
    }


def _pushed(state: State, repo: Repository, sha: str) -> Json:
    inner = write.git_commit(state, repo, sha)
    people = {role: {key: inner[role][key] for key in ("name", "email")} for role in ("author", "committer")}
    return {
        "id": sha,
        "tree_id": inner["tree"]["sha"],
        "distinct": True,
        "message": inner["message"],
        "timestamp": inner["committer"]["date"],
        "url": inner["html_url"],
        **people,
    }


def _merge_group(state: State, repo: Repository, pull: Pull) -> tuple[str, Json]:
    assert pull.merge_sha, "the branches conflict"
    ref = f"refs/heads/gh-readonly-queue/{pull.base_branch}/pr-{pull.number}-{pull.base_sha}"
    git("update-ref", ref, pull.merge_sha, cwd=repo.bare)
    group = {
        "head_sha": pull.merge_sha,
        "head_ref": ref,
        "base_sha": pull.base_sha,
        "base_ref": f"refs/heads/{pull.base_branch}",
        "head_commit": _pushed(state, repo, pull.merge_sha),
    }
    return ref, {"action": "checks_requested", "merge_group": group}


def file_run(
    state: State,
    repo: Repository,
    event: Event,
    *,
    workflow: str,
    job: str,
    rerun_of: int | None = None,
    job_of: int | None = None,
) -> Run:
    """Records the workflow run of an event with its running job, or another attempt of an existing run, or
    another job of a run's attempt.
    """
    now = state.now()
    run = next((one for one in repo.runs if one.id in (rerun_of, job_of)), None)
    if run is None:
        is_own = event.head_repository == repo.full_name  # GitHub does not name pull requests of forks here
        run = Run(
            id=state.next_id(),
            name=workflow,
            event=event.name,
            head_sha=event.head_sha,
            head_branch=event.head_branch,
            number=len(repo.runs) + 1,
            attempt=0,
            pull_numbers=[event.pull.number] if event.pull and is_own else [],
            head_repository=event.head_repository,
            created_at=now,
            updated_at=now,
        )
        repo.runs.append(run)
    run.attempt += job_of is None
    run.status, run.conclusion = "in_progress", None
    record = Job(id=state.next_id(), name=job, attempt=run.attempt, started_at=now)
    run.jobs.append(record)
    check = CheckRun(
        id=record.id, name=job, head_sha=run.head_sha, app_id=15368, app_slug="github-actions", is_job=True
    )
    check.status, check.started_at = "in_progress", now
    repo.check_runs.append(check)
    return run


def finish_run(state: State, repo: Repository, run: Run, conclusion: str) -> None:
    """Ends a run, its jobs and their check runs."""
    run.status, run.conclusion, run.updated_at = "completed", conclusion, state.now()
    for job in run.jobs:
        if job.status != "completed":
            job.status, job.conclusion, job.completed_at = "completed", conclusion, state.now()
    for check in repo.check_runs:
        if check.is_job and check.id in [job.id for job in run.jobs] and check.status != "completed":
            check.status, check.conclusion, check.completed_at = "completed", conclusion, state.now()


def job_environment(
    state: State, repo: Repository, event: Event, run: Run, *, place: Path, job: str, actor: str
) -> dict[str, str]:
    """Writes the event file and the runner's empty files under a folder; returns the environment of the job's steps."""
    temp = place / "_temp"
    commands, home, workflow = temp / "_runner_file_commands", temp / "_github_home", temp / "_github_workflow"
    workspace = place / repo.name / repo.name
    for folder in (commands, home, workflow, workspace):
        folder.mkdir(parents=True, exist_ok=True)
    (workflow / "event.json").write_text(json.dumps(event.payload, indent=2))
    files = {"OUTPUT": "set_output", "STEP_SUMMARY": "step_summary", "ENV": "set_env", "STATE": "save_state"}
    files |= {"PATH": "add_path"}
    for name in files.values():
        (commands / f"{name}_{run.id}_{run.attempt}").write_text("")
    is_tag = event.ref.startswith("refs/tags/")
    short = event.ref.removeprefix("refs/heads/").removeprefix("refs/tags/").removeprefix("refs/pull/")
    facts = {
        "ACTION": "__org_cml",
        "ACTIONS": "true",
        "ACTOR": actor,
        "ACTOR_ID": str(write.user(state, actor)["id"]),
        "API_URL": state.api,
        "BASE_REF": event.pull.base_branch if event.pull else "",
        "EVENT_NAME": event.name,
        "EVENT_PATH": str(workflow / "event.json"),
        "GRAPHQL_URL": f"{state.base}/api/graphql",
        "HEAD_REF": event.pull.head_branch if event.pull else "",
        "JOB": job,
        "REF": event.ref,
        "REF_NAME": short,
        "REF_PROTECTED": str(short in repo.protected).lower(),
        "REF_TYPE": "tag" if is_tag else "branch",
        "REPOSITORY": repo.full_name,
        "REPOSITORY_ID": str(repo.id),
        "REPOSITORY_OWNER": repo.owner,
        "RETENTION_DAYS": "90",
        "RUN_ATTEMPT": str(run.attempt),
        "RUN_ID": str(run.id),
        "RUN_NUMBER": str(run.number),
        "SERVER_URL": state.base,
        "SHA": event.sha,
        "TRIGGERING_ACTOR": actor,
        "WORKFLOW": run.name,
        "WORKFLOW_REF": f"{repo.full_name}/.github/workflows/cml.yml@{event.ref}",
        "WORKFLOW_SHA": event.sha,
        "WORKSPACE": str(workspace),
        **{variable: str(commands / f"{name}_{run.id}_{run.attempt}") for variable, name in files.items()},
    }
    runner = {"NAME": "stand-in", "OS": "Linux", "ARCH": "X64", "ENVIRONMENT": "github-hosted", "TEMP": str(temp)}
    runner |= {"TOOL_CACHE": str(place / "_tool"), "WORKSPACE": str(place / repo.name)}
    return {
        "CI": "true",
        "HOME": str(home),
        "ACTIONS_RUNTIME_URL": f"{state.base}/_services/pipelines/",
        "ACTIONS_RUNTIME_TOKEN": "stand-in-runtime-token",
        **{f"GITHUB_{name}": value for name, value in facts.items()},
        **{f"RUNNER_{name}": value for name, value in runner.items()},
    }
